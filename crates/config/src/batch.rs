//! The `relay.batch` section: windows, names and the seal rule's numbers.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::place::ConfigField;
use crate::template::NameTemplate;
use crate::units::format_duration;

/// How lines become batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSettings {
    /// Length of a window of line time.
    pub window: WindowLength,
    /// Name of a batch's file, without `.log`.
    pub name: NameTemplate,
    /// A batch is sealed when its window is over and nothing was added for so long.
    pub seal_after: Duration,
    /// Lines may be out of order by so much.
    pub slack: Duration,
    /// At most so long a seal waits for a sender that reports unread lines of the window.
    pub hold: Duration,
    /// A batch of this many bytes is sealed and goes on in the next part.
    pub max_bytes: u64,
    /// How the time in a line is written.
    pub timestamp: TimestampFormat,
}

/// How the time in a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Whichever of the others the line fits.
    Auto,
    /// nginx's `$time_local`: `[21/Nov/2026:08:05:00 +0900]`.
    Nginx,
    /// ISO 8601: `2026-11-21T08:05:00+09:00`.
    Iso8601,
    /// Seconds since 1970, with or without a fraction.
    Epoch,
    /// None: the time the line arrived.
    Arrival,
}

/// Length of a window: whole seconds, 1 s to 1 h, dividing one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowLength(u32);

/// A length that windows cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} does not divide one hour; write whole seconds that do, such as 10s, 5m, 20m or 1h", format_duration(*.0))]
pub struct WindowLengthError(Duration);

impl WindowLength {
    /// The length in seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// The length as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<Duration> for WindowLength {
    type Error = WindowLengthError;

    fn try_from(length: Duration) -> Result<Self, WindowLengthError> {
        const HOUR: u32 = 3600;
        match u32::try_from(length.as_secs()) {
            Ok(seconds @ 1..=HOUR) if length.subsec_nanos() == 0 && HOUR.is_multiple_of(seconds) => {
                Ok(Self(seconds))
            }
            _ => Err(WindowLengthError(length)),
        }
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.duration()))
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawBatch {
    window: String,
    name: String,
    seal_after: String,
    slack: String,
    hold: String,
    max_bytes: String,
    timestamp: String,
}

impl Default for RawBatch {
    fn default() -> Self {
        Self {
            window: "20m".into(),
            name: "accessLog_{yymmddHH}_{window}_{source}".into(),
            seal_after: "2m".into(),
            slack: "10s".into(),
            hold: "30m".into(),
            max_bytes: "1GiB".into(),
            timestamp: "auto".into(),
        }
    }
}

impl RawBatch {
    pub(crate) fn resolve(&self, at: &ConfigField<'_>) -> Option<BatchSettings> {
        let window_at = at.key("window");
        let window = window_at.time(&self.window).and_then(|length| {
            WindowLength::try_from(length)
                .map_err(|error| window_at.report(error.to_string()))
                .ok()
        });
        let name = at.key("name").check(&self.name, NameTemplate::parse);
        let seal_after = at.key("seal_after").interval(&self.seal_after);
        let slack = at.key("slack").time(&self.slack);
        let hold = at.key("hold").time(&self.hold);
        let max_bytes = at.key("max_bytes").size(&self.max_bytes, 1..=u64::MAX);
        let timestamp = at.key("timestamp").choice(
            &self.timestamp,
            &[
                ("auto", TimestampFormat::Auto),
                ("nginx", TimestampFormat::Nginx),
                ("iso8601", TimestampFormat::Iso8601),
                ("epoch", TimestampFormat::Epoch),
                ("arrival", TimestampFormat::Arrival),
            ],
        );
        Some(BatchSettings {
            window: window?,
            name: name?,
            seal_after: seal_after?,
            slack: slack?,
            hold: hold?,
            max_bytes: max_bytes?,
            timestamp: timestamp?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_divide_an_hour_are_windows() {
        for seconds in [1, 10, 60, 300, 1200, 3600] {
            let window =
                WindowLength::try_from(Duration::from_secs(seconds.into())).expect("divides an hour");
            assert_eq!(window.seconds(), seconds);
        }
        for (millis, shown) in [
            (0, "0s"),
            (500, "500ms"),
            (1500, "1s500ms"),
            (7000, "7s"),
            (7_200_000, "2h"),
        ] {
            let said = WindowLength::try_from(Duration::from_millis(millis))
                .expect_err(shown)
                .to_string();
            let right = "write whole seconds that do, such as 10s, 5m, 20m or 1h";
            assert_eq!(said, format!("{shown} does not divide one hour; {right}"));
        }
    }
}
