//! The files to deliver, and a relay's data folder in which they wait.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use logferry_ledger::{BatchContents, BatchGrowth, BatchState, Commit, Ledger, NewBatch, Window};

use super::server::new_file;
use crate::process::{Daemon, Usage};
use crate::site::{WrongResult, add_file};

/// Between two looks at the ledger: the time taken may be too long by as much.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long no batch may be delivered before the run is given up. The slowest case delivers one file in 7 s.
const STANDSTILL_MAX: Duration = Duration::from_mins(5);

/// The source of all batches.
const SOURCE: &str = "198.51.100.1";

/// A file to deliver.
#[derive(Debug)]
pub(super) struct PayloadFile {
    pub(super) path: PathBuf,
    /// Its name at the destination.
    pub(super) name: String,
    contents: BatchContents,
}

/// All files of one case.
#[derive(Debug)]
pub(super) struct Payload {
    folder: PathBuf,
    files: Vec<PayloadFile>,
}

impl Payload {
    /// Writes so many files of so many bytes, each with bytes of its own.
    pub(super) fn write(folder: &Path, files: u32, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let make = |number: u32| {
            let name = format!("accessLog_{number:05}.log");
            let path = folder.join(&name);
            let contents =
                fill(&path, number, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(PayloadFile { path, name, contents })
        };
        Ok(Self {
            folder: folder.to_owned(),
            files: (0..files).map(make).collect::<anyhow::Result<_>>()?,
        })
    }

    pub(super) fn files(&self) -> &[PayloadFile] {
        &self.files
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Proves that `drop` holds these files, byte for byte, and no other.
    pub(super) fn prove(&self, drop: &Path) -> anyhow::Result<()> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(drop).with_context(|| format!("cannot list {}", drop.display()))? {
            let path = entry?.path();
            let mut contents = BatchContents::default();
            add_file(&path, &mut contents).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            found.insert(name, contents);
        }
        let expected: BTreeMap<_, _> = self
            .files
            .iter()
            .map(|file| (file.name.clone(), file.contents))
            .collect();
        if found != expected {
            let wrong = found
                .iter()
                .find(|(name, contents)| expected.get(*name) != Some(contents));
            return Err(WrongResult::Delivered {
                found: found.len(),
                expected: expected.len(),
                example: wrong.map_or("none is wrong".to_owned(), |(name, _)| name.clone()),
            }
            .into());
        }
        Ok(())
    }

    /// Removes the files.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

/// Writes a file of lines that no other file has; what it holds.
fn fill(path: &Path, number: u32, bytes: u64) -> io::Result<BatchContents> {
    let mut file = io::BufWriter::new(new_file(path)?);
    let mut contents = BatchContents::default();
    // An xorshift: quick, and nothing that could be compressed on the way.
    let mut state = u64::from(number) + 1;
    while contents.bytes < bytes {
        let mut line = Vec::with_capacity(256);
        while line.len() < 255 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            line.extend(state.to_le_bytes().map(|byte| b' ' + byte % 64));
        }
        let left = usize::try_from(bytes - contents.bytes).unwrap_or(256).min(256);
        line.truncate(left - 1);
        line.push(b'\n');
        file.write_all(&line)?;
        contents.lines += 1;
        contents.bytes += line.len() as u64;
        contents.crc32c = crc32c::crc32c_append(contents.crc32c, &line);
    }
    file.flush()?;
    Ok(contents)
}

/// A data folder in which all files wait as sealed batches.
#[derive(Debug)]
pub(super) struct Spool {
    data_dir: PathBuf,
    ledger: Ledger,
    batches: u64,
}

impl Spool {
    /// Lays it out in `folder`, which it makes, as a relay would have; the files are linked, not copied.
    pub(super) fn lay_out(folder: &Path, payload: &Payload) -> anyhow::Result<Self> {
        let data_dir = folder.join("relay");
        let ready = data_dir.join(BatchState::Ready.as_str()).join(SOURCE);
        fs::create_dir_all(&ready).with_context(|| format!("cannot make {}", ready.display()))?;
        let mut ledger = Ledger::open_or_create(&data_dir)?;
        for (number, file) in (0..).zip(payload.files()) {
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
            batches: payload.len() as u64,
        })
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Runs a forwarder until all is delivered: the time from its start to the last record, and what it used.
    pub(super) fn deliver(
        self,
        binary: &Path,
        config: &str,
        folder: &Path,
    ) -> anyhow::Result<(Duration, Usage)> {
        nix::unistd::sync();
        let started = Instant::now();
        let mut forwarder = Daemon::start(binary, "forwarder", config, folder)?;
        let (mut at, mut moved) = (0, Instant::now());
        loop {
            let [_, _, sent, _] = self.ledger.count_by_state()?;
            if sent == self.batches {
                break;
            }
            if sent > at {
                (at, moved) = (sent, Instant::now());
            }
            if moved.elapsed() > STANDSTILL_MAX {
                let of = self.batches;
                return Err(WrongResult::Undelivered { at, of }.into());
            }
            forwarder.check()?;
            thread::sleep(LOOK_EVERY);
        }
        let wall = started.elapsed();
        let usage = forwarder.usage()?;
        forwarder.stop()?;
        Ok((wall, usage))
    }
}
