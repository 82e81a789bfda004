//! Makes a backup: the ledger at one moment, then the batches that it names.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::{Disk, DiskFile, LinkOutcome, LockFile, RealDisk, real_path};
use logferry_ledger::{Batch, BatchFilter, BatchState, FILE_NAME, Ledger};
use logferry_spool::{FileForm, HOUSEKEEPER_LOCK, Measure, Spool, SpoolFile, copy_to_file};
use serde::Serialize;

use crate::file_copy::copy_file;
use crate::{BackupError, BackupManifest};

/// So long a backup waits for a run of the housekeeper to end.
const LOCK_WAIT: Duration = Duration::from_mins(5);

/// How often a file that is moved again and again is looked for.
const LOOKS_MAX: u32 = 10;

/// A batch that is not in the backup as the ledger says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchFault {
    /// Its name.
    pub batch: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What a backup has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// What it is of.
    pub manifest: BackupManifest,
    /// Files that share their bytes with the spool, by hard links.
    pub linked: u64,
    /// Files with bytes of their own.
    pub copied: u64,
    /// Batches without their bytes. The spool does not have them either.
    pub faults: Vec<BatchFault>,
}

/// Makes a backup of `data_dir` in `target`, which must be empty or not exist. On the same file system, sealed batches are
/// hard links, as their bytes never change.
///
/// It is whole and on stable storage when this returns. A crash before leaves a folder without `backup.json`. `now` is asked when the
/// ledger is copied, which may be minutes later.
pub fn make(
    data_dir: &Path,
    target: &Path,
    now: impl FnOnce() -> Timestamp,
) -> Result<BackupReport, BackupError> {
    refuse_inside(data_dir, target)?;
    let ledger = Ledger::open(data_dir)?;
    RealDisk.create_dir_all(target)?;
    if !RealDisk.list(target)?.is_empty() {
        return Err(BackupError::TargetNotEmpty(target.to_owned()));
    }
    // Until the end nothing is compressed or deleted.
    let _no_housekeeper = lock_out_housekeeper(data_dir)?;
    // 1. The ledger. What is committed later is not in the backup.
    let (made_at, copy) = (now(), target.join(FILE_NAME));
    ledger.copy_to(&copy)?;
    let (id, batches) = {
        let copied = Ledger::open(target)?;
        (copied.id()?.to_string(), copied.batches(&BatchFilter::default())?)
    };
    RealDisk.open_append(&copy)?.sync()?;
    // 2. The batches that it names.
    let mut saving = BatchSaving::new(target, BackupManifest::new(made_at, data_dir, id));
    saving.save_all(batches.iter().filter(|batch| batch.expired_at.is_none()))?;
    // 3. The mark that it is whole.
    saving.report.manifest.write(target)?;
    Ok(saving.report)
}

