//! The search: the cost of writing the store, and the time until a word is found, beside `zgrep` on the same lines.
//!
//! `corpus` writes the store and the compressed files, `questions` asks.

mod corpus;
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

/// Writes a corpus of `size` bytes of lines, and asks the questions: one table.
pub(crate) fn search(dir: &Path, size: u64, with_ids: bool) -> anyhow::Result<String> {
    let corpus = Corpus::write(dir, size, with_ids)?;
    let mut text = corpus.report();
    let _ = writeln!(
        text,
        "\n{:34}{:>9}{:>12}{:>12}{:>10}{:>12}{:>9}",
        "question", "hits", "cold, ms", "warm, CPU", "frames", "zgrep, CPU", "ratio"
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
            let speed = megabytes_per_second(corpus.bytes, warm.cpu);
            let _ = writeln!(text, "{:34}{speed:>9.0} MB for a second of CPU time", "");
        }
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
