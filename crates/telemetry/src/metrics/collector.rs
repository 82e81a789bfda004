//! The metrics of the collector.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::BySource;
use super::{gauge_value, register};

/// The numbers of the collector's sources.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    records: Family<BySource, Counter>,
    bytes: Family<BySource, Counter>,
    repeats: Family<BySource, Counter>,
    cut_records: Family<BySource, Counter>,
    dropped_records: Family<BySource, Counter>,
    gaps: Family<BySource, Counter>,
    up: Family<BySource, Gauge>,
    behind_records: Family<BySource, Gauge>,
    rotated_files: Family<BySource, Gauge>,
    /// What was shown last: a collector that is started again in this process counts from zero.
    shown: Arc<Mutex<HashMap<String, CollectorTotals>>>,
}

/// The values of one source's numbers since the collector was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectorTotals {
    /// Records on stable storage.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Requests that came again and were not stored again.
    pub repeats: u64,
    /// Records that were too long and were cut.
    pub cut_records: u64,
    /// Records that were dropped before they could be read.
    pub dropped_records: u64,
    /// Times that records were missing where the source reads.
    pub gaps: u64,
    /// Whether it takes records.
    pub is_up: bool,
    /// Records that wait where it reads; `None` if nobody can know.
    pub behind: Option<u64>,
    /// Rotated captures that wait for the sender.
    pub rotated_files: u64,
}

impl CollectorMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            records: register(r, "collector_records", "Records on stable storage"),
            bytes: register(r, "collector_bytes", "Bytes of these records"),
            repeats: register(
                r,
                "collector_repeats",
                "Requests that came again and were not stored again",
            ),
            cut_records: register(
                r,
                "collector_cut_records",
                "Records over the limit, which were cut",
            ),
            dropped_records: register(
                r,
                "collector_dropped_records",
                "Records dropped before they could be read",
            ),
            gaps: register(
                r,
                "collector_gaps",
                "Times that records were missing where a source reads",
            ),
            up: register(r, "collector_up", "Whether the source takes records"),
            behind_records: register(
                r,
                "collector_behind_records",
                "Records that wait where the source reads",
            ),
            rotated_files: register(
                r,
                "collector_rotated_files",
                "Full capture files that wait for the sender",
            ),
            shown: Arc::default(),
        }
    }

    /// Shows a source's numbers.
    pub fn show(&self, source: &str, totals: CollectorTotals) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.insert(source.to_owned(), totals).unwrap_or_default();
        let label = BySource {
            source: source.to_owned(),
        };
        for (counter, now, before) in [
            (&self.records, totals.records, before.records),
            (&self.bytes, totals.bytes, before.bytes),
            (&self.repeats, totals.repeats, before.repeats),
            (&self.cut_records, totals.cut_records, before.cut_records),
            (
                &self.dropped_records,
                totals.dropped_records,
                before.dropped_records,
            ),
            (&self.gaps, totals.gaps, before.gaps),
        ] {
            let new = now.checked_sub(before).unwrap_or(now);
            counter.get_or_create(&label).inc_by(new);
        }
        self.up.get_or_create(&label).set(i64::from(totals.is_up));
        self.rotated_files
            .get_or_create(&label)
            .set(gauge_value(totals.rotated_files));
        if let Some(behind) = totals.behind {
            self.behind_records.get_or_create(&label).set(gauge_value(behind));
        }
    }
}
