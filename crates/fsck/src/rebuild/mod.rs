//! Makes a new ledger from the spool, in place of one that is damaged or gone.
//!
//! The spool proves: every batch with its source, name, part, state, lines, bytes and checksums, and its window. The
//! window is the one of its lines' times, if that window gives the file its name. The spool makes very likely: that a
//! batch in `sent/` is at the destinations configured now, under the path that the present settings give.
//!
//! The spool does not tell how far the streams are, since a batch does not say which stream a line is of. The senders
//! know it: every line that was acknowledged is in the spool. So the relay takes over the offsets that the senders report
//! (`relay/src/commit/stream_recovery.rs`). For each source the new ledger keeps the end of the file written last: with
//! it the relay proves that the spool has no line after such an offset.
//!
//! Invariants:
//! - A ledger that is not damaged is never replaced, and no file of the spool is changed.
//! - The old ledger is kept in `damaged-N/`, and so are the bytes that the relay will cut off open batches.
//! - Interrupted anywhere, it leaves the old ledger, or the whole new one, or none; then every role refuses to start.

#[cfg(test)]
mod crashes;
mod file_lines;
mod name_fields;
mod scan;
mod sources;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_config::{Destination, RelaySettings};
use logferry_durable::{Disk, DiskError, DiskOperation, RealDisk};
use logferry_ledger::{BatchState, FILE_NAME, FoundSource, LAST_RECORD_FILE, Ledger, LedgerError};
use logferry_spool::{FileForm, LEDGER_ROLES, Spool, copy_to_file, lock_roles};
use serde::Serialize;

use self::scan::{RecoveredBatch, ScanResult, scan};
use crate::FsckError;
use crate::finding::Finding;

/// The folder below the data folder in which the new ledger is made.
const WORK_FOLDER: &str = "rebuild.tmp";

/// Suffixes of the files that SQLite may have beside the ledger's (<https://sqlite.org/tempfiles.html>).
const SQLITE_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildReport {
    /// Whether every file is proven and in the new ledger.
    pub fine: bool,
    /// The folder with the old ledger; `None` if there was nothing to keep.
    pub kept: Option<String>,
    /// Batches in the new ledger.
    pub batches: usize,
    /// Lines in them.
    pub lines: u64,
    /// Sources of these batches.
    pub sources: usize,
    /// Batches that count as delivered because their files are in `sent/`.
    pub believed_delivered: usize,
    /// The files that are left alone, and the batches that are not fully proven.
    pub findings: Vec<Finding>,
}

/// Makes a new ledger from the spool in the relay's data folder. No role may run.
pub fn rebuild(
    data_dir: &Path,
    relay: &RelaySettings,
    destinations: &[Destination],
    now: Timestamp,
) -> Result<RebuildReport, FsckError> {
    rebuild_on(&RealDisk, data_dir, relay, destinations, now)
}

/// As [`rebuild`]; every change goes through `disk`, to the real files.
fn rebuild_on(
    disk: &impl Disk,
    data_dir: &Path,
    relay: &RelaySettings,
    destinations: &[Destination],
    now: Timestamp,
) -> Result<RebuildReport, FsckError> {
    let _locks = lock_roles(data_dir, &LEDGER_ROLES)?;
    refuse_undamaged(disk, data_dir)?;
    let spool = Spool::new(RealDisk, data_dir);
    let scanned = scan(&spool, relay, destinations)?;
    let sources = sources::summarize(&spool, relay, &scanned)?;
    let work_folder = make_ledger(disk, data_dir, &scanned, &sources, now)?;
    let kept = unused_folder(data_dir)?;
    // 1. The bytes that the relay will cut off are copied. A crash after this leaves copies that nobody needs.
    for batch in scanned.batches.iter().filter(|batch| batch.torn_bytes > 0) {
        keep_torn_bytes(disk, &spool, batch, &kept)?;
    }
    // 2. The old ledger is moved away, its own file first: without the files beside it, it might seem undamaged. Those
    //    must go too before the new one comes. A crash after this leaves no ledger, and every role refuses to start.
    let ledger = data_dir.join(FILE_NAME);
    move_aside(disk, &ledger, &kept)?;
    for suffix in SQLITE_SUFFIXES {
        move_aside(disk, &data_dir.join(format!("{FILE_NAME}{suffix}")), &kept)?;
    }
    // Its signed records went with it, and so does the file that says how far they went.
    move_aside(disk, &data_dir.join(LAST_RECORD_FILE), &kept)?;
    // 3. The new one is moved into place.
    disk.rename(&work_folder.join(FILE_NAME), &ledger)?;
    clear(disk, &work_folder)?;
    Ok(report(scanned, sources.len(), &kept))
}

