//! The files of one capture: appends rounds, rotates, and repairs after an error or a crash.
//!
//! ```text
//! <state_dir>/<source>/<source>.log             the capture; the sender reads it
//! <state_dir>/<source>/<source>.log.00000007    a full one, which never changes
//! <state_dir>/<source>/commits                  the commit log (`commit_log`)
//! ```
//!
//! A round:
//!
//! 1. Its entry, with lines, position and receipts, is appended to the commit log and synced. A crash before the end of the sync
//!    leaves all of it or nothing that counts; nobody was told that it is kept.
//! 2. Its lines are appended to the capture, without a sync. A crash here leaves a part of them, which the next start completes
//!    from the commit log.
//! 3. Now its records are acknowledged.
//!
//! Sometimes, when the log has grown:
//!
//! 4. The capture is synced. A crash here changes nothing.
//! 5. If the capture is full, it gets its number, and the next file begins. A crash here: the next start finds a file of this
//!    number and goes on with 6.
//! 6. A new log, which begins where the capture ends, replaces the old one. A crash leaves one of the two, and both say the same.
//!
//! Why not the lines first and then the position: the sender reads a capture while it grows, and a line that it has shipped must
//! stay where it is whatever happens. Here no line stands in a capture before it is on stable storage, and a crash takes none
//! away. One sync a round is enough.
//!
//! Invariants:
//! - The bytes of a capture never change once somebody could read them. (After a power cut, bytes of step 2 that the file system
//!   did not write are written again, the same ones, when the collector starts.)
//! - An error counts as a crash: everything is dropped and read again from the disk, and what was refused is cut off first.

use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskFile};

use crate::capture::commit_log::{Entry, HEADER, entry_bytes};
use crate::capture::error::CaptureError;
use crate::capture::handle::Position;
use crate::capture::receipts::{RequestKey, RequestReceipt};
use crate::capture::recovery;
use crate::capture::state::{CapturePaths, CaptureState};

/// The commit log is begun anew when it has grown by so much: what a start has to read.
const LOG_GROWTH: u64 = 8 << 20;

/// What is made durable at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Round {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// The source's position after them, if it is another.
    pub(super) position: Option<Position>,
    pub(super) receipts: Vec<RequestReceipt>,
    /// Requests whose answers have arrived; they count before `receipts`.
    pub(super) confirmed: Vec<RequestKey>,
}

impl Round {
    /// Whether somebody waits for it to be durable.
    fn is_awaited(&self) -> bool {
        !self.lines.is_empty() || self.position.is_some() || !self.receipts.is_empty()
    }
}

/// The open files of a capture.
#[derive(Debug)]
struct OpenFiles<F> {
    commits: F,
    /// Bytes of the commit log.
    commits_len: u64,
    /// Those of them that are on stable storage.
    synced_len: u64,
    /// Bytes that it had when it was begun.
    begun_len: u64,
    live: F,
}

/// A capture on a disk.
#[derive(Debug)]
pub(super) struct CaptureStore<D: Disk> {
    disk: D,
    paths: CapturePaths,
    rotate_max_bytes: u64,
    state: CaptureState,
    /// `None` after an error.
    files: Option<OpenFiles<D::File>>,
    /// After an error: where the commit log has to be cut, as what stands behind it was refused.
    refused_from: Option<u64>,
    /// Confirmations that are not known to be synced, or could not be written. The state knows them; the disk may not.
    unsynced: Vec<RequestKey>,
}

impl<D: Disk> CaptureStore<D> {
    /// Opens a capture, or makes it, and completes what a crash has cut off.
    pub(super) fn open(disk: D, paths: CapturePaths, rotate_max_bytes: u64) -> Result<Self, CaptureError> {
        let mut store = Self {
            disk,
            paths,
            rotate_max_bytes,
            state: CaptureState::default(),
            files: None,
            refused_from: None,
            unsynced: Vec::new(),
        };
        store.recover()?;
        Ok(store)
    }

    pub(super) fn state(&self) -> &CaptureState {
        &self.state
    }

    /// Makes a round durable. After an error nothing of it is kept but its confirmations, as nobody says them again, and the next
    /// call repairs the files first.
    pub(super) fn commit(&mut self, round: Round) -> Result<(), CaptureError> {
        let confirmed = round.confirmed.clone();
        let committed = self.try_commit(round);
        if committed.is_err() {
            // Else an equal request that is a new one would meet its old receipt.
            for key in &confirmed {
                self.state.receipts.confirm(key);
            }
            self.unsynced.extend(confirmed);
        }
        committed
    }

    /// Repairs the files after an error, if they are not yet.
    pub(super) fn repair(&mut self) -> Result<(), CaptureError> {
        if self.files.is_none() {
            self.recover()?;
        }
        Ok(())
    }

