//! The search: the cost of writing the store, and the time until a word is found, beside `zgrep` on the same lines.
//!
//! `corpus` writes the store and the compressed files, `questions` asks.

mod corpus;
mod questions;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;

use crate::measurement::figures::{float, megabytes_per_second, milliseconds};
use crate::testbed::relay_testbed::WrongResult;
use corpus::Corpus;
use questions::{Answer, ask, zgrep};

/// A word that stands in three lines of the corpus.
const NEEDLE: &str = "needle7f3a";

/// Writes a corpus of `size` bytes of lines, and asks the questions: one table.
pub(crate) fn search(dir: &Path, size: u64) -> anyhow::Result<String> {
    let corpus = Corpus::write(dir, size)?;
    let mut text = corpus.report();
    let _ = writeln!(
        text,
        "\n{:34}{:>9}{:>12}{:>12}{:>10}{:>12}{:>9}",
        "question", "hits", "cold, ms", "warm, ms", "frames", "zgrep, ms", "ratio"
    );
    let client = corpus.client.as_str();
    let part = &NEEDLE[1..NEEDLE.len() - 1];
    for (name, query, limit, pattern, expected) in [
        (
            "a word in 3 lines",
            NEEDLE.to_owned(),
            usize::MAX,
            NEEDLE,
            Some(3),
        ),
        (
            "a word that is nowhere",
            "nowhere1b2c".to_owned(),
            usize::MAX,
            "nowhere1b2c",
            Some(0),
        ),
        (
            "one client's requests",
            client.to_owned(),
            usize::MAX,
            client,
            None,
        ),
        ("a common word, first 100", "get".to_owned(), 100, "GET", None),
        (
            "status:5xx, first 100",
            "status:5xx".to_owned(),
            100,
            "\" 5[0-9][0-9] ",
            None,
        ),
        (
            "inside a word, everything",
            format!("*{part}*"),
            usize::MAX,
            part,
            Some(3),
        ),
    ] {
        let cold = ask(&corpus, &query, limit, true)?;
        let warm = ask(&corpus, &query, limit, false)?;
        let grep = zgrep(&corpus, pattern)?;
        ensure!(
            expected.is_none_or(|expected| cold.hits == expected) && cold.hits == warm.hits,
            WrongResult::Hits {
                query,
                hits: cold.hits,
                again: warm.hits,
            }
        );
        let _ = writeln!(text, "{}", row(name, cold, warm, grep));
        if name.starts_with("inside") {
            let speed = megabytes_per_second(corpus.bytes, warm.time);
            let _ = writeln!(text, "{:34}{speed:>9.0} MB/s", "");
        }
    }
    Ok(text)
}

fn row(name: &str, cold: Answer, warm: Answer, grep: Option<std::time::Duration>) -> String {
    let warm_ms = milliseconds(warm.time);
    let (grep_ms, ratio) = match grep {
        None => ("-".to_owned(), "-".to_owned()),
        Some(time) => (
            format!("{:.0}", milliseconds(time)),
            format!("{:.0}", milliseconds(time) / warm_ms),
        ),
    };
    format!(
        "{name:34}{:>9}{:>12.1}{warm_ms:>12.1}{:>10.0}{grep_ms:>12}{ratio:>9}",
        cold.hits,
        milliseconds(cold.time),
        float(warm.frames)
    )
}
