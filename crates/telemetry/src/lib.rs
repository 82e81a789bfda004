//! What a logferry process tells about itself: its log, its numbers, and whether it is well.
//!
//! Invariants: the names of [`Metrics`] are a contract with the dashboards of users and never change; nothing here
//! can stop or slow a role (a lost scrape or journal is never an error of the data path).

mod endpoint;
mod logs;
mod metrics;
mod plain_text;
mod presence;
mod status_file;

pub use endpoint::{HealthEndpoint, HealthEndpointError, Readiness};
pub use logs::{LogsError, RepeatLimit, init, journal_messages};
pub use metrics::{
    CollectorMetrics, CollectorTotals, ConsoleMetrics, ForwarderMetrics, IndexerMetrics, Metrics,
    MonitorMetrics, ProcessMetrics, RelayMetrics, SenderMetrics, SenderTotals, SinkMetrics, StoredChunks,
};
pub use presence::{Presence, PresenceState, SIGN_INTERVAL, give_sign, presence, sign_path};
pub use status_file::{StatusFile, read_status_file};
pub use tracing::Level;
