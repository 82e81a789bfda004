//! Restores a backup into an empty data folder: the spool first, the ledger last.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{Batch, BatchFilter, BatchState, FILE_NAME, Ledger};
use logferry_spool::{FileFault, LEDGER_ROLES, Spool, SpoolFile, lock_roles};
use serde::Serialize;

use crate::file_copy::copy_file;
use crate::{BackupError, BackupManifest, BatchFault};

/// The folder in the data folder in which the ledger waits for its name.
const WAITING: &str = "restoring";

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// What the backup was of.
    pub manifest: BackupManifest,
    /// Files that were restored.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Batches whose bytes the backup does not have as its ledger says.
    pub faults: Vec<BatchFault>,
}

/// Restores the backup in `backup` into `data_dir`, which must have no ledger and no spool. Every file is read back and compared
/// with the ledger. The backup is not changed.
pub fn restore(backup: &Path, data_dir: &Path, now: Timestamp) -> Result<RestoreReport, BackupError> {
    let manifest = BackupManifest::read(backup)?;
    let spool = Spool::new(RealDisk, data_dir);
    require_empty(&spool)?;
    RealDisk.create_dir_all(data_dir)?;
    let _locks = lock_roles(data_dir, &LEDGER_ROLES).map_err(BackupError::RoleRunning)?;
    // 1. The ledger, in a folder of its own. A crash from here on leaves a folder in which the relay does not start.
    let waiting = data_dir.join(WAITING);
    RealDisk.create_dir_all(&waiting)?;
    let no_ledger = || BackupError::OtherLedger(backup.to_owned());
    copy_file(&backup.join(FILE_NAME), &waiting.join(FILE_NAME))?.ok_or_else(no_ledger)?;
    let ledger = Ledger::open(&waiting)?;
    if ledger.id()?.to_string() != manifest.ledger {
        return Err(no_ledger());
    }
    let batches = note_and_close(ledger, manifest.made_at, now)?;
    // 2. The batches that it names.
    let mut report = RestoreReport {
        manifest,
        files: 0,
        bytes: 0,
        faults: Vec::new(),
    };
    let saved = Spool::new(RealDisk, backup);
    let kept: Vec<&Batch> = batches
        .iter()
        .filter(|batch| batch.expired_at.is_none())
        .collect();
    let folders: BTreeSet<PathBuf> = kept
        .iter()
        .map(|batch| spool.source_folder(batch.state, &batch.source))
        .collect();
    RealDisk.create_dirs_all(&folders.into_iter().collect::<Vec<_>>())?;
    for batch in kept {
        restore_batch(&saved, &spool, batch, &mut report)?;
    }
    // 3. Its name, which makes the folder a relay's. A crash after it leaves an empty folder beside.
    RealDisk.rename(&waiting.join(FILE_NAME), &data_dir.join(FILE_NAME))?;
    let _ = std::fs::remove_dir(&waiting);
    Ok(report)
}

/// Notes the restore, and returns the ledger's batches. All of it is in the one file then, which is moved without the others.
fn note_and_close(mut ledger: Ledger, made_at: Timestamp, now: Timestamp) -> Result<Vec<Batch>, BackupError> {
    ledger.note_restore(made_at, now)?;
    let batches = ledger.batches(&BatchFilter::default())?;
    ledger.close()?;
    Ok(batches)
}

/// A data folder without a ledger, its write-ahead log, a file of the spool, or a restore that was interrupted.
fn require_empty(spool: &Spool<RealDisk>) -> Result<(), BackupError> {
    let files = [FILE_NAME, "ledger.db-wal", WAITING].map(|name| spool.data_dir().join(name));
    let is_there = |path: &&PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_dir() || found.len() > 0)
    };
    if let Some(path) = files.iter().find(is_there) {
        return Err(BackupError::DataDirNotEmpty(path.clone()));
    }
    match spool.all_files()?.into_iter().next() {
        Some(file) => Err(BackupError::DataDirNotEmpty(file.path)),
        None => Ok(()),
    }
}

fn restore_batch(
    saved: &Spool<RealDisk>,
    spool: &Spool<RealDisk>,
    batch: &Batch,
    report: &mut RestoreReport,
) -> Result<(), BackupError> {
    let mut fault = |detail: String| {
        report.faults.push(BatchFault {
            batch: batch.name(),
            detail,
        });
    };
    let Some(SpoolFile { path, form, .. }) = saved.find(batch)? else {
        if batch.state != BatchState::Open || batch.contents.bytes > 0 {
            fault("the backup has no file of it".to_owned());
        }
        return Ok(());
    };
    let file = spool.file(batch, batch.state, form);
    let bytes = copy_file(&path, &file.path)?.unwrap_or(0);
    match spool.compare_file(batch, file)? {
        None => {}
        Some(FileFault::Undecodable { reason, .. }) => {
            fault(format!("its file cannot be decompressed: {reason}"));
        }
        Some(FileFault::Size { bytes, .. }) => {
            let expected = batch.contents.bytes;
            fault(format!("its file has {bytes} bytes, the ledger has {expected}"));
        }
        Some(FileFault::Content { .. }) => {
            fault("its file has other bytes than the ledger says (CRC-32C)".to_owned());
        }
        Some(FileFault::Missing) => {
            fault("its file vanished while it was restored; do not touch the backup or the data folder meanwhile".to_owned());
        }
    }
    report.files += 1;
    report.bytes += bytes;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_is_not_in_the_ledgers_own_file_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        // What keeps SQLite from merging its log.
        let other = Ledger::open(dir.path()).expect("a ledger");
        let now = Timestamp::UNIX_EPOCH;
        let closed = note_and_close(ledger, now, now);
        assert!(matches!(closed, Err(BackupError::Ledger(_))), "{closed:?}");
        drop(other);
        let ledger = Ledger::open(dir.path()).expect("a ledger");
        note_and_close(ledger, now, now).expect("nobody else has it open");
        assert!(!dir.path().join("ledger.db-wal").exists());
    }
}
