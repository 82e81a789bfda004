//! The messages that the pages of `docs/trouble/` quote are those of the program.
//!
//! A quotation is code in the column of messages of the overview, in a paragraph that says who says it (`Relay: …`), or that
//! begins with it. `…`, and words in capitals such as PATH, stand for anything. The pieces between are looked for in the texts of the
//! sources, and a name such as `two_senders` also as the type `TwoSenders` that is written so.

use std::fs;
use std::path::Path;

use logferry_testkit::documents::{self, DocumentPage};

/// Folders without texts of the program.
const NOT_SOURCES: [&str; 6] = ["target", "tests", "fuzz", "bench", "testkit", "tidy"];

/// Who says a message, as a page writes it.
const SPEAKERS: [&str; 10] = [
    "Sender: ",
    "Relay: ",
    "Forwarder: ",
    "Indexer: ",
    "Collector: ",
    "Console: ",
    "Any role: ",
    "Any command: ",
    "Audit: ",
    "`",
];

/// The Rust sources below a folder, without tests.
fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() && !name.starts_with('.') && !NOT_SOURCES.contains(&name.as_str()) {
            sources(&path, texts);
        } else if path.extension().is_some_and(|it| it == "rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let own = text.split("\n#[cfg(test)]\n").next().unwrap();
            texts.push(own.to_owned());
        }
    }
}

/// The code outside comments, with the lines of each text joined as the compiler joins them.
fn joined(source: &str) -> String {
    let mut joined = String::new();
    let mut is_continued = false;
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        let line = if is_continued { line.trim_start() } else { line };
        is_continued = line.ends_with('\\');
        joined.push_str(line.trim_end_matches('\\'));
        if !is_continued {
            joined.push('\n');
        }
    }
    joined.replace("\\\"", "\"")
}

/// The code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What a page quotes.
fn quotations(page: &DocumentPage) -> Vec<String> {
    let mut quoted = Vec::new();
    for paragraph in page.prose().split("\n\n") {
        if paragraph.starts_with('|') {
            let rows = paragraph.lines().skip(2);
            let cells = rows.filter_map(|row| row.split(" | ").nth(1));
            let is_overview = paragraph.starts_with("| who says it | message |");
            quoted.extend(cells.filter(|_| is_overview).flat_map(spans).map(str::to_owned));
        } else {
            // A heading may stand right before.
            let text = paragraph.trim_start().replace('\n', " ");
            if SPEAKERS.iter().any(|speaker| text.starts_with(speaker)) {
                quoted.extend(spans(&text).map(str::to_owned));
            }
        }
    }
    quoted
}

/// The parts of a quotation that stand in the program as they are.
fn pieces(quotation: &str) -> Vec<String> {
    let is_name = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    let words = quotation.split(' ');
    let marked: Vec<_> = words
        .map(|word| {
            let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
            if is_name(bare) && !["LOST", "WANTED", "BY", "NO", "GRANT", "SELECT", "UPDATE"].contains(&bare) {
                "…"
            } else {
                word
            }
        })
        .collect();
    let pieces = marked.join(" ");
    let pieces = pieces
        .split('…')
        .map(|piece| piece.trim_matches([' ', ':']).to_owned());
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// `two_senders` as `TwoSenders`.
fn camel_case(name: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split('_')
        .filter(|part| !part.is_empty())
        .map(capital)
        .collect()
}

fn is_said(piece: &str, program: &str) -> bool {
    let is_name = piece.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    program.contains(piece) || is_name && program.contains(&camel_case(piece))
}

#[test]
fn messages_that_the_pages_on_trouble_quote_are_said_by_the_program() {
    let mut texts = Vec::new();
    sources(&documents::repository(), &mut texts);
    let program: String = texts.iter().map(|text| joined(text)).collect();
    let (mut stale, mut count) = (Vec::new(), 0);
    for page in documents::pages() {
        if !page.path.starts_with("docs/trouble/") {
            continue;
        }
        for quotation in quotations(&page) {
            count += 1;
            let lost = pieces(&quotation)
                .into_iter()
                .find(|piece| !is_said(piece, &program));
            stale.extend(lost.map(|piece| format!("{}: `{quotation}`: nothing says `{piece}`", page.path)));
        }
    }
    assert!(count > 150, "only {count} quotations were found");
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn a_quotation_is_taken_apart_at_what_differs_each_time() {
    assert_eq!(pieces("its clock is … behind"), ["its clock is", "behind"]);
    assert_eq!(pieces("log … has no file: PATH: …"), ["log", "has no file"]);
    assert_eq!(
        joined("\"one \\\n   two\" // x\n// three\n"),
        "\"one two\" // x\n"
    );
    assert!(is_said("two_senders", "DiscrepancyKind::TwoSenders,"));
    assert!(!is_said("three_senders", "DiscrepancyKind::TwoSenders,"));
}
