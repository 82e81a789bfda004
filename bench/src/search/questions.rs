//! Asks the store, and `zgrep`.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_durable::RealDisk;
use logferry_store::{Hit, Query, SearchObserver, SearchPage, SearchProgress, Searcher};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::corpus::Corpus;
use crate::measurement::process::{children_cpu, own_usage};

/// What a search gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) hits: u64,
    pub(super) time: Duration,
    pub(super) cpu: Duration,
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
    let (started, before) = (Instant::now(), own_usage()?.cpu);
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
            return Ok(Answer {
                hits: counter.0,
                time: started.elapsed(),
                cpu: own_usage()?.cpu.saturating_sub(before),
                frames,
            });
        }
        page.after = end.next;
    }
}

/// The CPU time of `zgrep` over all lines.
pub(super) fn zgrep(corpus: &Corpus, pattern: &str) -> anyhow::Result<Duration> {
    let before = children_cpu()?;
    let mut command = Command::new("zgrep");
    command.args(["-c", "-e", pattern]).args(&corpus.gz_files);
    // It fails if a file has no such line.
    let ended = command.stdout(Stdio::null()).status();
    ended.context("cannot run zgrep")?;
    Ok(children_cpu()?.saturating_sub(before))
}
