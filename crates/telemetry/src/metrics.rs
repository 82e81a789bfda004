//! The numbers of a process, under the names users rely on.
//!
//! All names are registered in [`Metrics::new`], and only there. The encoder adds `_total` to counters, and shows a
//! name only once it has a value: a sender's page does not list the relay's names. Handles are cheap to clone and share
//! their values; a role keeps its own and calls it once per chunk, commit or file, never per line.

mod labels;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use self::labels::{ByDestination, ByDestinationAndKind, ByGroup, ByGroupAndSource, BySource};

/// Bucket limits of the commit time, in seconds: from a fast flash disk to one that stalls.
const COMMIT_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Seconds with a fraction.
type Seconds = Gauge<f64, AtomicU64>;
type CommitSeconds = Family<ByGroup, Histogram, fn() -> Histogram>;

/// Every number of one process.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    sender: SenderFamilies,
    relay: RelayFamilies,
    forwarder: ForwarderFamilies,
    monitor: MonitorMetrics,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A set of its own, with no values yet; for tests that look at numbers.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("logferry");
        Self(Arc::new(Inner {
            sender: SenderFamilies::register(&mut registry),
            relay: RelayFamilies::register(&mut registry),
            forwarder: ForwarderFamilies::register(&mut registry),
            monitor: MonitorMetrics::register(&mut registry),
            registry,
        }))
    }

    /// The set of this process: roles that share a process share one page.
    pub fn process() -> &'static Self {
        static PROCESS: OnceLock<Metrics> = OnceLock::new();
        PROCESS.get_or_init(Self::new)
    }

    /// All values in the `OpenMetrics` text format, which Prometheus and its relatives read.
    #[expect(clippy::missing_panics_doc, reason = "a String takes everything")]
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry).expect("writing to a String does not fail");
        text
    }

    /// The numbers of one sender.
    pub fn sender(&self, source: &str) -> SenderMetrics {
        self.0.sender.of(source)
    }

    /// The numbers of one group of the relay.
    pub fn relay(&self, group: &str) -> RelayMetrics {
        RelayMetrics {
            group: group.to_owned(),
            families: self.0.relay.clone(),
        }
    }

    /// The numbers of one destination of the forwarder.
    pub fn forwarder(&self, destination: &str) -> ForwarderMetrics {
        self.0.forwarder.of(destination)
    }

    /// The numbers of the monitor.
    pub fn monitor(&self) -> MonitorMetrics {
        self.0.monitor.clone()
    }
}

/// Registers a new metric and hands it back.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

#[derive(Clone)]
struct SenderFamilies {
    read_bytes: Family<BySource, Counter>,
    sent_lines: Family<BySource, Counter>,
    excluded_lines: Family<BySource, Counter>,
    retries: Family<BySource, Counter>,
    gaps: Family<BySource, Counter>,
    gap_bytes: Family<BySource, Counter>,
    lag_bytes: Family<BySource, Gauge>,
}

