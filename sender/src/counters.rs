//! What the sender counts.

use std::sync::atomic::{AtomicU64, Ordering};

use logferry_protocol::heartbeat::ReportedGap;

/// The sender's counters, shared with whoever publishes them. All but the lag only grow while the process lives.
#[derive(Debug, Default)]
pub struct Counters {
    read_bytes: AtomicU64,
    sent_lines: AtomicU64,
    excluded_lines: AtomicU64,
    long_lines: AtomicU64,
    retries: AtomicU64,
    gaps: AtomicU64,
    gap_bytes: AtomicU64,
    lag_bytes: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Bytes of logs read and durable at the relay, excluded lines included.
    pub read_bytes: u64,
    /// Lines durable at the relay.
    pub sent_lines: u64,
    /// Lines dropped by a rule, and known to the relay as such.
    pub excluded_lines: u64,
    /// Lines longer than `max_line`, which were shipped in pieces.
    pub long_lines: u64,
    /// Chunks and questions that failed and were tried again.
    pub retries: u64,
    /// Losses: stretches of logs that were gone before they could be sent.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
    /// Bytes on disk that the relay does not have yet.
    pub lag_bytes: u64,
}

impl Counters {
    /// All counters as they stand.
    pub fn snapshot(&self) -> Snapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            read_bytes: get(&self.read_bytes),
            sent_lines: get(&self.sent_lines),
            excluded_lines: get(&self.excluded_lines),
            long_lines: get(&self.long_lines),
            retries: get(&self.retries),
            gaps: get(&self.gaps),
            gap_bytes: get(&self.gap_bytes),
            lag_bytes: get(&self.lag_bytes),
        }
    }

    pub(crate) fn settled(&self, settled: crate::streams::tracked_stream::ShippedAmount) {
        self.read_bytes.fetch_add(settled.bytes, Ordering::Relaxed);
        self.sent_lines.fetch_add(settled.lines.sent, Ordering::Relaxed);
        self.excluded_lines
            .fetch_add(settled.lines.excluded, Ordering::Relaxed);
    }

    pub(crate) fn long_line(&self) {
        self.long_lines.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self, gap: &ReportedGap) {
        if gap.bytes() > 0 {
            self.gaps.fetch_add(1, Ordering::Relaxed);
            self.gap_bytes.fetch_add(gap.bytes(), Ordering::Relaxed);
        }
    }

    pub(crate) fn set_lag(&self, bytes: u64) {
        self.lag_bytes.store(bytes, Ordering::Relaxed);
    }
}
