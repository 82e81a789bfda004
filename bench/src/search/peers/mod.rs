//! Other search libraries over the same lines: tantivy and `SQLite`'s FTS5, in the same run. Built with the feature `peers` only.
//!
//! Each peer keeps the lines themselves, as the store does, and makes what it has found durable after as many lines as the store.

mod fts5;
mod tantivy_index;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use self::fts5::Fts5Table;
use self::tantivy_index::TantivyIndex;
use super::SearchQuestion;
use super::corpus::{Corpus, RATE};
use crate::measurement::figures::{float, mebibytes, milliseconds};
use crate::measurement::process::own_usage;
use crate::testbed::relay_testbed::WrongResult;

/// What both libraries do here.
trait SearchPeer: Sized {
    const NAME: &'static str;

    /// An empty index in this folder.
    fn create(dir: &Path) -> anyhow::Result<Self>;

    /// Adds a line. Later lines have greater numbers.
    fn add(&mut self, number: u64, line: &str) -> anyhow::Result<()>;

    /// Makes the lines that were added durable, and to be found.
    fn sync(&mut self) -> anyhow::Result<()>;

    /// Waits for all work in the background. No line is added after it.
    fn finish(self) -> anyhow::Result<()>;

    /// Opens the index anew, finds the newest lines with this word or address, at most `limit`, and reads them all.
    fn ask(dir: &Path, word: &str, limit: usize) -> anyhow::Result<u64>;
}

/// Gives the lines of the corpus to both, and asks the questions that they can answer.
pub(super) fn peers(dir: &Path, corpus: &Corpus, questions: &[SearchQuestion]) -> anyhow::Result<String> {
    let mut text = String::new();
    peer::<TantivyIndex>(&mut text, &dir.join("tantivy"), corpus, questions)?;
    peer::<Fts5Table>(&mut text, &dir.join("fts5"), corpus, questions)?;
    Ok(text)
}

fn peer<P: SearchPeer>(
    text: &mut String,
    dir: &Path,
    corpus: &Corpus,
    questions: &[SearchQuestion],
) -> anyhow::Result<()> {
    fs::create_dir(dir)?;
    let before = own_usage()?.cpu;
    let mut peer = P::create(dir)?;
    let mut number = 0;
    for path in &corpus.gz_files {
        for_each_line(path, |line| {
            peer.add(number, line)?;
            number += 1;
            if number.is_multiple_of(RATE) {
                peer.sync()?;
            }
            Ok(())
        })?;
    }
    peer.sync()?;
    peer.finish()?;
    let cores = own_usage()?.cpu.saturating_sub(before).as_secs_f64() / (float(number) / float(RATE));
    let stored = folder_bytes(dir)?;
    let _ = writeln!(
        text,
        "\n{}: {:.3} of raw ({:.0} MiB), {cores:.3} core at {RATE} lines/s (all threads, with syncs)",
        P::NAME,
        float(stored) / float(corpus.bytes),
        mebibytes(stored),
    );
    for question in questions.iter().filter(|question| question.is_of_whole_words()) {
        let cold = timed::<P>(dir, question, true)?;
        let warm = timed::<P>(dir, question, false)?;
        ensure!(
            question.expected.is_none_or(|expected| cold.hits == expected) && cold.hits == warm.hits,
            WrongResult::Hits {
                query: format!("{} by {}", question.query, P::NAME),
                hits: cold.hits,
                again: warm.hits,
            }
        );
        let [cold_ms, warm_ms] = [cold.time, warm.cpu].map(milliseconds);
        let _ = writeln!(
            text,
            "{:34}{:>9}{cold_ms:>12.1}{warm_ms:>12.1}",
            question.name, cold.hits
        );
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}

struct PeerAnswer {
    hits: u64,
    time: Duration,
    cpu: Duration,
}

fn timed<P: SearchPeer>(dir: &Path, question: &SearchQuestion, is_cold: bool) -> anyhow::Result<PeerAnswer> {
    if is_cold {
        for path in files(dir)? {
            let file = File::open(path)?;
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
    }
    let (started, before) = (Instant::now(), own_usage()?.cpu);
    let hits = P::ask(dir, &question.query, question.limit)?;
    Ok(PeerAnswer {
        hits,
        time: started.elapsed(),
        cpu: own_usage()?.cpu.saturating_sub(before),
    })
}

/// The lines of a `.gz` file, unpacked by a process whose CPU time is not counted.
fn for_each_line(path: &Path, mut each: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut command = Command::new("gzip");
    let mut unpacking = command
        .arg("-dc")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run gzip")?;
    let output = unpacking.stdout.take().context("gzip has no output")?;
    let mut lines = BufReader::with_capacity(1 << 20, output);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        each(line.trim_end())?;
        line.clear();
    }
    ensure!(unpacking.wait()?.success(), "gzip failed");
    Ok(())
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    entries.collect()
}

fn folder_bytes(dir: &Path) -> anyhow::Result<u64> {
    let sizes = files(dir)?.into_iter().map(|path| Ok(fs::metadata(path)?.len()));
    sizes.sum()
}

/// An address or a word as a phrase, in the syntax of both.
fn phrase(word: &str) -> String {
    format!("\"{word}\"")
}
