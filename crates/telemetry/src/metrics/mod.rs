//! The numbers of a process, under the names users rely on.
//!
//! All names are registered in [`Metrics::new`], and only there. The encoder adds `_total` to counters, and shows a
//! name only once it has a value: a sender's page does not list the relay's names. Handles are cheap to clone and share
//! their values; a role keeps its own and calls it once per chunk, commit or file, never per line.

mod collector;
mod console;
mod forwarder;
mod indexer;
mod labels;
mod monitor;
mod process;
mod relay;
mod sender;
mod sink;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

pub use self::collector::{CollectorMetrics, CollectorTotals};
pub use self::console::ConsoleMetrics;
pub use self::forwarder::ForwarderMetrics;
pub use self::indexer::IndexerMetrics;
pub use self::monitor::MonitorMetrics;
pub use self::process::ProcessMetrics;
pub use self::relay::{RelayMetrics, StoredChunks};
pub use self::sender::{SenderMetrics, SenderTotals};
pub use self::sink::SinkMetrics;

use self::forwarder::ForwarderFamilies;
use self::relay::RelayFamilies;
use self::sender::SenderFamilies;
use crate::plain_text;

/// Seconds with a fraction.
type Seconds = Gauge<f64, AtomicU64>;

/// Every number of one process.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    sender: SenderFamilies,
    relay: RelayFamilies,
    forwarder: ForwarderFamilies,
    monitor: MonitorMetrics,
    indexer: IndexerMetrics,
    collector: CollectorMetrics,
    console: ConsoleMetrics,
    process: ProcessMetrics,
    sink: SinkMetrics,
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
            indexer: IndexerMetrics::register(&mut registry),
            collector: CollectorMetrics::register(&mut registry),
            console: ConsoleMetrics::register(&mut registry),
            process: ProcessMetrics::register(&mut registry),
            sink: SinkMetrics::register(&mut registry),
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

    /// The same samples in the Prometheus text 0.0.4, which everything reads that reads metrics.
    pub fn plain_text(&self) -> String {
        plain_text::from_open_metrics(&self.text())
    }

    /// The numbers of one sender.
    pub fn sender(&self, source: &str) -> SenderMetrics {
        self.0.sender.of(source)
    }

    /// The numbers of one group of the relay.
    pub fn relay(&self, group: &str) -> RelayMetrics {
        self.0.relay.of(group)
    }

    /// The numbers of one destination of the forwarder.
    pub fn forwarder(&self, destination: &str) -> ForwarderMetrics {
        self.0.forwarder.of(destination)
    }

    /// The numbers of the monitor.
    pub fn monitor(&self) -> MonitorMetrics {
        self.0.monitor.clone()
    }

    /// The numbers of the process itself.
    pub fn of_process(&self) -> ProcessMetrics {
        self.0.process.clone()
    }

    /// The numbers of the indexer.
    pub fn indexer(&self) -> IndexerMetrics {
        self.0.indexer.clone()
    }

    /// The numbers of the collector's sources.
    pub fn collector(&self) -> CollectorMetrics {
        self.0.collector.clone()
    }

    /// The numbers of the console.
    pub fn console(&self) -> ConsoleMetrics {
        self.0.console.clone()
    }

    /// The numbers of the sink to OpenSearch.
    pub fn sink(&self) -> SinkMetrics {
        self.0.sink.clone()
    }
}

/// Registers a new metric and hands it back.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
