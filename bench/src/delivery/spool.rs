//! A relay's data folder with the payload as sealed batches, and a forwarder that delivers them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use logferry_ledger::{BatchGrowth, BatchState, Commit, Ledger, NewBatch, Window};

use super::payload::Payload;
use crate::measurement::process::{Daemon, Usage};
use crate::testbed::relay_testbed::WrongResult;

/// Interval of the ledger queries. The measured time is too long by up to this.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The run fails if no batch is delivered for this long. The slowest case delivers one file in 7 s.
const STANDSTILL_MAX: Duration = Duration::from_mins(5);

/// The source of all batches.
const SOURCE: &str = "198.51.100.1";

/// A data folder in which every file is a sealed batch.
#[derive(Debug)]
pub(super) struct ReadySpool {
    pub(super) data_dir: PathBuf,
    ledger: Ledger,
    batches: u64,
}

impl ReadySpool {
    /// Creates it in `folder` as a relay would. The files are linked, not copied.
    pub(super) fn create(folder: &Path, payload: &Payload) -> anyhow::Result<Self> {
        let data_dir = folder.join("relay");
        let ready = data_dir.join(BatchState::Ready.as_str()).join(SOURCE);
        fs::create_dir_all(&ready).with_context(|| format!("cannot create {}", ready.display()))?;
        let mut ledger = Ledger::open_or_create(&data_dir)?;
        for (number, file) in (0..).zip(&payload.files) {
            let new = NewBatch {
                source: SOURCE.parse().context("the source's name")?,
                group: "bench".parse().context("the group's name")?,
                log: None,
                window: Window {
                    start: 1_790_000_400 + number * 1200,
                    seconds: 1200,
                    utc_offset: 0,
                },
                base_name: file.name.trim_end_matches(".log").to_owned(),
            };
            let now = Timestamp::now();
            let batch = ledger.open_batch(&new, now)?;
            ledger.commit(&Commit {
                streams: Vec::new(),
                batches: vec![BatchGrowth {
                    batch: batch.id,
                    contents: file.contents,
                }],
            })?;
            ledger.seal(batch.id, now)?;
            let link = ready.join(batch.file_name());
            fs::hard_link(&file.path, &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
        Ok(Self {
            data_dir,
            ledger,
            batches: payload.files.len() as u64,
        })
    }

    /// Runs a forwarder until everything is delivered. Returns the time from its start to the last ledger record, and
    /// its CPU time and memory.
    pub(super) fn deliver(
        self,
        binary: &Path,
        config: &str,
        folder: &Path,
    ) -> anyhow::Result<(Duration, Usage)> {
        nix::unistd::sync();
        let started = Instant::now();
        let mut forwarder = Daemon::start(binary, "forwarder", config, folder)?;
        let (mut at, mut last_progress) = (0, Instant::now());
        loop {
            let [_, _, sent, _] = self.ledger.count_by_state()?;
            if sent == self.batches {
                break;
            }
            if sent > at {
                (at, last_progress) = (sent, Instant::now());
            }
            if last_progress.elapsed() > STANDSTILL_MAX {
                bail!(WrongResult::Undelivered { at, of: self.batches });
            }
            forwarder.check()?;
            thread::sleep(POLL_INTERVAL);
        }
        let wall = started.elapsed();
        let usage = forwarder.usage()?;
        forwarder.stop()?;
        Ok((wall, usage))
    }
}
