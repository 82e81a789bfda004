//! Where a capture is, and what its commit log says of it.
//!
//! It decides nothing about when something is written: that is in `store`, and after a crash in `recovery`.

use std::path::PathBuf;

use logferry_captures::{live_path, rotated_number, rotated_path, source_dir};
use logferry_durable::{Disk, DiskError};
use logferry_protocol::names::LogName;

use crate::capture::commit_log::Entry;
use crate::capture::handle::Position;
use crate::capture::receipts::Receipts;

/// Where a capture is, and its bounds.
#[derive(Debug, Clone)]
pub(super) struct CapturePaths {
    pub(super) state_dir: PathBuf,
    pub(super) source: LogName,
}

impl CapturePaths {
    pub(super) fn dir(&self) -> PathBuf {
        source_dir(&self.state_dir, &self.source)
    }

    pub(super) fn live(&self) -> PathBuf {
        live_path(&self.state_dir, &self.source)
    }

    pub(super) fn rotated(&self, number: u64) -> PathBuf {
        rotated_path(&self.state_dir, &self.source, number)
    }

    pub(super) fn commits(&self) -> PathBuf {
        self.dir().join("commits")
    }

    /// The numbers of the rotated captures, growing.
    pub(super) fn rotated_numbers(&self, disk: &impl Disk) -> Result<Vec<u64>, DiskError> {
        let names = disk.list(&self.dir())?.into_iter();
        let mut numbers: Vec<u64> = names
            .filter_map(|name| rotated_number(&self.source, &name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// What is known of a capture: what its commit log says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct CaptureState {
    /// The number that the live file gets when it is rotated.
    pub(super) file: u64,
    /// Its length.
    pub(super) len: u64,
    pub(super) position: Option<Position>,
    pub(super) receipts: Receipts,
}

impl CaptureState {
    /// What is so after an entry with so many bytes of lines.
    pub(super) fn apply(&mut self, entry: Entry, lines: u64) {
        (self.file, self.len) = (entry.file, entry.at + lines);
        self.position = entry.position.or_else(|| self.position.take());
        for key in &entry.confirmed {
            self.receipts.confirm(key);
        }
        for receipt in entry.receipts {
            self.receipts.add(receipt);
        }
    }

    /// The first entry of a log that begins here.
    pub(super) fn snapshot(&self) -> Entry {
        Entry {
            file: self.file,
            at: self.len,
            position: self.position.clone(),
            receipts: self.receipts.all().cloned().collect(),
            confirmed: Vec::new(),
        }
    }
}
