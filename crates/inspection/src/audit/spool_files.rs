//! The spool's files against the ledger: damaged or missing files of batches, and files that belong to no batch.

use std::io::ErrorKind;
use std::path::Path;

use logferry_durable::{DiskError, RealDisk};
use logferry_ledger::{Batch, BatchFilter, BatchId, BatchState, Ledger, LedgerError};
use logferry_spool::{FileFault, FileForm, Spool, SpoolFile};
use logferry_text::count;

use super::includes_source;
use super::report::{Discrepancy, DiscrepancyKind};
use crate::error::InspectionError;

/// The folders where an unknown file could be taken for lines to deliver, or holds lines that were acknowledged.
const WAITING_FOLDERS: [BatchState; 3] = [BatchState::Open, BatchState::Ready, BatchState::Failed];

/// What is looked at of the files in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCheck {
    /// Each is read whole and compared.
    Contents,
    /// Each must be there. A look of the monitor must not read what a busy hour brought.
    Presence,
}

/// The discrepancy of a batch's file, if it is found twice: between the read of its row and of its file, a batch may move
/// on.
pub(super) fn damaged_file(
    ledger: &Ledger,
    spool: &Spool<RealDisk>,
    id: BatchId,
    files: FileCheck,
) -> Result<Option<Discrepancy>, InspectionError> {
    // The relay deletes the row of a batch that never got a committed line.
    let Some(batch) = ledger.batch(id)? else {
        return Ok(None);
    };
    let fault_of = |batch: &Batch| match files {
        FileCheck::Contents => spool.compare(batch),
        FileCheck::Presence => absence(spool, batch),
    };
    if fault_of(&batch)?.is_none() {
        let copies = spool.copies(&batch)?;
        return Ok((!copies.is_empty()).then(|| doubled(&batch, &copies)));
    }
    let now = match ledger.batch(id)? {
        Some(now) => now,
        None if batch.contents.bytes == 0 => return Ok(None),
        None => batch,
    };
    Ok(fault_of(&now)?.map(|fault| discrepancy(&now, fault)))
}

/// A batch with bytes has a file until it expires.
fn absence(spool: &Spool<RealDisk>, batch: &Batch) -> Result<Option<FileFault>, DiskError> {
    let must_be_there = batch.expired_at.is_none() && batch.contents.bytes > 0;
    let is_absent = must_be_there && spool.find(batch)?.is_none();
    Ok(is_absent.then_some(FileFault::Missing))
}

fn doubled(batch: &Batch, copies: &[BatchState]) -> Discrepancy {
    let folders: Vec<_> = copies.iter().map(|state| format!("{state}/")).collect();
    let detail = format!(
        "the ledger has it as {}, but it has a file in each of {}; compare them and move the one away that is not in {}/",
        batch.state,
        folders.join(" and "),
        batch.state
    );
    Discrepancy::of_batch(batch, DiscrepancyKind::FileDoubled, detail)
}

fn discrepancy(batch: &Batch, fault: FileFault) -> Discrepancy {
    let (bytes, state) = (count(batch.contents.bytes), batch.state);
    let (kind, found) = match fault {
        FileFault::Missing => (
            DiscrepancyKind::FileMissing,
            "its file is in no folder of the spool".to_owned(),
        ),
        FileFault::Size { path, bytes } => (
            DiscrepancyKind::SizeDiffers,
            format!("{} has {}", path.display(), count(bytes)),
        ),
        FileFault::Content { path } => (
            DiscrepancyKind::ContentDiffers,
            format!("{} has different contents (CRC-32C)", path.display()),
        ),
        FileFault::Undecodable { path, reason } => (
            DiscrepancyKind::ContentDiffers,
            format!("{} cannot be decompressed: {reason}", path.display()),
        ),
    };
    let detail = format!("the ledger has {bytes} bytes of it as {state}, but {found}");
    Discrepancy::of_batch(batch, kind, detail)
}

/// Files in the folders of files that are not delivered that the ledger does not know. A batch's row exists before its file, so
/// a file that is listed first and has no row then belongs to no batch. Unless it is gone by then: the relay removes the file of
/// a batch that stayed empty, and then its row.
pub(super) fn unknown_files(
    ledger: &Ledger,
    spool: &Spool<RealDisk>,
    filter: &BatchFilter,
) -> Result<Vec<Discrepancy>, InspectionError> {
    let mut unknown = Vec::new();
    let listed = WAITING_FOLDERS.map(|state| spool.files_in(state));
    for file in listed
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
    {
        if includes_source(filter, file.source.as_deref().unwrap_or_default())
            && !is_known(ledger, &file)?
            && !is_gone(&file.path)
        {
            let detail = format!("the ledger does not know {}", file.path.display());
            let name = file.path.file_name().unwrap_or_default();
            unknown.push(Discrepancy {
                batch: Some(name.to_string_lossy().into_owned()),
                source: file.source,
                ..Discrepancy::new(DiscrepancyKind::UnknownFile, detail)
            });
        }
    }
    Ok(unknown)
}

fn is_gone(file: &Path) -> bool {
    file.symlink_metadata()
        .is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn is_known(ledger: &Ledger, file: &SpoolFile) -> Result<bool, LedgerError> {
    if file.form != FileForm::Plain {
        return Ok(false);
    }
    let batch = ledger.batch_named(&file.batch_name)?;
    Ok(batch.is_some_and(|batch| file.source.as_deref() == Some(batch.source.as_str())))
}

#[cfg(test)]
mod tests {
    use logferry_ledger::BatchState;

    use crate::audit::{AuditScope, DiscrepancyKind, audit};
    use logferry_testkit::relay_host::{RelayHost, at, subscriber};

    #[test]
    fn a_file_in_open_whose_row_is_gone_is_found() {
        let mut host = RelayHost::new();
        let now = at("2026-11-21T04:00:00Z");
        let open = host.take("198.51.100.1", "2026-11-21T03:00:00Z", "one\n", now);
        let found = |host: &RelayHost| {
            let all = logferry_ledger::BatchFilter::default();
            let audit = audit(host.data_dir(), &all, AuditScope::of(&[])).expect("audited");
            audit.discrepancies
        };
        assert_eq!(found(&host), []);
        let file = host.path(&open, BatchState::Open);
        std::fs::copy(&file, file.with_file_name("stray.log")).expect("copied");
        let strays = found(&host);
        assert_eq!(strays.len(), 1);
        assert_eq!(strays[0].kind, DiscrepancyKind::UnknownFile);
        assert!(strays[0].detail.contains("stray.log"), "{}", strays[0].detail);
    }

    #[test]
    fn a_batch_with_files_in_two_folders_is_found() {
        let mut host = RelayHost::new();
        let now = at("2026-11-21T04:00:00Z");
        let open = host.take("198.51.100.1", "2026-11-21T03:00:00Z", "one\n", now);
        let ready = host.seal(&open, now);
        let sent = host.deliver(&ready, "edw", now);
        let find = |host: &RelayHost| {
            let subscribers = [subscriber("edw")];
            let all = logferry_ledger::BatchFilter::default();
            let audit = audit(host.data_dir(), &all, AuditScope::of(&subscribers)).expect("audited");
            audit
                .discrepancies
                .into_iter()
                .map(|found| found.kind)
                .collect::<Vec<_>>()
        };
        assert_eq!(find(&host), []);
        let copy = host.path(&sent, BatchState::Failed);
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
        std::fs::copy(host.path(&sent, BatchState::Sent), copy).expect("copied");
        assert_eq!(find(&host), [DiscrepancyKind::FileDoubled]);
    }
}
