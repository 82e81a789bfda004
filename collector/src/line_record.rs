//! A record from one line that a client wrote: text, or a JSON object, which keeps its fields.
//!
//! Pure.
//!
//! Invariant: nothing of the line is lost. Bytes that are no UTF-8 are shown as `U+FFFD` in the message, and the line stands
//! in the field `base64` as it came.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use logferry_fields::{Format, Level, LineReader};

use crate::record::{CUT_MARK, Record, UNKNOWN_LEVEL, new_id, time_of};

/// Names of a member that says when it happened, the best first.
const TIME_KEYS: [&str; 6] = ["time", "timestamp", "@timestamp", "ts", "created_at", "datetime"];
/// Names of a member that says how grave it is.
const LEVEL_KEYS: [&str; 5] = ["level", "severity", "levelname", "log_level", "lvl"];
/// Names of a member that says who wrote it.
const SOURCE_KEYS: [&str; 5] = ["source", "service", "client_id", "app", "logger"];
/// Names of a member that is the message.
const MESSAGE_KEYS: [&str; 3] = ["message", "msg", "text"];

/// What a line does not say of itself.
#[derive(Debug, Clone)]
pub(crate) struct RecordOrigin<'a> {
    /// When it came.
    pub(crate) arrival: Timestamp,
    /// The zone of times that name none.
    pub(crate) zone: &'a TimeZone,
    /// Who sent it.
    pub(crate) source: &'a str,
}

/// The record of a line without its line end.
///
/// A member with one of the record's own names (`time`, `level`, `source`, `id`, `message`) becomes that part of the record.
/// A member with another name for it (`timestamp`, `service`, `msg`, …) does too, and stays a field.
pub(crate) fn of_line(line: &[u8], origin: &RecordOrigin<'_>) -> Record {
    if line.trim_ascii_start().first() == Some(&b'{')
        && let Ok(Members(members)) = serde_json::from_slice(line)
    {
        return of_members(members, origin);
    }
    of_text(line, origin)
}

/// The record of a line of text, whatever it looks like.
pub(crate) fn of_text(line: &[u8], origin: &RecordOrigin<'_>) -> Record {
    let text = String::from_utf8_lossy(line);
    let mut record = Record::of_text(origin.arrival, origin.source, text);
    level_in(line).clone_into(&mut record.level);
    keep_bytes(&mut record, line);
    record
}

/// The record of a JSON object's members.
pub(crate) fn of_members(members: Vec<(String, Value)>, origin: &RecordOrigin<'_>) -> Record {
    let mut left: Vec<Option<(String, Value)>> = members.into_iter().map(Some).collect();
    let time = take(&mut left, &TIME_KEYS, |value| time_of(value, origin.zone));
    let level = take(&mut left, &LEVEL_KEYS, |value| match value {
        Value::String(level) if !level.trim().is_empty() => Some(level.trim().to_owned()),
        Value::Number(level) => Some(level.to_string()),
        _ => None,
    });
    let source = take(&mut left, &SOURCE_KEYS, |value| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned)
    });
    let id = take(&mut left, &["id"], |value| {
        let is_id = value.is_number() || value.as_str().is_some_and(|text| !text.is_empty());
        is_id.then(|| value.clone())
    });
    let message = take(&mut left, &MESSAGE_KEYS, |value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    });
    Record {
        time: time.unwrap_or(origin.arrival),
        level: level.unwrap_or_else(|| UNKNOWN_LEVEL.to_owned()),
        source: source.unwrap_or_else(|| origin.source.to_owned()),
        id: id.unwrap_or_else(|| Value::String(new_id())),
        message: message.unwrap_or_default(),
        fields: left.into_iter().flatten().collect(),
    }
}

/// The first of the `keys` whose member can be read. It stays a field unless its name is the first one, the record's own.
fn take<T>(
    members: &mut [Option<(String, Value)>],
    keys: &[&str],
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    for (rank, key) in keys.iter().enumerate() {
        let named = members.iter_mut().find(|member| {
            let name = member.as_ref().map(|(name, _)| name.as_str());
            name == Some(key)
        });
        if let Some(member) = named
            && let Some(found) = member.as_ref().and_then(|(_, value)| read(value))
        {
            if rank == 0 {
                *member = None;
            }
            return Some(found);
        }
    }
    None
}

/// The level that a line of text names.
fn level_in(line: &[u8]) -> &'static str {
    let format = Format::parse("text").unwrap_or_default();
    match LineReader::new(&format, 0).read(line).level {
        Some(Level::Debug) => "DEBUG",
        Some(Level::Info) => "INFO",
        Some(Level::Warn) => "WARNING",
        Some(Level::Error) => "ERROR",
        None => UNKNOWN_LEVEL,
    }
}

/// Keeps the line as it came, if it is no UTF-8.
pub(crate) fn keep_bytes(record: &mut Record, line: &[u8]) {
    if std::str::from_utf8(line).is_err() {
        let bytes = BASE64_STANDARD.encode(line);
        record.fields.push(("base64".to_owned(), Value::String(bytes)));
    }
}

