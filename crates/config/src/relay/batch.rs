//! The `relay.batch` section: windows, names and the times of the seal rule.

use std::time::Duration;

use jiff::Timestamp;
use logferry_fields::LineClock;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_time_windows::{
    BatchNameTooLong, NameTemplate, TimestampFormat, WindowLength, check_name_length,
};
use serde::Deserialize;

use crate::formats::FormatsByLog;
use crate::yaml::field::{ConfigField, RawText};

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
    /// The notation of the time in a line.
    pub timestamp: TimestampFormat,
    /// The formats of lines: the section `formats`.
    pub formats: FormatsByLog,
}

impl BatchSettings {
    /// Reads the times of a log's lines, which arrived at about this time.
    pub fn clock(&self, log: &LogName, arrival: Timestamp) -> LineClock<'_> {
        LineClock::new(self.formats.of(log), self.timestamp, arrival.as_second())
    }

    /// Refuses a source whose batches could have no file. `log`: `None` if it is not known yet.
    pub fn check_source(
        &self,
        source: &SourceId,
        group: &GroupName,
        log: Option<&LogName>,
    ) -> Result<(), BatchNameTooLong> {
        check_name_length(&self.name, self.window, source, group, log)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawBatch {
    window: RawText,
    name: RawText,
    seal_after: RawText,
    slack: RawText,
    hold: RawText,
    max_bytes: RawText,
    timestamp: RawText,
}

impl RawBatch {
    pub(crate) fn resolve(&self, at: &ConfigField<'_>) -> Option<BatchSettings> {
        let window_at = at.key("window");
        let window = window_at.time(self.window.or("20m"));
        let window = window.and_then(|length| window_at.accept(WindowLength::try_from(length)));
        let name = self.name.or("accessLog_{yymmddHH}_{window}_{source}");
        let name = at.key("name").check(name, NameTemplate::parse);
        let seal_after = at.key("seal_after").interval(self.seal_after.or("2m"));
        let slack = at.key("slack").time(self.slack.or("10s"));
        let hold = at.key("hold").time(self.hold.or("30m"));
        let max_bytes = at.key("max_bytes").size(self.max_bytes.or("1GiB"), 1..=u64::MAX);
        let timestamp = at.key("timestamp").choice(
            self.timestamp.or("auto"),
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
            formats: FormatsByLog::default(),
        })
    }
}
