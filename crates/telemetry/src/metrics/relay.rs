//! The metrics of the relay.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{ByGroup, ByGroupAndSource};
use super::{gauge_value, register};

/// Bucket limits of the commit time, in seconds: from a fast flash disk to one that stalls.
const COMMIT_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

type CommitSeconds = Family<ByGroup, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone)]
pub(super) struct RelayFamilies {
    lines: Family<ByGroupAndSource, Counter>,
    bytes: Family<ByGroupAndSource, Counter>,
    chunks: Family<ByGroupAndSource, Counter>,
    duplicate_chunks: Family<ByGroupAndSource, Counter>,
    rejected_requests: Family<ByGroup, Counter>,
    commit_seconds: CommitSeconds,
    open_batches: Family<ByGroup, Gauge>,
    taking_lines: Family<ByGroup, Gauge>,
    commit_failures: Family<ByGroup, Counter>,
    free_disk_bytes: Family<ByGroup, Gauge>,
}

impl RelayFamilies {
    pub(super) fn register(r: &mut Registry) -> Self {
        let commit_seconds: CommitSeconds = Family::new_with_constructor(|| Histogram::new(COMMIT_SECONDS));
        r.register(
            "relay_commit_seconds",
            "Time from the first write of a commit to its receipts",
            commit_seconds.clone(),
        );
        Self {
            lines: register(r, "relay_lines", "Lines made durable"),
            bytes: register(r, "relay_bytes", "Bytes of lines made durable"),
            chunks: register(r, "relay_chunks", "Chunks made durable"),
            duplicate_chunks: register(
                r,
                "relay_duplicate_chunks",
                "Chunks acknowledged again, not stored again",
            ),
            rejected_requests: register(r, "relay_rejected_requests", "Requests refused"),
            commit_seconds,
            open_batches: register(r, "relay_open_batches", "Batches being written"),
            taking_lines: register(
                r,
                "relay_taking_lines",
                "1, or 0 while senders are told to wait for the disk",
            ),
            commit_failures: register(
                r,
                "relay_commit_failures",
                "Commits, seals and recoveries that failed",
            ),
            free_disk_bytes: register(
                r,
                "relay_free_disk_bytes",
                "Bytes that can still be written to the data folder",
            ),
        }
    }

    pub(super) fn of(&self, group: &str) -> RelayMetrics {
        RelayMetrics {
            group: group.to_owned(),
            families: self.clone(),
        }
    }
}

/// What one commit stored of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredChunks {
    /// Chunks, duplicates not among them.
    pub chunks: u64,
    /// Lines in them.
    pub lines: u64,
    /// Bytes of those lines, line ends included.
    pub bytes: u64,
}

/// The numbers of one group of the relay.
#[derive(Debug, Clone)]
pub struct RelayMetrics {
    group: String,
    families: RelayFamilies,
}

impl RelayMetrics {
    /// Lines of one source became durable; call it once per source and commit.
    pub fn stored(&self, source: &str, stored: StoredChunks) {
        let label = self.of_source(source);
        self.families.chunks.get_or_create(&label).inc_by(stored.chunks);
        self.families.lines.get_or_create(&label).inc_by(stored.lines);
        self.families.bytes.get_or_create(&label).inc_by(stored.bytes);
    }

    /// A chunk that was stored before was acknowledged again.
    pub fn duplicate(&self, source: &str) {
        let label = self.of_source(source);
        self.families.duplicate_chunks.get_or_create(&label).inc();
    }

    /// A request was answered with 4xx, 429 or 503.
    pub fn rejected(&self) {
        self.of_group(&self.families.rejected_requests).inc();
    }

    /// A commit took so long.
    pub fn committed(&self, took: Duration) {
        self.of_group(&self.families.commit_seconds)
            .observe(took.as_secs_f64());
    }

    /// So many batches are open.
    pub fn open_batches(&self, count: usize) {
        self.of_group(&self.families.open_batches)
            .set(gauge_value(count as u64));
    }

    /// Whether lines are taken, or senders told to wait for the disk.
    pub fn taking_lines(&self, is_so: bool) {
        self.of_group(&self.families.taking_lines).set(i64::from(is_so));
    }

    /// A commit, a seal or a recovery failed.
    pub fn commit_failed(&self) {
        self.of_group(&self.families.commit_failures).inc();
    }

    /// So many bytes can still be written to the data folder.
    pub fn free_disk(&self, bytes: u64) {
        self.of_group(&self.families.free_disk_bytes)
            .set(gauge_value(bytes));
    }

    /// The group's metric of a family.
    fn of_group<M: Clone, C: MetricConstructor<M>>(&self, family: &Family<ByGroup, M, C>) -> M {
        let group = self.group.clone();
        family.get_or_create_owned(&ByGroup { group })
    }

    fn of_source(&self, source: &str) -> ByGroupAndSource {
        ByGroupAndSource {
            group: self.group.clone(),
            source: source.to_owned(),
        }
    }
}
