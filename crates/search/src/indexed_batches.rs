//! Which batches are wholly in the store: remembered from one search to the next, so that a search looks up the others alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use logferry_ledger::{BatchId, SpooledSize};
use logferry_store::StorePosition;

/// Batches that are remembered.
const BATCHES_MAX: usize = 100_000;

/// The batches of one ledger, by one index. Searches share it.
#[derive(Debug, Default)]
pub struct IndexedBatches(Mutex<HashMap<(BatchId, Timestamp), InStore>>);

/// So many bytes of a batch are in the store, if it reaches this position.
#[derive(Debug, Clone, Copy)]
struct InStore {
    bytes: u64,
    position: StorePosition,
}

impl IndexedBatches {
    /// Whether all of a batch is in the store up to `position`. A search that began before another one has an older position: what
    /// the other one has seen may not be in it.
    pub(crate) fn has(&self, batch: &SpooledSize, position: &StorePosition) -> bool {
        let known = self.known();
        let known = known.get(&(batch.id, batch.opened_at));
        known.is_some_and(|known| known.bytes >= batch.bytes && position.reaches(&known.position))
    }

    /// Remembers that so many bytes of a batch are in the store up to `position`.
    pub(crate) fn add(&self, batch: (BatchId, Timestamp), bytes: u64, position: StorePosition) {
        let mut known = self.known();
        if known.len() >= BATCHES_MAX {
            known.clear();
        }
        known.insert(batch, InStore { bytes, position });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(BatchId, Timestamp), InStore>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
