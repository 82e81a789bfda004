//! The spool's files against the ledger: damaged or missing files of batches, and files that belong to no batch.

use std::path::Path;

use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{Batch, BatchFilter, BatchState, Ledger, LedgerError};
use logferry_text::count;

use super::includes_source;
use super::report::{Discrepancy, DiscrepancyKind};
use crate::error::InspectionError;
use crate::spool::{Fault, fault};

/// The folders where an unknown file could be taken for lines to deliver.
const DELIVERY_FOLDERS: [BatchState; 2] = [BatchState::Ready, BatchState::Failed];

/// The discrepancy of a batch's file, found twice.
pub(super) fn damaged_file(
    ledger: &Ledger,
    data_dir: &Path,
    batch: &Batch,
) -> Result<Option<Discrepancy>, InspectionError> {
    if fault(data_dir, batch)?.is_none() {
        return Ok(None);
    }
    let now = match ledger.batch_named(&batch.name())? {
        Some(now) => now,
        // The relay deletes the row of a batch that never got a committed line.
        None if batch.contents.bytes == 0 => return Ok(None),
        None => batch.clone(),
    };
    let found = fault(data_dir, &now)?;
    Ok(found.map(|found| {
        let recorded = format!(
            "the ledger has {} bytes of it as {}",
            count(now.contents.bytes),
            now.state
        );
        let (kind, detail) = match found {
            Fault::Missing => (
                DiscrepancyKind::FileMissing,
                format!("{recorded}, but its file is in no folder of the spool"),
            ),
            Fault::Size { path, bytes } => (
                DiscrepancyKind::SizeDiffers,
                format!("{recorded}, but {} has {}", path.display(), count(bytes)),
            ),
            Fault::Content { path } => (
                DiscrepancyKind::ContentDiffers,
                format!("{recorded}, but {} has other bytes (CRC-32C)", path.display()),
            ),
        };
        Discrepancy::of_batch(&now, kind, detail)
    }))
}

/// Files in the folders of files to be delivered that the ledger does not know. A batch's row exists before its file, so a
/// file that is listed first and has no row then belongs to no batch.
pub(super) fn unknown_files(
    ledger: &Ledger,
    data_dir: &Path,
    filter: &BatchFilter,
) -> Result<Vec<Discrepancy>, InspectionError> {
    let mut unknown = Vec::new();
    for state in DELIVERY_FOLDERS {
        let folder = data_dir.join(state.as_str());
        let mut note = |source: Option<&str>, file: &str| {
            let parent = source.map_or(folder.clone(), |source| folder.join(source));
            let detail = format!("the ledger does not know {}", parent.join(file).display());
            unknown.push(Discrepancy {
                source: source.map(str::to_owned),
                batch: Some(file.to_owned()),
                ..Discrepancy::new(DiscrepancyKind::UnknownFile, detail)
            });
        };
        for source in RealDisk.list(&folder)? {
            if !includes_source(filter, &source) {
                continue;
            }
            let inside = folder.join(&source);
            if !inside.is_dir() {
                note(None, &source);
                continue;
            }
            for file in RealDisk.list(&inside)? {
                if !is_known(ledger, &source, &file)? {
                    note(Some(&source), &file);
                }
            }
        }
    }
    Ok(unknown)
}

fn is_known(ledger: &Ledger, source: &str, file: &str) -> Result<bool, LedgerError> {
    let Some(name) = file.strip_suffix(".log") else {
        return Ok(false);
    };
    let batch = ledger.batch_named(name)?;
    Ok(batch.is_some_and(|batch| batch.source.as_str() == source))
}
