//! An indexer at work, measured from outside, and the check of what it has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use logferry_durable::RealDisk;
use logferry_ledger::BatchContents;
use logferry_numbers::{IndexReader, IndexedBatch};
use logferry_store::{Hit, Query, SearchObserver, SearchPage, SearchProgress, Searcher, StorePosition};

use crate::measurement::process::{Daemon, Usage};
use crate::testbed::relay_testbed::WrongResult;

/// The run fails if nothing is indexed for this long.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// Interval of the looks at its progress. Times are too long by up to this.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running indexer.
#[derive(Debug)]
pub(super) struct IndexRun {
    pub(super) daemon: Daemon,
    pub(super) store_dir: PathBuf,
}

impl IndexRun {
    /// Starts it with its files and its log in `folder`. `sink`: the URL of a server that gets the lines too.
    pub(super) fn start(
        binary: &Path,
        data_dir: &Path,
        folder: &Path,
        sink: Option<&str>,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let store_dir = folder.join("index");
        let sink = sink.map_or_else(String::new, |url| format!("  opensearch: {{url: \"{url}\"}}\n"));
        let config = format!(
            "indexer:\n  data_dir: \"{}\"\n  store_dir: \"{}\"\n{sink}",
            data_dir.display(),
            store_dir.display()
        );
        let daemon = Daemon::start(binary, "indexer", &config, folder)?;
        Ok(Self { daemon, store_dir })
    }

    /// How many bytes and lines it has recorded as read so far.
    pub(super) fn recorded(&self) -> (u64, u64) {
        let reader = IndexReader::open(&self.store_dir);
        let places = reader.and_then(|reader| reader.places()).unwrap_or_default();
        let sum = |of: fn(&IndexedBatch) -> u64| places.values().map(of).sum();
        (sum(|place| place.bytes), sum(|place| place.lines))
    }

    /// Waits until so many bytes are recorded. Its CPU time and memory up to then.
    pub(super) fn wait_for(&mut self, bytes: u64) -> anyhow::Result<Usage> {
        let (mut at, mut last_progress) = (0, Instant::now());
        loop {
            let usage = self.daemon.usage()?;
            let (recorded, _) = self.recorded();
            if recorded >= bytes {
                return Ok(usage);
            }
            if recorded > at {
                (at, last_progress) = (recorded, Instant::now());
            }
            ensure!(
                last_progress.elapsed() < STANDSTILL_MAX,
                "nothing was indexed for {} s, at {at} of {bytes} bytes",
                STANDSTILL_MAX.as_secs()
            );
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Stops it, and checks that the store has `expected` lines. The bytes of its folder.
    pub(super) fn finish(self, expected: BatchContents) -> anyhow::Result<u64> {
        let (_, read) = self.recorded();
        let state = IndexReader::open(&self.store_dir)?.state()?;
        self.daemon.stop()?;
        let position = state.store_position.context("the indexer has recorded nothing")?;
        let position: StorePosition = position.parse()?;
        let searcher = Searcher::new(RealDisk, &self.store_dir, Some(position));
        let page = SearchPage {
            only_count: true,
            ..SearchPage::default()
        };
        let found = searcher.search(&Query::default(), &page, None, &mut AllHits)?;
        if (found.progress.hits, read) != (expected.lines, expected.lines) {
            bail!(WrongResult::Indexed {
                stored: found.progress.hits,
                read,
                lines: expected.lines,
            });
        }
        folder_bytes(&self.store_dir)
    }
}

struct AllHits;

impl SearchObserver for AllHits {
    fn hit(&mut self, _hit: &Hit) -> bool {
        true
    }

    fn progress(&mut self, _progress: &SearchProgress) -> bool {
        true
    }
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}
