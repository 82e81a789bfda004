//! A line in the predecessor's shape. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_store::Hit;
use serde::Serialize;

use crate::database::MarkSet;

/// The keys that its page and its users' programs read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LogEntry {
    uuid: String,
    /// `2025-05-01 12:00:00,123`, in the zone of this host.
    timestamp_str: String,
    log_level: String,
    client_id: String,
    message: String,
    is_pinned: bool,
    is_ticket: bool,
}

impl LogEntry {
    pub(super) fn of(hit: &Hit, marks: MarkSet, zone: &TimeZone) -> Self {
        let field = |name: &str| {
            let found = hit.fields.iter().find(|(known, _)| known == name);
            found
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        // What the collector took at `POST /log` is a JSON object with these keys. Of any other line the whole is the message.
        let collected = field("message").zip(field("source"));
        let (message, client_id) = collected.unwrap_or_else(|| {
            (
                String::from_utf8_lossy(&hit.line).into_owned(),
                hit.source.clone(),
            )
        });
        Self {
            uuid: hit.id(),
            timestamp_str: local_time(hit.time_ms, zone),
            log_level: level_word(hit.level.as_deref()).to_owned(),
            client_id,
            message,
            is_pinned: marks.is_pinned,
            is_ticket: marks.is_ticket,
        }
    }
}

fn local_time(milliseconds: i64, zone: &TimeZone) -> String {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time.to_zoned(zone.clone());
    format!("{},{:03}", time.strftime("%F %T"), time.millisecond())
}

/// The predecessor's words for levels.
pub(super) fn level_word(level: Option<&str>) -> &'static str {
    match level {
        Some("error") => "ERROR",
        Some("warn") => "WARNING",
        Some("info") => "INFO",
        Some("debug") => "DEBUG",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_the_shape_that_the_predecessors_page_reads() {
        let mut hit = Hit {
            time_ms: 1_746_100_800_123,
            source: "198.51.100.1".to_owned(),
            batch: "a_12_00-19".to_owned(),
            offset: 7,
            level: Some("warn".to_owned()),
            line: b"<b>\xff".to_vec(),
            ..Hit::default()
        };
        let marks = MarkSet {
            is_pinned: true,
            ..MarkSet::default()
        };
        let json = |hit: &Hit| serde_json::to_string(&LogEntry::of(hit, marks, &TimeZone::UTC)).unwrap();
        assert_eq!(
            json(&hit),
            "{\"uuid\":\"a_12_00-19@7\",\"timestamp_str\":\"2025-05-01 12:00:00,123\",\"log_level\":\"WARNING\",\
             \"client_id\":\"198.51.100.1\",\"message\":\"<b>\u{fffd}\",\"is_pinned\":true,\"is_ticket\":false}"
        );
        hit.fields = vec![
            ("source".to_owned(), "app-1".to_owned()),
            ("message".to_owned(), "paid".to_owned()),
        ];
        assert!(json(&hit).contains("\"client_id\":\"app-1\",\"message\":\"paid\""));
    }
}
