//! The metrics of the indexer.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{gauge_value, register};

/// The numbers of the indexer.
#[derive(Debug, Clone)]
pub struct IndexerMetrics {
    lines: Counter,
    bytes: Counter,
    unparsed_lines: Counter,
    gaps: Counter,
    gap_bytes: Counter,
    frames: Gauge,
    store_bytes: Gauge,
    lag_bytes: Gauge,
    lag_lines: Gauge,
    lag_seconds: Gauge,
}

impl IndexerMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            lines: register(r, "indexer_lines", "Lines counted and stored for the search"),
            bytes: register(r, "indexer_bytes", "Bytes of these lines"),
            unparsed_lines: register(
                r,
                "indexer_unparsed_lines",
                "Lines that are not of their log's format",
            ),
            gaps: register(
                r,
                "indexer_gaps",
                "Stretches of batches that were gone before they were read",
            ),
            gap_bytes: register(r, "indexer_gap_bytes", "Bytes in these gaps"),
            frames: register(r, "indexer_frames", "Frames written since the indexer's start"),
            store_bytes: register(r, "indexer_store_bytes", "Bytes of the store on disk"),
            lag_bytes: register(r, "indexer_lag_bytes", "Durable bytes that are not indexed"),
            lag_lines: register(r, "indexer_lag_lines", "Durable lines that are not indexed"),
            lag_seconds: register(
                r,
                "indexer_lag_seconds",
                "For how long the oldest of these lines have waited",
            ),
        }
    }

    /// Counts lines that are durable in numbers and store.
    pub fn indexed(&self, lines: u64, bytes: u64, unparsed: u64) {
        self.lines.inc_by(lines);
        self.bytes.inc_by(bytes);
        self.unparsed_lines.inc_by(unparsed);
    }

    /// Counts bytes of a batch that were gone before they were read.
    pub fn lost(&self, bytes: u64) {
        self.gaps.inc();
        self.gap_bytes.inc_by(bytes);
    }

    /// Sets how far the indexer is behind.
    pub fn set_lag(&self, bytes: u64, lines: u64, seconds: u64) {
        self.lag_bytes.set(gauge_value(bytes));
        self.lag_lines.set(gauge_value(lines));
        self.lag_seconds.set(gauge_value(seconds));
    }

    /// Sets the size of the store, and the frames written.
    pub fn set_store(&self, bytes: u64, frames: u64) {
        self.store_bytes.set(gauge_value(bytes));
        self.frames.set(gauge_value(frames));
    }
}