/// Refuses a folder for a backup that is in the data folder, or is it. Neither needs to exist.
pub fn refuse_inside(data_dir: &Path, target: &Path) -> Result<(), BackupError> {
    let real = |path: &Path| real_path(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    if real(target).starts_with(real(data_dir)) {
        return Err(BackupError::TargetInDataDir {
            target: target.to_owned(),
            data_dir: data_dir.to_owned(),
        });
    }
    Ok(())
}

fn lock_out_housekeeper(data_dir: &Path) -> Result<LockFile, BackupError> {
    let locked = LockFile::acquire_within(&data_dir.join(HOUSEKEEPER_LOCK), LOCK_WAIT, || {});
    locked.map_err(BackupError::HousekeeperBusy)
}

/// Saves batches.
struct BatchSaving {
    spool: Spool<RealDisk>,
    target: Spool<RealDisk>,
    report: BackupReport,
}

impl BatchSaving {
    /// Of the data folder of this manifest.
    fn new(target: &Path, manifest: BackupManifest) -> Self {
        Self {
            spool: Spool::new(RealDisk, &manifest.data_dir),
            target: Spool::new(RealDisk, target),
            report: BackupReport {
                manifest,
                linked: 0,
                copied: 0,
                faults: Vec::new(),
            },
        }
    }

    fn save_all<'a>(&mut self, batches: impl Iterator<Item = &'a Batch>) -> Result<(), BackupError> {
        let (mut to_link, mut to_copy) = (Vec::new(), Vec::new());
        let mut folders = BTreeSet::new();
        for batch in batches {
            folders.insert(self.target.source_folder(batch.state, &batch.source));
            match self.spool.find(batch)? {
                Some(file) if is_as_it_will_be(batch, &file) => to_link.push((batch, file)),
                _ => to_copy.push(batch),
            }
        }
        RealDisk.create_dirs_all(&folders.into_iter().collect::<Vec<_>>())?;
        let pairs = to_link
            .iter()
            .map(|(batch, file)| (file.path.clone(), self.target_path(batch, file.form)));
        let pairs: Vec<(PathBuf, PathBuf)> = pairs.collect();
        let outcomes = RealDisk.link_all(&pairs)?;
        for ((batch, file), outcome) in to_link.iter().zip(outcomes) {
            match outcome {
                LinkOutcome::Linked => self.note_link(batch, file)?,
                // It was moved meanwhile, or is on another file system.
                LinkOutcome::Gone | LinkOutcome::Impossible => to_copy.push(batch),
            }
        }
        to_copy.into_iter().try_for_each(|batch| self.copy(batch))
    }

    fn target_path(&self, batch: &Batch, form: FileForm) -> PathBuf {
        self.target.path_of_form(batch, batch.state, form)
    }

    fn note_link(&mut self, batch: &Batch, file: &SpoolFile) -> Result<(), BackupError> {
        let path = self.target_path(batch, file.form);
        let bytes = RealDisk.len(&path)?.unwrap_or(0);
        if file.form == FileForm::Plain && bytes != batch.contents.bytes {
            self.note_fault(
                batch,
                &format!(
                    "its file has {bytes} bytes, the ledger has {}",
                    batch.contents.bytes
                ),
            );
        }
        self.report.linked += 1;
        self.note_file(bytes);
        Ok(())
    }

    fn note_file(&mut self, bytes: u64) {
        self.report.manifest.batches += 1;
        self.report.manifest.bytes += bytes;
    }

    fn note_fault(&mut self, batch: &Batch, detail: &str) {
        self.report.faults.push(BatchFault {
            batch: batch.name(),
            detail: detail.to_owned(),
        });
    }

    /// Copies a batch's bytes: as many as the copied ledger has.
    fn copy(&mut self, batch: &Batch) -> Result<(), BackupError> {
        for _ in 0..LOOKS_MAX {
            let Some(file) = self.spool.find(batch)? else {
                break;
            };
            if is_as_it_will_be(batch, &file) {
                if let Some(bytes) = copy_file(&file.path, &self.target_path(batch, file.form))? {
                    self.report.copied += 1;
                    self.note_file(bytes);
                    return Ok(());
                }
            } else if let Some(input) = self.spool.open(&file)? {
                // An open batch may have grown, been sealed and even been delivered since.
                let (mut measure, to) = (Measure::default(), self.target_path(batch, FileForm::Plain));
                let input = input.take(batch.contents.bytes);
                let bytes = copy_to_file(&RealDisk, input, &file.path, &to, |block| measure.add(block))?;
                if !measure.matches(batch.contents) {
                    self.note_fault(
                        batch,
                        "its file does not hold the bytes that the ledger has; `logferry fsck` says more",
                    );
                }
                self.report.copied += 1;
                self.note_file(bytes);
                return Ok(());
            }
        }
        // The row of an open batch comes before its file.
        if batch.state != BatchState::Open || batch.contents.bytes > 0 {
            self.note_fault(batch, "it has no file in the spool; `logferry fsck` says more");
        }
        Ok(())
    }
}

/// Whether the file as it is now is what the backup needs: sealed, and in a form that the folder of its state can have.
fn is_as_it_will_be(batch: &Batch, file: &SpoolFile) -> bool {
    let fits_the_folder = match file.form {
        FileForm::Plain => true,
        FileForm::Compressed => batch.state == BatchState::Sent,
        FileForm::Partial | FileForm::PartialPlain | FileForm::Other => false,
    };
    batch.state != BatchState::Open && fits_the_folder
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Saves the files of batches as an earlier copy of the ledger has them. Returns the number of faults.
    pub(crate) fn save(data_dir: &Path, target: &Path, batches: &[Batch]) -> Result<usize, BackupError> {
        let manifest = BackupManifest::new(Timestamp::UNIX_EPOCH, data_dir, String::new());
        let mut saving = BatchSaving::new(target, manifest);
        saving.save_all(batches.iter().filter(|batch| batch.expired_at.is_none()))?;
        Ok(saving.report.faults.len())
    }
}
