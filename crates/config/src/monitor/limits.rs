//! `monitor.limits`: from where on the monitor tells people.

use std::time::Duration;

use serde::Deserialize;

use crate::yaml::field::{ConfigField, RawText};

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
        let disk = at.key("disk").check(self.disk.or("90%"), disk_percent);
        let certificate = at.key("certificate").time(self.certificate.or("21d"));
        Some(AlertLimits {
            lag: lag?,
            waiting: waiting?,
            disk_percent: disk?,
            certificate: certificate?,
        })
    }
}

/// A whole percentage from 1 to 100.
fn disk_percent(text: &str) -> Result<u8, String> {
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse().ok());
    number
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| {
            format!(
                "`{}` is not a percentage from 1% to 100%; write it like 90%",
                text.escape_debug()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_percentage_of_the_disk_is_a_limit() {
        assert_eq!(disk_percent("90%"), Ok(90));
        for text in ["90", "0%", "101%", "-1%", "half", ""] {
            assert!(disk_percent(text).is_err(), "{text}");
        }
    }
}
