//! The record of an entry of the journal.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::export::JournalEntry;
use super::resume::JournalGap;
use crate::record::{Record, UNKNOWN_LEVEL};
use crate::source::syslog::level_of;

/// What of an entry stands in the record's own places.
const TAKEN: [&str; 2] = ["__CURSOR", "MESSAGE"];

/// The record of an entry: its cursor is the id, every field but the message stays, under its name.
pub(super) fn record(entry: &JournalEntry, cursor: &str) -> Record {
    let time = entry
        .text("__REALTIME_TIMESTAMP")
        .and_then(|time| time.parse().ok());
    let time = time.and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok());
    let named = ["SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_COMM"];
    let source = named.into_iter().find_map(|field| entry.text(field));
    let message = entry.first("MESSAGE").unwrap_or_default();
    let mut record = Record::of_text(
        time.unwrap_or_else(Timestamp::now),
        source.unwrap_or("journal"),
        String::from_utf8_lossy(message),
    );
    record.id = Value::from(cursor);
    let priority = entry.text("PRIORITY").and_then(|priority| priority.parse().ok());
    priority
        .map_or(UNKNOWN_LEVEL, level_of)
        .clone_into(&mut record.level);
    record.fields = fields(entry);
    record
}

/// The fields in their order. One that comes more than once, or a message that says more than one text, is a list.
fn fields(entry: &JournalEntry) -> Vec<(String, Value)> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(entry.fields.len());
    let mut fields: Vec<(&str, Vec<Value>)> = Vec::with_capacity(entry.fields.len());
    for (name, bytes) in &entry.fields {
        let place = *places.entry(name).or_insert(fields.len());
        match fields.get_mut(place) {
            Some((_, values)) => values.push(value(bytes)),
            None => fields.push((name, vec![value(bytes)])),
        }
    }
    let fields = fields.into_iter().filter_map(|(name, mut values)| {
        let is_single = values.len() == 1;
        let is_told = is_single && values.first().is_some_and(Value::is_string);
        if TAKEN.contains(&name) && is_told {
            return None;
        }
        let value = match values.pop() {
            Some(value) if is_single => value,
            last => Value::Array(values.into_iter().chain(last).collect()),
        };
        Some((name.to_owned(), value))
    });
    fields.collect()
}

/// Text, or the numbers of its bytes, as `journalctl -o json` has it.
fn value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(bytes),
    }
}

/// The records of an output, for the fuzz target. What comes after an error is left out.
#[cfg(any(test, fuzzing))]
pub(crate) fn exported_records(output: &[u8], entry_max: usize) -> Vec<Record> {
    use super::cursor::JournalCursor;
    use super::export::ExportDecoder;

    let mut records = Vec::new();
    let decoded = ExportDecoder::new(entry_max).push(output, |entry| {
        let cursor = JournalCursor::parse(entry.text("__CURSOR").unwrap_or_default());
        assert!(
            !cursor.is_after(&cursor) && cursor.is_same_entry(&cursor),
            "{cursor:?}"
        );
        records.push(record(&entry, cursor.as_str()));
    });
    drop(decoded);
    records
}

/// A record that says what is missing.
pub(super) fn gap_record(gap: &JournalGap) -> Record {
    let mut record = Record::of_text(Timestamp::now(), "logferry", gap_text(gap));
    "WARNING".clone_into(&mut record.level);
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    record.fields = vec![(
        "gap".to_owned(),
        serde_json::json!({
            "after": gap.after, "from": time(gap.from),
            "before": gap.before, "until": time(gap.until), "missing_max": gap.missing_max,
        }),
    )];
    record
}

/// What is missing, for people.
pub(super) fn gap_text(gap: &JournalGap) -> String {
    let time = |time: Option<Timestamp>| time.map_or("an unknown time".to_owned(), |time| time.to_string());
    let count = gap
        .missing_max
        .map_or("entries".to_owned(), |count| format!("up to {count} entries"));
    if gap.is_hidden {
        return format!(
            "entries between {} and {} were not read: the clock was behind after the host was restarted, so journalctl puts them before \
             those that were read; `journalctl -b` shows them",
            time(gap.from),
            time(gap.until)
        );
    }
    format!(
        "{count} between {} and {} are gone from the journal before they were read: it was vacuumed, rotated away or \
         replaced; raise SystemMaxUse in journald.conf(5) if the collector was only late",
        time(gap.from),
        time(gap.until)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_an_entry_is_kept() {
        let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let entry = JournalEntry {
            fields: vec![
                field("__CURSOR", b"s=1;i=2"),
                field("__REALTIME_TIMESTAMP", b"1795227603500000"),
                field("PRIORITY", b"3"),
                field("SYSLOG_IDENTIFIER", b"shop"),
                field("TAG", b"a"),
                field("MESSAGE", b"two\nlines"),
                field("TAG", b"b"),
                field("BIN", b"\xff\x00"),
            ],
            lost: 0,
        };
        let mut line = Vec::new();
        record(&entry, "s=1;i=2").write_line(&mut line);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "{\"time\":\"2026-11-21T02:20:03.500Z\",\"level\":\"ERROR\",\"source\":\"shop\",\"id\":\"s=1;i=2\",\
             \"message\":\"two\\nlines\",\"__REALTIME_TIMESTAMP\":\"1795227603500000\",\"PRIORITY\":\"3\",\
             \"SYSLOG_IDENTIFIER\":\"shop\",\"TAG\":[\"a\",\"b\"],\"BIN\":[255,0]}\n"
        );
    }

    #[test]
    fn message_that_is_no_text_stays_beside_what_can_be_shown_of_it() {
        let entry = JournalEntry {
            fields: vec![("MESSAGE".to_owned(), b"a\xff".to_vec())],
            lost: 0,
        };
        let record = record(&entry, "c");
        assert_eq!(record.message, "a\u{fffd}");
        assert_eq!(
            record.fields,
            [("MESSAGE".to_owned(), Value::from(&b"a\xff"[..]))]
        );
        assert_eq!(record.source, "journal");
    }
}
