//! The documents of the repository, for tests that hold them to the code.
#![allow(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "tests only: a document that cannot be read fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A document for users.
#[derive(Debug)]
pub struct DocumentPage {
    /// Its path from the repository's folder, such as `docs/configure.md`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A fenced block of a page.
#[derive(Debug)]
pub struct FencedBlock {
    /// The word after the opening fence; empty if there is none.
    pub language: String,
    /// The line of its first line in the page, from 1.
    pub line: usize,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// The repository's folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `README.md` and every page below `docs/`, by path.
pub fn pages() -> Vec<DocumentPage> {
    let mut paths = vec![PathBuf::from("README.md")];
    collect(Path::new("docs"), &mut paths);
    paths.sort();
    paths.iter().map(|path| page(&path.to_string_lossy())).collect()
}

/// One page.
pub fn page(path: &str) -> DocumentPage {
    DocumentPage {
        path: path.to_owned(),
        text: fs::read_to_string(repository().join(path)).expect(path),
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(repository().join(folder)).expect("a folder of documents") {
        let entry = entry.expect("an entry");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

impl DocumentPage {
    /// Its fenced blocks, in order.
    pub fn blocks(&self) -> Vec<FencedBlock> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, FencedBlock)> = None;
        for (index, line) in self.text.lines().enumerate() {
            let bare = line.trim_start();
            match (open.take(), bare.strip_prefix("```")) {
                (None, Some(language)) => {
                    let block = FencedBlock {
                        language: language.trim().to_owned(),
                        line: index + 2,
                        text: String::new(),
                    };
                    open = Some((line.len() - bare.len(), block));
                }
                (None, None) => {}
                (Some((_, block)), Some(_)) => blocks.push(block),
                (Some((indent, mut block)), None) => {
                    block.text.push_str(line.get(indent..).unwrap_or(bare));
                    block.text.push('\n');
                    open = Some((indent, block));
                }
            }
        }
        assert!(open.is_none(), "{}: a fenced block does not end", self.path);
        blocks
    }

    /// Its text outside fenced blocks, with the lines of the blocks empty: line numbers stay.
    pub fn prose(&self) -> String {
        let mut is_block = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            prose.push_str(if is_block || is_fence { "" } else { line });
            prose.push('\n');
        }
        prose
    }
}

/// A command of logferry that a page shows.
#[derive(Debug)]
pub struct ShownCommand {
    /// Where it stands: `docs/operate.md:8`.
    pub at: String,
    /// Its words, as a shell would pass them; the first is `logferry`.
    pub words: Vec<String>,
    /// Whether it can be run as it stands: no word is for the reader to replace, such as `FILE` or `--since …`. A sentence that
    /// names a command, such as `logferry resend`, shows no whole one.
    pub is_whole: bool,
}

fn is_placeholder(word: &str) -> bool {
    let is_capital = |part: &str| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    word.contains(['…', '|', '[']) || word.split([':', '=', '/', '.', '@']).any(is_capital)
}

impl DocumentPage {
    /// The commands of logferry in its blocks and in its inline code, with or without `sudo`.
    pub fn commands(&self) -> Vec<ShownCommand> {
        let mut commands = Vec::new();
        for block in self.blocks() {
            let mut continued: Option<(usize, String)> = None;
            for (index, line) in block.text.lines().enumerate() {
                let (at, before) = continued.take().unwrap_or((block.line + index, String::new()));
                match line.strip_suffix('\\') {
                    Some(part) => continued = Some((at, before + part)),
                    None => commands.extend(self.commands_of(at, &(before + line))),
                }
            }
        }
        for (index, line) in self.prose().lines().enumerate() {
            for code in line.split('`').skip(1).step_by(2) {
                // `\|` is a bar inside a table.
                let named = self.commands_of(index + 1, &code.replace("\\|", "|"));
                commands.extend(named.into_iter().map(|command| ShownCommand {
                    is_whole: command.is_whole && command.words.len() > 2,
                    ..command
                }));
            }
        }
        commands
    }

    /// The commands of a line of shell, of which pipes and lists may have several.
    fn commands_of(&self, line: usize, text: &str) -> Vec<ShownCommand> {
        // A line of another language may have an odd quote; then it is no command.
        let words = shlex::split(text).unwrap_or_default();
        let parts = words.split(|word| ["|", "&&", ";"].contains(&word.as_str()));
        let commands = parts
            .map(without_sudo)
            .filter(|words| words.first().is_some_and(|word| word == "logferry"));
        commands
            .map(|words| {
                let words: Vec<_> = words.iter().take_while(|word| *word != ">").cloned().collect();
                ShownCommand {
                    at: format!("{}:{line}", self.path),
                    is_whole: !words.iter().any(|word| is_placeholder(word)),
                    words,
                }
            })
            .collect()
    }
}

/// The words of a command after `sudo`, `sudo -u USER` and variables of the environment.
fn without_sudo(words: &[String]) -> &[String] {
    match words {
        [sudo, option, _, rest @ ..] if sudo == "sudo" && option == "-u" => without_sudo(rest),
        [sudo, rest @ ..] if sudo == "sudo" => without_sudo(rest),
        [variable, rest @ ..] if variable.starts_with("LOGFERRY_") && variable.contains('=') => {
            without_sudo(rest)
        }
        _ => words,
    }
}
