//! The metrics of the console.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The numbers of the console.
#[derive(Debug, Clone)]
pub struct ConsoleMetrics {
    logins: Counter,
    failed_logins: Counter,
    limited_requests: Counter,
    streams: Gauge,
    skipped_lines: Counter,
}

impl ConsoleMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            logins: register(r, "console_logins", "Logins with the right password"),
            failed_logins: register(r, "console_failed_logins", "Logins that were refused"),
            limited_requests: register(
                r,
                "console_limited_requests",
                "Requests that were refused, as their address sent too many",
            ),
            streams: register(r, "console_streams", "Live streams that are open"),
            skipped_lines: register(
                r,
                "console_skipped_lines",
                "Lines that a live stream counted and did not show",
            ),
        }
    }

    /// Counts a login.
    pub fn login(&self, is_right: bool) {
        if is_right {
            self.logins.inc();
        } else {
            self.failed_logins.inc();
        }
    }

    /// Counts a request that was refused for its rate.
    pub fn limited(&self) {
        self.limited_requests.inc();
    }

    /// Counts a stream that opens.
    pub fn stream_opened(&self) {
        self.streams.inc();
    }

    /// Counts a stream that ends.
    pub fn stream_closed(&self) {
        self.streams.dec();
    }

    /// Counts lines that a stream did not show.
    pub fn skipped(&self, lines: u64) {
        self.skipped_lines.inc_by(lines);
    }
}
