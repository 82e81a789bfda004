//! `monitor.limits`: from where on the monitor tells people.

use std::time::Duration;

use serde::Deserialize;

use crate::yaml::field::{ConfigField, RawText};
use crate::yaml::units::parse_percent;

/// Senders report every 10 s, so a smaller lag would be told all the time.
const LAG_MIN: Duration = Duration::from_secs(30);

/// From where on the monitor tells people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertLimits {
    /// A line may be unread on its source, and a durable one uncounted by the indexer, for so long.
    pub lag: Duration,
    /// A sealed batch may wait for a destination for so long.
    pub waiting: Duration,
    /// The disk may be so full, in percent.
    pub disk_percent: u8,
    /// A certificate must be valid for so long.
    pub certificate: Duration,
}

impl Default for AlertLimits {
    fn default() -> Self {
        Self {
            lag: Duration::from_mins(10),
            waiting: Duration::from_mins(30),
            disk_percent: 90,
            certificate: Duration::from_hours(21 * 24),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawAlertLimits {
    lag: RawText,
    waiting: RawText,
    disk: RawText,
    certificate: RawText,
}

impl RawAlertLimits {
    pub(crate) fn resolve(&self, at: &ConfigField<'_>) -> Option<AlertLimits> {
        let lag_at = at.key("lag");
        let lag = match lag_at.time(self.lag.or("10m")) {
            Some(lag) if lag < LAG_MIN => lag_at.refuse(
                "is below 30s; senders report every 10 s, so a log that is well would be told as behind; write for example 10m",
            ),
            lag => lag,
        };
        let waiting = at.key("waiting").time(self.waiting.or("30m"));
        let disk = at.key("disk").check(self.disk.or("90%"), parse_percent);
        let certificate = at.key("certificate").time(self.certificate.or("21d"));
        Some(AlertLimits {
            lag: lag?,
            waiting: waiting?,
            disk_percent: disk?,
            certificate: certificate?,
        })
    }
}
