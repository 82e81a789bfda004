//! The metrics of the sender.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::BySource;
use super::{gauge_value, register};

#[derive(Debug, Clone)]
pub(super) struct SenderFamilies {
    read_bytes: Family<BySource, Counter>,
    sent_lines: Family<BySource, Counter>,
    excluded_lines: Family<BySource, Counter>,
    retries: Family<BySource, Counter>,
    gaps: Family<BySource, Counter>,
    gap_bytes: Family<BySource, Counter>,
    lag_bytes: Family<BySource, Gauge>,
}

impl SenderFamilies {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            read_bytes: register(r, "sender_read_bytes", "Bytes read from logs"),
            sent_lines: register(r, "sender_sent_lines", "Lines the relay has acknowledged"),
            excluded_lines: register(r, "sender_excluded_lines", "Lines dropped by an exclusion rule"),
            retries: register(r, "sender_retries", "Requests tried again"),
            gaps: register(
                r,
                "sender_gaps",
                "Stretches of logs lost before they could be sent",
            ),
            gap_bytes: register(
                r,
                "sender_gap_bytes",
                "Bytes of logs lost before they could be sent",
            ),
            lag_bytes: register(
                r,
                "sender_lag_bytes",
                "Bytes in logs that the relay has not acknowledged",
            ),
        }
    }

    pub(super) fn of(&self, source: &str) -> SenderMetrics {
        let label = BySource {
            source: source.to_owned(),
        };
        SenderMetrics {
            read_bytes: self.read_bytes.get_or_create_owned(&label),
            sent_lines: self.sent_lines.get_or_create_owned(&label),
            excluded_lines: self.excluded_lines.get_or_create_owned(&label),
            retries: self.retries.get_or_create_owned(&label),
            gaps: self.gaps.get_or_create_owned(&label),
            gap_bytes: self.gap_bytes.get_or_create_owned(&label),
            lag_bytes: self.lag_bytes.get_or_create_owned(&label),
            long_lines: Counter::default(),
        }
    }
}

/// The values of one sender's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderTotals {
    /// Bytes of logs read and durable at the relay, excluded lines included.
    pub read_bytes: u64,
    /// Lines the relay has acknowledged.
    pub sent_lines: u64,
    /// Lines dropped by an exclusion rule, and reported to the relay as such.
    pub excluded_lines: u64,
    /// Lines that were shipped in pieces because they are longer than `max_line`. Not on the metrics page.
    pub long_lines: u64,
    /// Requests tried again.
    pub retries: u64,
    /// Stretches of logs that were gone before they could be sent.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
    /// Bytes in logs that the relay has not acknowledged.
    pub lag_bytes: u64,
}

/// The numbers of one sender. All but the lag only grow.
#[derive(Debug, Clone, Default)]
pub struct SenderMetrics {
    read_bytes: Counter,
    sent_lines: Counter,
    excluded_lines: Counter,
    long_lines: Counter,
    retries: Counter,
    gaps: Counter,
    gap_bytes: Counter,
    lag_bytes: Gauge,
}

impl SenderMetrics {
    /// Counts a part of a log that became durable at the relay.
    pub fn shipped(&self, bytes: u64, sent_lines: u64, excluded_lines: u64) {
        self.read_bytes.inc_by(bytes);
        self.sent_lines.inc_by(sent_lines);
        self.excluded_lines.inc_by(excluded_lines);
    }

    /// Counts a line that is shipped in pieces.
    pub fn long_line(&self) {
        self.long_lines.inc();
    }

    /// Counts a request that is tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts a stretch of a log that was lost.
    pub fn lost(&self, bytes: u64) {
        self.gaps.inc();
        self.gap_bytes.inc_by(bytes);
    }

    /// Sets the bytes in logs that the relay has not acknowledged.
    pub fn set_lag(&self, bytes: u64) {
        self.lag_bytes.set(gauge_value(bytes));
    }

    /// The values now.
    pub fn totals(&self) -> SenderTotals {
        SenderTotals {
            read_bytes: self.read_bytes.get(),
            sent_lines: self.sent_lines.get(),
            excluded_lines: self.excluded_lines.get(),
            long_lines: self.long_lines.get(),
            retries: self.retries.get(),
            gaps: self.gaps.get(),
            gap_bytes: self.gap_bytes.get(),
            lag_bytes: u64::try_from(self.lag_bytes.get()).unwrap_or(0),
        }
    }
}
