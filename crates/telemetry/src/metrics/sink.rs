//! The metrics of the sink to OpenSearch.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{gauge_value, register};

/// The numbers of the sink.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    documents: Counter,
    repeated: Counter,
    refused: Counter,
    retries: Counter,
    gaps: Counter,
    gap_bytes: Counter,
    lag_bytes: Gauge,
    lag_lines: Gauge,
    lag_seconds: Gauge,
}

impl SinkMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            documents: register(r, "opensearch_documents", "Lines that are in an index"),
            repeated: register(
                r,
                "opensearch_repeated_documents",
                "Of these, that were there already when they were sent",
            ),
            refused: register(
                r,
                "opensearch_refused_documents",
                "Lines that the server refuses; they are set aside",
            ),
            retries: register(
                r,
                "opensearch_retries",
                "Requests that are sent again after a wait",
            ),
            gaps: register(
                r,
                "opensearch_gaps",
                "Stretches of batches that were gone before they were sent",
            ),
            gap_bytes: register(r, "opensearch_gap_bytes", "Bytes in these gaps"),
            lag_bytes: register(r, "opensearch_lag_bytes", "Durable bytes that are not sent"),
            lag_lines: register(r, "opensearch_lag_lines", "Durable lines that are not sent"),
            lag_seconds: register(
                r,
                "opensearch_lag_seconds",
                "For how long the oldest of these lines have waited",
            ),
        }
    }

    /// Counts lines whose place is recorded. `repeated`: of them, those that were in the index already.
    pub fn sent(&self, documents: u64, repeated: u64, refused: u64) {
        self.documents.inc_by(documents);
        self.repeated.inc_by(repeated);
        self.refused.inc_by(refused);
    }

    /// Counts a request that is sent again after a wait.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts bytes of a batch that were gone before they were sent.
    pub fn lost(&self, bytes: u64) {
        self.gaps.inc();
        self.gap_bytes.inc_by(bytes);
    }

    /// Sets how far the sink is behind.
    pub fn set_lag(&self, bytes: u64, lines: u64, seconds: u64) {
        self.lag_bytes.set(gauge_value(bytes));
        self.lag_lines.set(gauge_value(lines));
        self.lag_seconds.set(gauge_value(seconds));
    }
}
