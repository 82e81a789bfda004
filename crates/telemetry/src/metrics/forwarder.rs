//! The metrics of the forwarder.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::{ByDestination, ByDestinationAndKind};
use super::{Seconds, register};

#[derive(Debug, Clone)]
pub(super) struct ForwarderFamilies {
    delivered_batches: Family<ByDestination, Counter>,
    delivered_bytes: Family<ByDestination, Counter>,
    failures: Family<ByDestinationAndKind, Counter>,
    oldest_waiting_seconds: Family<ByDestination, Seconds>,
}

impl ForwarderFamilies {
    pub(super) fn register(r: &mut Registry) -> Self {
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

    pub(super) fn of(&self, destination: &str) -> ForwarderMetrics {
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
