//! The relay's ledger: opened, compared with the file of that name, and its batches at a start.
//!
//! Invariants:
//! - **A ledger that was put in the place of the open one** (`fsck --rebuild`, a restored copy) is noticed in the next round.
//!   The open file would stay as it is for ever.
//! - Batches are found again by their names. Numbers are of one ledger: a rebuilt one gives others, and one restored from a
//!   copy gives those of later batches once more.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_durable::{DiskError, DiskOperation};
use logferry_ledger::{Batch, BatchId, FILE_NAME, Ledger, LiveBatches};
use logferry_numbers::{IndexState, IndexedBatch};

use crate::catalog::{Catalog, TrackedBatch, is_indexed};
use crate::error::IndexerError;

/// Device and inode.
type FileIdentity = (u64, u64);

/// The ledger, open for reading.
pub(crate) struct LedgerFile {
    pub(crate) ledger: Ledger,
    pub(crate) id: String,
    path: PathBuf,
    identity: Option<FileIdentity>,
}

impl LedgerFile {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, IndexerError> {
        let path = data_dir.join(FILE_NAME);
        // Before the opening: a file that takes its place in between is noticed in the first round.
        let identity = identity(&path)?;
        let ledger = Ledger::open_read_only(data_dir)?;
        let id = ledger.id()?.to_string();
        Ok(Self {
            ledger,
            id,
            path,
            identity,
        })
    }

    /// An error if another file has the ledger's name now, or none has it.
    fn check_same(&self) -> Result<(), IndexerError> {
        if identity(&self.path)? == self.identity {
            return Ok(());
        }
        Err(IndexerError::LedgerReplaced {
            path: self.path.clone(),
        })
    }

    /// Brings the catalog up to date with the ledger.
    pub(crate) fn look(&self, catalog: &mut Catalog, now: Timestamp) -> Result<(), IndexerError> {
        self.check_same()?;
        let LiveBatches { mut batches, newest } = self.ledger.look_at_live_batches(catalog.newest())?;
        for id in catalog.ended(&batches) {
            match self.ledger.batch(id)? {
                Some(batch) if Some(id) <= newest => batches.push(batch),
                // It was discarded. A batch that has got its number since then comes with the next look.
                _ => catalog.forget(id),
            }
        }
        catalog.update(batches, now.as_second(), |_| None);
        catalog.set_newest(newest);
        Ok(())
    }

    /// Brings a batch up to date whose file was not found: it may have expired. A batch that was sealed changes no other way that
    /// counts, so [`Self::look`] leaves it alone: an indexer that is far behind has very many.
    pub(crate) fn refresh(&self, tracked: &mut TrackedBatch) {
        // An error is one of the next look, too.
        if let Ok(Some(batch)) = self.ledger.batch(tracked.batch.id) {
            tracked.batch = batch;
        }
    }

    /// The catalog at the start: each batch that is not read to its end, unless it expired before its first look. The ledger
    /// has a row of each batch that ever was: they are not listed.
    pub(crate) fn first_catalog(
        &self,
        state: &IndexState,
        places: &BTreeMap<String, IndexedBatch>,
        now: Timestamp,
    ) -> Result<Catalog, IndexerError> {
        // Before the list: what is opened in between is listed again by the first look.
        let newest = self.ledger.newest_batch()?;
        // Batches that were opened after the last look of an indexer with this state, by their numbers. In another ledger, and
        // in a copy of this one, the number does not tell it: then the time does.
        let is_same = state.ledger.as_ref() == Some(&self.id);
        let seen = is_same.then(|| BatchId::of_number(state.newest_batch.unwrap_or(0)));
        let recorded = state
            .recorded_at
            .map(|at| at.saturating_mul(1000).saturating_add(999));
        let recorded = recorded.and_then(|at| Timestamp::from_millisecond(at).ok());
        let mut batches = self.ledger.spooled_or_new_batches(seen, recorded, |batch| {
            let place = places.get(&batch.name());
            tell_if_shorter(batch, place);
            !is_indexed(batch, place)
        })?;
        let half_read = places.iter().filter(|(_, place)| !place.is_read);
        for (name, _) in half_read {
            let batch = self.ledger.batch_named(name)?;
            batches.extend(batch.filter(|batch| batch.expired_at.is_some()));
        }
        let mut catalog = Catalog::new(newest.max(batches.iter().map(|batch| batch.id).max()));
        catalog.update(batches, now.as_second(), |batch| {
            places.get(&batch.name()).copied()
        });
        Ok(catalog)
    }
}

/// A restored ledger is behind what was read. The bytes that the relay gets anew are those that the senders send once more.
fn tell_if_shorter(batch: &Batch, place: Option<&IndexedBatch>) {
    let bytes = batch.contents.bytes;
    let read = place.map_or(0, |place| place.bytes);
    if read > bytes {
        tracing::warn!(
            "batch {} of source {}: {read} bytes are indexed, but the ledger has only {bytes}: it was restored from an older \
             copy; the index goes on from byte {read} on, and lines before it that differ now are not indexed again",
            batch.name(),
            batch.source
        );
    }
}

fn identity(path: &Path) -> Result<Option<FileIdentity>, DiskError> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::new(DiskOperation::Read, path, error)),
    }
}
