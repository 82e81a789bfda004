//! The search: the cost of writing the store, and the time until a word is found, beside `zgrep` on the same lines, and with the
//! feature `peers` beside tantivy and `SQLite`'s FTS5.
//!
//! `corpus` writes the store and the compressed files, `questions` asks.

mod corpus;
#[cfg(feature = "peers")]
mod peers;
mod questions;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::measurement::figures::{megabytes_per_second, milliseconds};
use crate::testbed::relay_testbed::WrongResult;
use corpus::Corpus;
use questions::{Answer, ask, zgrep};

/// A word that stands in three lines of the corpus.
const NEEDLE: &str = "needle7f3a";

/// A search, and the same for `zgrep`.
#[derive(Debug)]
struct SearchQuestion {
    name: &'static str,
    query: String,
    limit: usize,
    pattern: String,
    expected: Option<u64>,
}

impl SearchQuestion {
    /// Whether a search for whole words alone can answer it.
    #[cfg(feature = "peers")]
    fn is_of_whole_words(&self) -> bool {
        !self.query.contains(['*', ':'])
    }
}

fn questions(client: &str) -> Vec<SearchQuestion> {
    let question = |name, query: &str, limit, pattern: &str, expected| SearchQuestion {
        name,
        query: query.to_owned(),
        limit,
        pattern: pattern.to_owned(),
        expected,
    };
    let part = &NEEDLE[1..NEEDLE.len() - 1];
    let (all, nowhere) = (usize::MAX, "nowhere1b2c");
    vec![
        question("a word in 3 lines", NEEDLE, all, NEEDLE, Some(3)),
        question("a word that is nowhere", nowhere, all, nowhere, Some(0)),
        question("one client's requests", client, all, client, None),
        question("a common word, first 100", "get", 100, "GET", None),
        question(
            "status:5xx, first 100",
            "status:5xx",
            100,
            "\" 5[0-9][0-9] ",
            None,
        ),
        question(
            "inside a word, everything",
            &format!("*{part}*"),
            all,
            part,
            Some(3),
        ),
    ]
}

/// Writes a corpus of `size` bytes of lines, and asks the questions: one table.
pub(crate) fn search(dir: &Path, size: u64, with_ids: bool) -> anyhow::Result<String> {
    let corpus = Corpus::write(dir, size, with_ids)?;
    let mut text = corpus.report();
    let _ = writeln!(
        text,
        "\n{:34}{:>9}{:>12}{:>12}{:>10}{:>12}{:>9}",
        "question", "hits", "cold, ms", "warm, CPU", "frames", "zgrep, CPU", "ratio"
    );
    let questions = questions(&corpus.client);
    for question in &questions {
        let cold = ask(&corpus, &question.query, question.limit, true)?;
        let warm = ask(&corpus, &question.query, question.limit, false)?;
        let grep = zgrep(&corpus, &question.pattern)?;
        ensure!(
            question.expected.is_none_or(|expected| cold.hits == expected) && cold.hits == warm.hits,
            WrongResult::Hits {
                query: question.query.clone(),
                hits: cold.hits,
                again: warm.hits,
            }
        );
        let _ = writeln!(text, "{}", row(question.name, cold, warm, grep));
        if question.name.starts_with("inside") {
            let speed = megabytes_per_second(corpus.bytes, warm.cpu);
            let _ = writeln!(text, "{:34}{speed:>9.0} MB for a second of CPU time", "");
        }
    }
    #[cfg(feature = "peers")]
    {
        text += &peers::peers(dir, &corpus, &questions)?;
    }
    Ok(text)
}

fn row(name: &str, cold: Answer, warm: Answer, grep: Duration) -> String {
    let [cold_ms, warm_ms, grep_ms] = [cold.time, warm.cpu, grep].map(milliseconds);
    format!(
        "{name:34}{:>9}{cold_ms:>12.1}{warm_ms:>12.1}{:>10}{grep_ms:>12.0}{:>9.0}",
        cold.hits,
        warm.frames,
        grep_ms / warm_ms
    )
}
