//! Asks the store, and `zgrep`.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_durable::RealDisk;
use logferry_store::{Hit, Query, SearchObserver, SearchPage, SearchProgress, Searcher};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::corpus::Corpus;

/// What a search gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) hits: u64,
    pub(super) time: Duration,
    pub(super) frames: u64,
}

#[derive(Debug, Default)]
struct Counter(u64);

impl SearchObserver for Counter {
    fn hit(&mut self, _hit: &Hit) -> bool {
        self.0 += 1;
        true
    }

    fn progress(&mut self, _progress: &SearchProgress) -> bool {
        true
    }
}

/// Searches, page by page as the command does. `is_cold`: the files are not in the page cache.
pub(super) fn ask(corpus: &Corpus, text: &str, limit: usize, is_cold: bool) -> anyhow::Result<Answer> {
    if is_cold {
        for entry in fs::read_dir(corpus.store_dir.join("segments"))? {
            let file = File::open(entry?.path())?;
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
    }
    let query = Query::parse(text)?;
    let started = Instant::now();
    let searcher = Searcher::new(RealDisk, &corpus.store_dir, Some(corpus.position));
    let mut counter = Counter::default();
    let mut page = SearchPage::default();
    let mut frames = 0;
    let mut left = limit;
    loop {
        page.limit = left.min(10_000);
        let end = searcher.search(&query, &page, None, &mut counter)?;
        frames += end.progress.frames;
        left -= usize::try_from(end.progress.hits)?;
        if end.is_complete || left == 0 {
            let (hits, time) = (counter.0, started.elapsed());
            return Ok(Answer { hits, time, frames });
        }
        page.after = end.next;
    }
}

/// The time of `zgrep` over all lines; `None` if it is not installed.
pub(super) fn zgrep(corpus: &Corpus, pattern: &str) -> anyhow::Result<Option<Duration>> {
    let started = Instant::now();
    let mut command = Command::new("zgrep");
    command
        .args(["-c", "-e", pattern])
        .args(&corpus.gz_files)
        .stdout(Stdio::null());
    match command.status() {
        Ok(_) => Ok(Some(started.elapsed())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot run zgrep"),
    }
}
