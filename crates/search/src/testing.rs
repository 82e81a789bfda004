//! A searched host for tests: its folder has ledger, spool, store and index.

use std::path::Path;
use std::time::Duration;

use logferry_config::FormatsByLog;
use logferry_ledger::{Batch, Ledger};
use logferry_numbers::{IndexChange, IndexDb, IndexedBatch, NumbersKept};
use logferry_store::StorePosition;

use crate::scope::SearchedHost;

pub(crate) fn host<'a>(ledger: &'a Ledger, dir: &'a Path, formats: &'a FormatsByLog) -> SearchedHost<'a> {
    SearchedHost {
        ledger,
        data_dir: dir,
        store_dir: Some(dir),
        formats,
        configuration: "x",
        kept: None,
    }
}

/// The indexer has read so many bytes of a batch.
pub(crate) fn record(db: &mut IndexDb, batch: &Batch, bytes: u64, position: StorePosition) {
    let place = IndexedBatch {
        bytes,
        lines: bytes / 2,
        is_read: false,
    };
    let mut change = IndexChange {
        batches: [(batch.name(), place)].into(),
        store_position: position.to_string(),
        ..IndexChange::default()
    };
    let day = Duration::from_hours(24);
    let kept = NumbersKept {
        minutes: day,
        hours: day,
        gaps: day,
    };
    db.record(&mut change, kept, 1_795_227_700).expect("recorded");
}
