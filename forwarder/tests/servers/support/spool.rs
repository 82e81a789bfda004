//! A data folder as the relay leaves it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_ledger::{
    Batch, BatchContents, BatchGrowth, BatchState, Commit, Delivery, FailureKind, Ledger, NewBatch, Window,
};
use logferry_protocol::names::SourceId;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The source of batches for which it does not matter.
const SOURCE: &str = "198.51.100.44";

/// The relay's data folder.
pub(crate) struct Spool {
    dir: TempDir,
    pub(crate) ledger: Ledger,
}

impl Spool {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_or_create(dir.path()).unwrap();
        Self { dir, ledger }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes and seals a batch: first the ledger, then the folder, as the relay does. `window`: its place in time.
    pub(crate) fn seal(&mut self, window: u32, text: &[u8]) -> Batch {
        self.seal_of(SOURCE, window, text)
    }

    /// Writes and seals a batch of a source.
    pub(crate) fn seal_of(&mut self, source: &str, window: u32, text: &[u8]) -> Batch {
        let batch = self.write(source, window, text);
        self.release(&batch);
        batch
    }

    /// Writes a batch, and seals it in the ledger only: its file is still in `open/`.
    pub(crate) fn seal_in_ledger(&mut self, window: u32, text: &[u8]) -> Batch {
        self.write(SOURCE, window, text)
    }

    fn write(&mut self, source: &str, window: u32, text: &[u8]) -> Batch {
        let start = 1_790_000_400 + i64::from(window) * 1200;
        self.write_at(source, start, &format!("accessLog_{window:02}"), text)
    }

    /// Writes and seals a batch of a source, whose window starts at that second.
    pub(crate) fn seal_at(&mut self, source: &str, start: i64, text: &[u8]) -> Batch {
        let batch = self.write_at(source, start, &format!("at-{start}"), text);
        self.release(&batch);
        batch
    }

    fn write_at(&mut self, source: &str, start: i64, name: &str, text: &[u8]) -> Batch {
        let source: SourceId = source.parse().unwrap();
        let new = NewBatch {
            base_name: format!("{name}_{}", source.file_label()),
            source,
            group: "web-1".parse().unwrap(),
            log: None,
            window: Window {
                start,
                seconds: 1200,
                utc_offset: 0,
            },
        };
        let now = Timestamp::now();
        let batch = self.ledger.open_batch(&new, now).unwrap();
        let file = self.file(BatchState::Open, &batch);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let contents = BatchContents {
            lines: text.split_inclusive(|byte| *byte == b'\n').count() as u64,
            bytes: text.len() as u64,
            crc32c: crc32c::crc32c(text),
        };
        let growth = BatchGrowth {
            batch: batch.id,
            contents,
        };
        self.ledger
            .commit(&Commit {
                streams: Vec::new(),
                batches: vec![growth],
            })
            .unwrap();
        self.ledger.seal(batch.id, now).unwrap();
        self.now(&batch)
    }

    /// Moves a sealed batch's file to `ready/`.
    pub(crate) fn release(&self, batch: &Batch) {
        let ready = self.file(BatchState::Ready, batch);
        fs::create_dir_all(ready.parent().unwrap()).unwrap();
        fs::rename(self.file(BatchState::Open, batch), ready).unwrap();
    }

    pub(crate) fn file(&self, state: BatchState, batch: &Batch) -> PathBuf {
        let dir = self.dir().join(state.as_str()).join(batch.source.as_str());
        dir.join(batch.file_name())
    }

    /// The hash of a text, as the ledger writes it.
    pub(crate) fn sha256(text: &[u8]) -> String {
        Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    }

    /// What the ledger says of a batch now.
    pub(crate) fn now(&self, batch: &Batch) -> Batch {
        self.ledger.batch_named(&batch.name()).unwrap().unwrap()
    }

    pub(crate) fn state(&self, batch: &Batch) -> BatchState {
        self.now(batch).state
    }

    /// Whether ledger and folder both say that a batch is in this state.
    pub(crate) fn is_in(&self, state: BatchState, batch: &Batch) -> bool {
        self.state(batch) == state && self.file(state, batch).exists()
    }

    pub(crate) fn delivery(&self, batch: &Batch, destination: &str) -> Option<Delivery> {
        self.ledger
            .delivery(batch.id, &destination.parse().unwrap())
            .unwrap()
    }

    /// Of what kind the failure is for which a destination is down, if it is.
    pub(crate) fn down_kind(&self, destination: &str) -> Option<FailureKind> {
        let health = self.ledger.destination(&destination.parse().unwrap()).unwrap();
        health.and_then(|health| health.error_kind)
    }

    /// Why a destination is down, if it is.
    pub(crate) fn down(&self, destination: &str) -> Option<String> {
        let health = self.ledger.destination(&destination.parse().unwrap()).unwrap();
        health.and_then(|health| health.error)
    }
}
