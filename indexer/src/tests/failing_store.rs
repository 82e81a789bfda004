//! A store that keeps lines in memory and fails at a chosen call.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use logferry_durable::{DiskError, DiskOperation};
use logferry_store::{LineRecord, StoreError, StorePosition};

use crate::line_store::LineStore;

/// A line that a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredEntry {
    pub(super) batch: String,
    pub(super) offset: u64,
    pub(super) line: Vec<u8>,
    pub(super) level: Option<String>,
    pub(super) time_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct StoreContents {
    pub(super) entries: Vec<StoredEntry>,
    /// Calls until one fails, and whether that one first does its work.
    pub(super) failure: Option<(u32, bool)>,
    /// Whether a sync is due without new lines.
    pub(super) is_due: bool,
}

/// The durable part, which outlives a crash.
pub(super) type SharedStore = Arc<Mutex<StoreContents>>;

#[derive(Debug)]
pub(super) struct FailingStore {
    shared: SharedStore,
    pending: Vec<StoredEntry>,
}

impl FailingStore {
    /// Cuts the store back to the position.
    pub(super) fn open(shared: &SharedStore, recorded: Option<StorePosition>) -> Self {
        let len = recorded.map_or(0, |position| usize::try_from(position.segment).expect("small"));
        let mut contents = shared.lock().expect("no panic");
        assert!(contents.entries.len() >= len, "a recorded position is durable");
        contents.entries.truncate(len);
        drop(contents);
        Self {
            shared: Arc::clone(shared),
            pending: Vec::new(),
        }
    }

    fn step<T>(
        &mut self,
        work: impl FnOnce(&mut MutexGuard<'_, StoreContents>, &mut Vec<StoredEntry>) -> T,
    ) -> Result<T, StoreError> {
        let mut contents = self.shared.lock().expect("no panic");
        let fails = match &mut contents.failure {
            Some((0, does_work)) => Some(*does_work),
            Some((calls, _)) => {
                *calls -= 1;
                None
            }
            None => None,
        };
        if fails == Some(false) {
            return Err(failure());
        }
        let value = work(&mut contents, &mut self.pending);
        if fails.is_some() {
            Err(failure())
        } else {
            Ok(value)
        }
    }
}

fn failure() -> StoreError {
    StoreError::Disk(DiskError::new(
        DiskOperation::Sync,
        Path::new("x"),
        io::ErrorKind::StorageFull.into(),
    ))
}

impl LineStore for FailingStore {
    fn append(&mut self, record: &LineRecord<'_>) -> Result<(), StoreError> {
        let entry = StoredEntry {
            batch: record.origin.batch.to_owned(),
            offset: record.offset,
            line: record.line.to_vec(),
            level: record.level.map(str::to_owned),
            time_ms: record.time_ms,
        };
        self.step(|_, pending| pending.push(entry))
    }

    fn is_due(&self, _now_ms: i64) -> bool {
        self.shared.lock().expect("no panic").is_due
    }

    fn sync(&mut self, _now_ms: i64) -> Result<StorePosition, StoreError> {
        self.step(|contents, pending| {
            contents.is_due = false;
            contents.entries.append(pending);
            StorePosition {
                segment: contents.entries.len() as u64,
                ..StorePosition::default()
            }
        })
    }

    fn recorded(&mut self) -> Result<(), StoreError> {
        self.step(|_, _| ())
    }
}
