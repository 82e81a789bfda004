//! Making the spool agree with the ledger when the relay starts, and errors of either.

use jiff::Timestamp;
use logferry_durable::{Disk, DiskError, DiskFile};
use logferry_ledger::{
    Batch, BatchContents, BatchGrowth, BatchState, Commit, Ledger, LedgerError, StreamMove,
};
use logferry_protocol::names::GroupName;
use logferry_spool::{FileForm, OpenFile, Spool};

/// A commit, a seal or a recovery failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl CommitError {
    /// Whether another process changed the record first. Disk and ledger have no fault.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Conflict { .. }))
    }

    /// The message for senders that must wait for this reason.
    pub(crate) fn client_message(&self) -> &'static str {
        let is_disk_full = match self {
            Self::Disk(error) => error.is_disk_full(),
            Self::Ledger(error) => error.is_disk_full(),
        };
        match self {
            _ if is_disk_full => "the relay's disk is full",
            Self::Disk(_) => "the relay cannot write to its disk",
            Self::Ledger(LedgerError::Conflict { .. }) => "the same lines arrive through another group",
            Self::Ledger(LedgerError::Damaged { .. }) => "the relay's ledger is damaged",
            Self::Ledger(_) => "the relay cannot write to its ledger",
        }
    }
}

/// Moves the files of batches whose seal was interrupted after the ledger's change: of one group, or of all. A file that
/// cannot be moved keeps no other where it is; the first error is returned.
pub(crate) fn finish_seals<D: Disk>(
    spool: &Spool<D>,
    ledger: &Ledger,
    group: Option<&GroupName>,
) -> Result<(), CommitError> {
    let mut result = Ok(());
    for file in spool.files_in(BatchState::Open)? {
        let batch = match (&file.source, file.form) {
            (Some(_), FileForm::Plain) => ledger.batch_named(&file.batch_name)?,
            _ => None,
        };
        match batch {
            Some(batch) if group.is_some_and(|group| *group != batch.group) => {}
            Some(batch) if batch.state == BatchState::Ready => {
                result = result.and(spool.move_batch(&batch, BatchState::Open, BatchState::Ready));
            }
            Some(batch) if batch.state == BatchState::Open => {}
            // It was logged at the start, and is not repeated when a group recovers.
            _ if group.is_some() => {}
            _ => tracing::warn!(
                file = %file.path.display(),
                "the ledger has no open batch for this file; the relay does not change it, `logferry fsck` says more"
            ),
        }
    }
    Ok(result?)
}

/// Removes an open batch without durable lines.
pub(super) fn discard_empty<D: Disk>(
    spool: &Spool<D>,
    ledger: &mut Ledger,
    batch: &Batch,
) -> Result<(), CommitError> {
    // The file first: a crash in between leaves a row without a file, which is an empty batch as before.
    spool.disk().remove(&spool.path(batch, BatchState::Open))?;
    Ok(ledger.discard_empty_batch(batch.id)?)
}

/// Seals the open batches of groups that are no longer configured, and discards those without lines: no committer does it.
pub(crate) fn seal_orphans<D: Disk>(
    spool: &Spool<D>,
    ledger: &mut Ledger,
    groups: &[GroupName],
    now: Timestamp,
) -> Result<(), CommitError> {
    for batch in ledger.batches_in(BatchState::Open)? {
        if groups.contains(&batch.group) {
            continue;
        }
        if batch.contents.bytes == 0 {
            discard_empty(spool, ledger, &batch)?;
            continue;
        }
        match spool.cut_back(&batch)? {
            OpenFile::Whole => {
                tracing::warn!(group = %batch.group, batch = %batch.name(), "batch {} is sealed, because its group {} is not configured any more", batch.name(), batch.group);
                end_line(spool, ledger, &batch)?;
                ledger.seal(batch.id, now)?;
                spool.move_batch(&batch, BatchState::Open, BatchState::Ready)?;
            }
            OpenFile::Short { found } => log_short_file(spool, &batch, found, "does not deliver it"),
        }
    }
    Ok(())
}

/// Says that an open batch has lost durable lines. `instead`: what the relay does with the batch.
pub(super) fn log_short_file<D: Disk>(spool: &Spool<D>, batch: &Batch, found: u64, instead: &str) {
    tracing::error!(
        group = %batch.group,
        file = %spool.path(batch, BatchState::Open).display(),
        found,
        expected = batch.contents.bytes,
        "this file is shorter than the ledger says, durable lines are missing: restore it from a backup. The \
         relay does not change it and {instead}; `logferry audit` reports it"
    );
}

/// Ends the line that a batch ends in, if it does: its stream goes on in another group, or not at all.
fn end_line<D: Disk>(spool: &Spool<D>, ledger: &mut Ledger, batch: &Batch) -> Result<(), CommitError> {
    if !spool.ends_inside_line(batch)? {
        return Ok(());
    }
    // A crash before the ledger's change leaves a newline that the ledger does not know. The next start cuts it off.
    let mut file = spool.disk().open_append(&spool.path(batch, BatchState::Open))?;
    file.append(b"\n")?;
    file.sync()?;
    let growth = BatchGrowth {
        batch: batch.id,
        contents: BatchContents {
            lines: batch.contents.lines + 1,
            bytes: batch.contents.bytes + 1,
            crc32c: crc32c::crc32c_append(batch.contents.crc32c, b"\n"),
        },
    };
    let holder = ledger.stream_with_open_line(batch.id)?.map(|mut record| {
        record.open_line_in = None;
        // The rest, if it comes, is counted as a line too.
        record.lines.sent += 1;
        StreamMove {
            from: record.committed,
            record,
            oldest_window: None,
        }
    });
    ledger.commit(&Commit {
        streams: holder.into_iter().collect(),
        batches: vec![growth],
    })?;
    Ok(())
}
