//! The `relay.batch` section: windows, names and the times of the seal rule.

use std::time::Duration;

use logferry_time_windows::{NameTemplate, TimestampFormat, WindowLength};
use serde::Deserialize;

use crate::yaml::field::ConfigField;

/// The settings of batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSettings {
    /// Length of a window of line time.
    pub window: WindowLength,
    /// Name of a batch's file, without `.log`.
    pub name: NameTemplate,
    /// A batch is sealed when its window is over and no line was added for this time.
    pub seal_after: Duration,
    /// How far lines may be out of order.
    pub slack: Duration,
    /// The longest wait of a seal for a sender that reports unread lines of the window.
    pub hold: Duration,
    /// A batch with this many bytes is sealed, and the next part is opened.
    pub max_bytes: u64,
    /// The format of the time in a line.
    pub timestamp: TimestampFormat,
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