fn report(scanned: ScanResult, sources: usize, kept: &Path) -> RebuildReport {
    let rows = || scanned.batches.iter().map(|batch| &batch.row);
    RebuildReport {
        fine: scanned.findings.is_empty(),
        kept: kept.exists().then(|| kept.display().to_string()),
        batches: scanned.batches.len(),
        lines: rows().map(|row| row.contents.lines).sum(),
        sources,
        believed_delivered: rows().filter(|row| row.state == BatchState::Sent).count(),
        findings: scanned.findings,
    }
}

/// Fails if the ledger is not damaged: it has more than a spool can tell. SQLite writes to a file that it opens, so a
/// copy is checked.
fn refuse_undamaged(disk: &impl Disk, data_dir: &Path) -> Result<(), FsckError> {
    if Ledger::is_missing(data_dir) {
        return Ok(());
    }
    let work_folder = data_dir.join(WORK_FOLDER);
    clear(disk, &work_folder)?;
    disk.create_dir_all(&work_folder)?;
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
        let from = data_dir.join(&name);
        if let Some(input) = disk.open_read(&from)? {
            copy_to_file(disk, input, &from, &work_folder.join(name), |_| {})?;
        }
    }
    let faults = Ledger::open(&work_folder).and_then(|ledger| ledger.integrity());
    clear(disk, &work_folder)?;
    let path = data_dir.join(FILE_NAME);
    match faults {
        Ok(faults) if faults.is_empty() => Err(FsckError::Whole { path }),
        Ok(_) | Err(LedgerError::Damaged { .. }) => Ok(()),
        Err(LedgerError::Foreign { .. }) => Err(LedgerError::Foreign { path }.into()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the new ledger in a folder of its own, as one whole file, and returns the folder.
fn make_ledger(
    disk: &impl Disk,
    data_dir: &Path,
    scanned: &ScanResult,
    sources: &[FoundSource],
    now: Timestamp,
) -> Result<PathBuf, FsckError> {
    let work_folder = data_dir.join(WORK_FOLDER);
    clear(disk, &work_folder)?;
    disk.create_dir_all(&work_folder)?;
    let batches: Vec<_> = scanned.batches.iter().map(|batch| batch.row.clone()).collect();
    let mut ledger = Ledger::open_or_create(&work_folder)?;
    ledger.restore(&batches, sources, &scanned.reserved_names, now)?;
    ledger.close()?;
    Ok(work_folder)
}

fn clear(disk: &impl Disk, work_folder: &Path) -> Result<(), DiskError> {
    for name in disk.list(work_folder)? {
        disk.remove(&work_folder.join(name))?;
    }
    match std::fs::remove_dir(work_folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DiskError::new(DiskOperation::Remove, work_folder, error))
        }
        _ => Ok(()),
    }
}

fn unused_folder(data_dir: &Path) -> Result<PathBuf, DiskError> {
    let names = RealDisk.list(data_dir)?;
    let number = |name: &String| name.strip_prefix("damaged-")?.parse::<u32>().ok();
    let last = names.iter().filter_map(number).max().unwrap_or(0);
    Ok(data_dir.join(format!("damaged-{}", last.saturating_add(1))))
}

/// Moves a file into the folder of kept files. No such file: does nothing.
fn move_aside(disk: &impl Disk, path: &Path, kept: &Path) -> Result<(), DiskError> {
    if disk.len(path)?.is_none() {
        return Ok(());
    }
    disk.create_dir_all(kept)?;
    disk.rename(path, &kept.join(path.file_name().unwrap_or_default()))
}

/// Copies the bytes after a file's last whole line to `rest/SOURCE/FILE` in the folder of kept files.
fn keep_torn_bytes(
    disk: &impl Disk,
    spool: &Spool<RealDisk>,
    batch: &RecoveredBatch,
    kept: &Path,
) -> Result<(), DiskError> {
    let failed = |error| DiskError::new(DiskOperation::Read, &batch.path, error);
    let folder = kept.join("rest").join(batch.row.batch.source.as_str());
    disk.create_dir_all(&folder)?;
    let mut reader = file_lines::open(spool, &batch.path, FileForm::Plain)?;
    reader.seek_to(batch.row.contents.bytes).map_err(failed)?;
    let kept_file = folder.join(batch.path.file_name().unwrap_or_default());
    copy_to_file(disk, reader, &batch.path, &kept_file, |_| {}).map(drop)
}