    fn try_commit(&mut self, mut round: Round) -> Result<(), CaptureError> {
        self.repair()?;
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        let is_awaited = round.is_awaited();
        let lines = std::mem::take(&mut round.lines);
        let entry = Entry {
            file: self.state.file,
            at: self.state.len,
            position: round.position,
            receipts: round.receipts,
            confirmed: round.confirmed,
        };
        let bytes = entry_bytes(&entry, &lines).ok_or(CaptureError::TooLarge)?;
        // 1.
        let mut written = files.commits.append(&bytes);
        if is_awaited {
            written = written.and_then(|()| files.commits.sync());
        }
        if let Err(error) = written {
            self.refused_from = Some(files.synced_len);
            self.files = None;
            return Err(error.into());
        }
        files.commits_len += bytes.len() as u64;
        if is_awaited {
            files.synced_len = files.commits_len;
            self.unsynced.clear();
        } else {
            self.unsynced.extend_from_slice(&entry.confirmed);
        }
        self.state.apply(entry, lines.len() as u64);
        // 2.
        let appended = if lines.is_empty() {
            Ok(())
        } else {
            files.live.append(&lines)
        };
        let rest = appended.map_err(CaptureError::from);
        if let Err(error) = rest.and_then(|()| self.begin_log_if_due()) {
            // The round is durable. The rest is done from the disk, before the next round.
            tracing::warn!(
                error = &error as &dyn std::error::Error, source = %self.paths.source,
                "a capture cannot be written to; its last records are safe in the commit log, no others are taken until it can"
            );
            self.files = None;
        }
        Ok(())
    }

    /// Removes the rotated captures of which the relay has all: how many, and how many are left.
    pub(super) fn remove_shipped(&self, is_shipped: impl Fn(&Path) -> bool) -> Result<(u64, u64), DiskError> {
        // After an error it may not be recorded yet that the last file was rotated.
        let below = self.state.file.saturating_sub(self.files.is_none().into());
        remove_below(&self.disk, &self.paths, below, is_shipped)
    }

    fn recover(&mut self) -> Result<(), CaptureError> {
        self.disk.create_dir_all(&self.paths.dir())?;
        if let Some(len) = self.refused_from
            && self.disk.len(&self.paths.commits())?.is_some()
        {
            // Until this has succeeded, a crash may keep what was refused. That is harmless: its position and its receipts are
            // kept with it, so that its source does not bring it again.
            self.disk.open_append(&self.paths.commits())?.truncate(len)?;
        }
        self.refused_from = None;
        self.state = recovery::recover(&self.disk, &self.paths)?;
        for key in &self.unsynced {
            self.state.receipts.confirm(key);
        }
        self.begin_log()?;
        // Not before: it is this log that has forgotten them.
        self.unsynced.clear();
        Ok(())
    }

    /// 4 to 6, if the capture is full or the log has grown.
    fn begin_log_if_due(&mut self) -> Result<(), CaptureError> {
        let is_full = self.state.len >= self.rotate_max_bytes;
        let has_grown = |files: &OpenFiles<D::File>| files.commits_len - files.begun_len >= LOG_GROWTH;
        if !is_full && !self.files.as_ref().is_some_and(has_grown) {
            return Ok(());
        }
        if let Some(files) = &mut self.files {
            // 4.
            files.live.sync()?;
        }
        if is_full {
            // 5.
            let rotated = self.paths.rotated(self.state.file);
            self.disk.rename(&self.paths.live(), &rotated)?;
            (self.state.file, self.state.len) = (self.state.file + 1, 0);
        }
        self.begin_log()
    }

    /// 6. The capture is on stable storage as far as the state says.
    fn begin_log(&mut self) -> Result<(), CaptureError> {
        let snapshot = entry_bytes(&self.state.snapshot(), b"").ok_or(CaptureError::TooLarge)?;
        let bytes = [HEADER, &snapshot].concat();
        self.disk.replace(&self.paths.commits(), &bytes)?;
        let len = bytes.len() as u64;
        self.files = Some(OpenFiles {
            commits: self.disk.open_append(&self.paths.commits())?,
            commits_len: len,
            synced_len: len,
            begun_len: len,
            live: self.disk.open_append(&self.paths.live())?,
        });
        Ok(())
    }
}

/// As [`CaptureStore::remove_shipped`], of a capture that cannot be opened: a full disk may be why. Of the last rotated file the
/// commit log may not know yet.
pub(super) fn remove_shipped_unopened(
    disk: &impl Disk,
    paths: &CapturePaths,
    is_shipped: impl Fn(&Path) -> bool,
) -> Result<(u64, u64), DiskError> {
    let last = paths.rotated_numbers(disk)?.last().copied();
    remove_below(disk, paths, last.unwrap_or(0), is_shipped)
}

fn remove_below(
    disk: &impl Disk,
    paths: &CapturePaths,
    below: u64,
    is_shipped: impl Fn(&Path) -> bool,
) -> Result<(u64, u64), DiskError> {
    let (mut removed, mut left) = (0, 0);
    for number in paths.rotated_numbers(disk)? {
        let path = paths.rotated(number);
        if number < below && is_shipped(&path) {
            disk.remove(&path)?;
            removed += 1;
        } else {
            left += 1;
        }
    }
    Ok((removed, left))
}
