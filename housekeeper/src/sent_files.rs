//! Finds the files in `sent/` of each sent batch.
//!
//! Invariant: a file counts as a batch's only if the ledger has a batch of that name and that source. Any other file is
//! logged and left alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use logferry_durable::Disk;
use logferry_ledger::{Batch, BatchState, Ledger};
use logferry_spool::{FileForm, Spool};

use crate::HousekeeperError;

/// A sent batch and the forms in which its file is in `sent/`. No form: somebody else deleted the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentBatch {
    pub(crate) batch: Batch,
    pub(crate) forms: BTreeSet<FileForm>,
}

/// The sent batches whose files are in `sent/`, oldest window first, and the expired ones that still have files.
///
/// A batch that somebody asked to be sent again is left out until that is done.
pub(crate) fn sent_batches<D: Disk>(
    spool: &Spool<D>,
    ledger: &Ledger,
) -> Result<Vec<SentBatch>, HousekeeperError> {
    // The ledger first: a batch that is sent meanwhile is left for the next run.
    let mut batches = ledger.batches_in(BatchState::Sent)?;
    let asked: HashSet<_> = ledger
        .resend_requests()?
        .iter()
        .map(|(batch, _)| batch.id)
        .collect();
    batches.retain(|batch| !asked.contains(&batch.id));
    let mut files: BTreeMap<(String, String), BTreeSet<FileForm>> = BTreeMap::new();
    for file in spool.files_in(BatchState::Sent)? {
        if let Some(source) = file.source
            && FileForm::SENT.contains(&file.form)
        {
            files
                .entry((source, file.batch_name))
                .or_default()
                .insert(file.form);
        }
    }
    let mut found = Vec::with_capacity(batches.len());
    for batch in batches {
        match files.remove(&(batch.source.as_str().to_owned(), batch.name())) {
            Some(forms) => found.push(SentBatch { batch, forms }),
            None => match spool.find_sealed(&batch) {
                // The forwarder has recorded the delivery and has not moved the file yet.
                Ok(Some(_)) => {}
                Ok(None) => found.push(SentBatch {
                    batch,
                    forms: BTreeSet::new(),
                }),
                // Whether it has a file is not known: it is left alone, and keeps no other.
                Err(error) => tracing::error!(
                    batch = batch.name(),
                    error = &error as &dyn std::error::Error,
                    "cannot look for the file of batch {}; it is left alone, the next run tries again",
                    batch.name()
                ),
            },
        }
    }
    for ((source, name), forms) in files {
        let batch = ledger.batch_named(&name)?;
        match batch.filter(|batch| batch.source.as_str() == source) {
            Some(batch) if batch.expired_at.is_some() => found.push(SentBatch { batch, forms }),
            // It was sent after the ledger was read, or is to be sent again.
            Some(_) => {}
            None => tracing::warn!(
                source,
                name,
                "sent/{source}/{name} is not in the ledger; it is left alone, `logferry fsck` says more"
            ),
        }
    }
    Ok(found)
}