/// Makes the record's line fit into `max` bytes, and marks it if `lost` bytes of it did not come or something was cut now.
/// Whether it is cut.
pub(crate) fn fit(record: &mut Record, lost: u64, max: usize) -> bool {
    const CUT_BYTES: &str = "cut_bytes";
    /// What the mark and the field need.
    const ROOM: usize = 64;
    if lost == 0 {
        return record.cut_to(max);
    }
    record.cut_to(max.saturating_sub(ROOM));
    if !record.message.ends_with(CUT_MARK) {
        record.message.push_str(CUT_MARK);
    }
    match record.fields.last_mut().filter(|(name, _)| name == CUT_BYTES) {
        Some((_, cut)) => *cut = Value::from(cut.as_u64().unwrap_or(0).saturating_add(lost)),
        None => record.fields.push((CUT_BYTES.to_owned(), Value::from(lost))),
    }
    true
}

/// The members of a JSON object in their order.
pub(crate) struct Members(pub(crate) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(line: &[u8]) -> Record {
        of_line(
            line,
            &RecordOrigin {
                arrival: "2026-11-29T18:05:28Z".parse().expect("a time"),
                zone: &TimeZone::fixed(jiff::tz::offset(6)),
                source: "192.0.2.7",
            },
        )
    }

    /// The record's line with a fixed id.
    fn written(line: &str) -> String {
        let mut record = record(line.as_bytes());
        if record.id.as_str().is_some_and(|id| id.len() == 36) {
            record.id = "ID".into();
        }
        let mut written = Vec::new();
        record.write_line(&mut written);
        String::from_utf8(written).expect("text").trim_end().to_owned()
    }

    #[test]
    fn text_is_the_message_and_its_level_is_the_one_it_names() {
        for (text, level) in [
            ("plain words", "UNKNOWN"),
            ("2025-10-23 14:32:15 ERROR [payment-service] declined", "ERROR"),
            ("warning: low", "WARNING"),
            ("{not json", "UNKNOWN"),
            ("[1,2]", "UNKNOWN"),
        ] {
            let expected = format!(
                r#"{{"time":"2026-11-29T18:05:28.000Z","level":"{level}","source":"192.0.2.7","id":"ID","message":"{text}"}}"#
            );
            assert_eq!(written(text), expected);
        }
    }

    #[test]
    fn json_object_keeps_its_fields_in_their_order() {
        assert_eq!(
            written(
                r#" {"z":1,"message":"m","a":{"c":[null,1.5]},"level":"INFO","id":7,"source":"s","time":"2025-05-01T12:00:00Z"}"#
            ),
            r#"{"time":"2025-05-01T12:00:00.000Z","level":"INFO","source":"s","id":7,"message":"m","z":1,"a":{"c":[null,1.5]}}"#
        );
    }

    #[test]
    fn other_names_for_the_records_parts_are_understood_and_stay() {
        assert_eq!(
            written(
                r#"{"timestamp":"2025-10-23 14:35:22","severity":"error","service":"payment-service","msg":"no"}"#
            ),
            "{\"time\":\"2025-10-23T08:35:22.000Z\",\"level\":\"error\",\"source\":\"payment-service\",\"id\":\"ID\",\
             \"message\":\"no\",\"timestamp\":\"2025-10-23 14:35:22\",\"severity\":\"error\",\
             \"service\":\"payment-service\",\"msg\":\"no\"}"
        );
    }

    #[test]
    fn members_that_cannot_be_a_part_of_the_record_stay_fields() {
        assert_eq!(
            written(r#"{"time":"soon","level":null,"source":{"hostname":"h"},"id":"","message":{"a":1}}"#),
            "{\"time\":\"2026-11-29T18:05:28.000Z\",\"level\":\"UNKNOWN\",\"source\":\"192.0.2.7\",\"id\":\"ID\",\
             \"message\":\"{\\\"a\\\":1}\",\"time_\":\"soon\",\"level_\":null,\"source_\":{\"hostname\":\"h\"},\"id_\":\"\"}"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_beside_the_message() {
        let record = record(b"caf\xe9");
        assert_eq!(record.message, "caf\u{fffd}");
        assert_eq!(record.fields, [("base64".to_owned(), Value::from("Y2Fm6Q=="))]);
    }

    #[test]
    fn record_that_was_cut_on_the_way_says_so_once() {
        let mut short = record(b"beginning");
        assert!(fit(&mut short, 17, 4096));
        assert_eq!(short.message, "beginning…");
        assert_eq!(short.fields, [("cut_bytes".to_owned(), Value::from(17))]);
        let mut long = record("x".repeat(5000).as_bytes());
        assert!(fit(&mut long, 17, 4096));
        assert_eq!(long.fields.len(), 1);
        assert!(long.fields[0].1.as_u64() > Some(900));
        assert!(!fit(&mut record(b"short"), 0, 4096));
    }

    proptest! {
        #[test]
        fn any_line_becomes_one_line_that_fits(line: Vec<u8>, near in "[{}\":,a-c0-9 \\\\u]{0,60}", lost in 0..3_u64) {
            for line in [&line[..], near.as_bytes()] {
                let mut record = record(line);
                let is_cut = fit(&mut record, lost, 4096);
                prop_assert_eq!(is_cut, lost > 0);
                let mut written = Vec::new();
                record.write_line(&mut written);
                let is_whole = written.ends_with(b"}\n");
                prop_assert!(is_whole && written.len() <= 4096);
            }
        }
    }
}