impl SenderFamilies {
    fn register(r: &mut Registry) -> Self {
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

    fn of(&self, source: &str) -> SenderMetrics {
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

#[derive(Debug, Clone)]
struct RelayFamilies {
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
    fn register(r: &mut Registry) -> Self {
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
        self.families
            .duplicate_chunks
            .get_or_create(&self.of_source(source))
            .inc();
    }

    /// A request was answered with 4xx, 429 or 503.
    pub fn rejected(&self) {
        self.families
            .rejected_requests
            .get_or_create(&self.of_group())
            .inc();
    }

    /// A commit took so long.
    pub fn committed(&self, took: Duration) {
        self.families
            .commit_seconds
            .get_or_create(&self.of_group())
            .observe(took.as_secs_f64());
    }

    /// So many batches are open.
    pub fn open_batches(&self, count: usize) {
        self.families
            .open_batches
            .get_or_create(&self.of_group())
            .set(gauge_value(count as u64));
    }

    /// Whether lines are taken, or senders told to wait for the disk.
    pub fn taking_lines(&self, is_so: bool) {
        self.families
            .taking_lines
            .get_or_create(&self.of_group())
            .set(i64::from(is_so));
    }

    /// A commit, a seal or a recovery failed.
    pub fn commit_failed(&self) {
        self.families
            .commit_failures
            .get_or_create(&self.of_group())
            .inc();
    }

    /// So many bytes can still be written to the data folder.
    pub fn free_disk(&self, bytes: u64) {
        self.families
            .free_disk_bytes
            .get_or_create(&self.of_group())
            .set(gauge_value(bytes));
    }

    fn of_group(&self) -> ByGroup {
        ByGroup {
            group: self.group.clone(),
        }
    }

    fn of_source(&self, source: &str) -> ByGroupAndSource {
        ByGroupAndSource {
            group: self.group.clone(),
            source: source.to_owned(),
        }
    }
}

#[derive(Clone)]
struct ForwarderFamilies {
    delivered_batches: Family<ByDestination, Counter>,
    delivered_bytes: Family<ByDestination, Counter>,
    failures: Family<ByDestinationAndKind, Counter>,
    oldest_waiting_seconds: Family<ByDestination, Seconds>,
}

impl ForwarderFamilies {
    fn register(r: &mut Registry) -> Self {
        Self {
            delivered_batches: register(
                r,
                "forwarder_delivered_batches",
                "Batches published at the destination",
            ),
            delivered_bytes: register(r, "forwarder_delivered_bytes", "Bytes of batches published"),
            failures: register(
                r,
                "forwarder_failures",
                "Failures of a delivery or a destination, which is tried again",
            ),
            oldest_waiting_seconds: register(
                r,
                "forwarder_oldest_waiting_seconds",
                "Age of the oldest sealed batch",
            ),
        }
    }

    fn of(&self, destination: &str) -> ForwarderMetrics {
        let label = ByDestination {
            destination: destination.to_owned(),
        };
        ForwarderMetrics {
            delivered_batches: self.delivered_batches.get_or_create_owned(&label),
            delivered_bytes: self.delivered_bytes.get_or_create_owned(&label),
            oldest_waiting_seconds: self.oldest_waiting_seconds.get_or_create_owned(&label),
            failures: self.failures.clone(),
            destination: label.destination,
        }
    }
}

/// The numbers of one destination of the forwarder.
#[derive(Debug, Clone)]
pub struct ForwarderMetrics {
    delivered_batches: Counter,
    delivered_bytes: Counter,
    oldest_waiting_seconds: Seconds,
    failures: Family<ByDestinationAndKind, Counter>,
    destination: String,
}

impl ForwarderMetrics {
    /// A batch of so many bytes stands at the destination.
    pub fn delivered(&self, bytes: u64) {
        self.delivered_batches.inc();
        self.delivered_bytes.inc_by(bytes);
    }

    /// Shows these kinds of failures from the start, none of which has happened.
    pub fn may_fail(&self, kinds: impl IntoIterator<Item = &'static str>) {
        for kind in kinds {
            drop(self.failures.get_or_create(&self.of_kind(kind)));
        }
    }

    /// A delivery failed, in a way of this kind.
    pub fn failed(&self, kind: &str) {
        self.failures.get_or_create(&self.of_kind(kind)).inc();
    }

    fn of_kind(&self, kind: &str) -> ByDestinationAndKind {
        ByDestinationAndKind {
            destination: self.destination.clone(),
            kind: kind.to_owned(),
        }
    }

    /// The oldest batch not yet delivered was sealed so long ago; zero when none waits.
    pub fn oldest_waiting(&self, age: Duration) {
        self.oldest_waiting_seconds.set(age.as_secs_f64());
    }
}

/// The numbers of the monitor.
#[derive(Debug, Clone)]
pub struct MonitorMetrics {
    alerts: Counter,
    mails: Counter,
}

impl MonitorMetrics {
    fn register(r: &mut Registry) -> Self {
        Self {
            alerts: register(r, "monitor_alerts", "Alerts raised"),
            mails: register(r, "monitor_mails", "Mails the mail server took"),
        }
    }

    /// An alert was raised.
    pub fn alerted(&self) {
        self.alerts.inc();
    }

    /// The mail server took a mail.
    pub fn mailed(&self) {
        self.mails.inc();
    }
}

fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
