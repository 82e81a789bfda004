//! A record: what one line of a capture file holds, whatever source it is from.
//!
//! No I/O. A record becomes one line of JSON, `{"time", "level", "source", "id", "message", …fields}`, in this order.
//!
//! Invariants:
//! - A line has no line end inside and no key twice, whatever the record holds.
//! - The message of a record that was cut ends in [`CUT_MARK`], and the record has the field `cut_bytes`.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// The keys that each line begins with.
const OWN_KEYS: [&str; 5] = ["time", "level", "source", "id", "message"];

/// The level of a record that has none, or one that nobody knows.
pub const UNKNOWN_LEVEL: &str = "UNKNOWN";

/// What a message ends in of which a part was cut off.
pub const CUT_MARK: &str = "…";

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it happened; the time of its arrival if nobody has said.
    pub time: Timestamp,
    /// How grave it is, as its writer has written it; [`UNKNOWN_LEVEL`] if it has not.
    pub level: String,
    /// Who wrote it: a client, a service, a host, a unit.
    pub source: String,
    /// Its identity, as its writer gave it: a text or a number; else [`new_id`].
    pub id: Value,
    /// What it says.
    pub message: String,
    /// What else it says, in its order.
    pub fields: Vec<(String, Value)>,
}

impl Record {
    /// A record that says only this, with an identity of its own.
    pub fn of_text(time: Timestamp, source: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            time,
            level: UNKNOWN_LEVEL.to_owned(),
            source: source.into(),
            id: Value::String(new_id()),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Adds its line, which ends in `\n`.
    ///
    /// A field with the name of one of the five keys, or of an earlier field, gets `_` after its name.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let mut line = Line { out, is_empty: true };
        line.out.push(b'{');
        line.value("time", &Value::String(format!("{:.3}", self.time)));
        line.text("level", &self.level);
        line.text("source", &self.source);
        line.value("id", &self.id);
        line.text("message", &self.message);
        let mut taken: Vec<Cow<'_, str>> = Vec::with_capacity(self.fields.len());
        for (name, value) in &self.fields {
            let mut name = Cow::Borrowed(name.as_str());
            while OWN_KEYS.contains(&&*name) || taken.contains(&name) {
                name.to_mut().push('_');
            }
            line.value(&name, value);
            taken.push(name);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Cuts the record so that its line has at most `max` bytes; whether it had more. `max` is at least 4 KiB.
    ///
    /// The longest texts are cut first: the message, then fields; what stands in a field that goes is lost. The record says
    /// how many bytes were cut, so that nobody takes it for whole.
    pub fn cut_to(&mut self, max: usize) -> bool {
        /// What the keys, the time and the field `cut_bytes` need.
        const OVERHEAD: usize = 512;
        let len = self.line_len();
        if len <= max {
            return false;
        }
        let room = max.saturating_sub(OVERHEAD).max(1);
        for text in [&mut self.level, &mut self.source] {
            cut_text(text, room / 8);
        }
        if let Value::String(id) = &mut self.id {
            cut_text(id, room / 8);
        }
        // Written out, a byte takes up to six: `\u0000`.
        while self.line_len() > room && !self.fields.is_empty() {
            let lengths = self
                .fields
                .iter()
                .map(|(name, value)| name.len() + value_len(value));
            let longest = lengths.enumerate().max_by_key(|(_, len)| *len);
            let Some((at, longest)) = longest else { break };
            let over = self.line_len() - room;
            // The message is cut rather than a field that is shorter.
            if longest < self.message.len() {
                break;
            }
            match self.fields.get_mut(at) {
                Some((_, Value::String(text))) if longest > over + 64 => {
                    let keep = text.len().saturating_sub(over + 64);
                    cut_text(text, keep);
                }
                _ => drop(self.fields.remove(at)),
            }
        }
        while self.line_len() > room && !self.message.is_empty() {
            let over = self.line_len() - room;
            let keep = self
                .message
                .len()
                .saturating_sub(over.div_ceil(6).max(1) + CUT_MARK.len());
            let before = self.message.len();
            cut_text(&mut self.message, keep);
            if self.message.len() >= before {
                self.message.clear();
            }
        }
        while self.line_len() > room && self.fields.pop().is_some() {}
        let cut = len.saturating_sub(self.line_len());
        self.fields.push(("cut_bytes".to_owned(), Value::from(cut)));
        true
    }

    fn line_len(&self) -> usize {
        let mut line = Vec::new();
        self.write_line(&mut line);
        line.len()
    }
}

/// Cuts a text to at most `keep` bytes, at a character, and marks it.
fn cut_text(text: &mut String, keep: usize) {
    if text.len() <= keep + CUT_MARK.len() {
        return;
    }
    let at = (0..=keep).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(at.unwrap_or(0));
    text.push_str(CUT_MARK);
}

fn value_len(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    }
}

/// A line that is being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Line<'_> {
    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        write_text(self.out, text);
    }

    fn value(&mut self, key: &str, value: &Value) {
        self.key(key);
        serde_json::to_writer(&mut *self.out, value).expect("a value of JSON, into memory");
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        write_text(self.out, key);
        self.out.push(b':');
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text, into memory");
}

/// A new random identity (RFC 9562, UUID version 4).
pub fn new_id() -> String {
    let random: u128 = rand::random();
    let number = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

/// The time that a value says: a text of RFC 3339 or one like it, or a number of seconds, milliseconds, microseconds or
/// nanoseconds since 1970. A text without a zone is of the zone `local`. `None` if it says none.
pub fn time_of(value: &Value, local: &TimeZone) -> Option<Timestamp> {
    match value {
        Value::String(text) => time_of_text(text.trim(), local),
        Value::Number(number) => epoch(number.as_f64()?),
        _ => None,
    }
}

fn time_of_text(text: &str, local: &TimeZone) -> Option<Timestamp> {
    let whole: Option<Timestamp> = text.parse().ok();
    whole.or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(local.to_ambiguous_zoned(civil).compatible().ok()?.timestamp())
    })
}

/// Seconds since 1970 in the years 2000 to 2099, or so many thousandths, millionths, billionths.
fn epoch(number: f64) -> Option<Timestamp> {
    const YEARS: std::ops::Range<f64> = 946_684_800.0..4_102_444_800.0;
    let seconds = [1.0, 1e3, 1e6, 1e9].map(|unit| number / unit);
    let seconds = seconds.into_iter().find(|seconds| YEARS.contains(seconds))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is in range, and milliseconds are kept"
    )]
    Timestamp::from_millisecond((seconds * 1e3).round() as i64).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(message: &str, fields: &[(&str, Value)]) -> Record {
        let time = "2026-11-29T18:05:28.123456Z".parse().expect("a time");
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        Record {
            level: "INFO".into(),
            id: 7.into(),
            fields: fields.collect(),
            ..Record::of_text(time, "app", message)
        }
    }

    fn line(record: &Record) -> String {
        let mut line = Vec::new();
        record.write_line(&mut line);
        String::from_utf8(line).expect("text")
    }

    #[test]
    fn line_has_the_five_keys_in_order_then_the_fields() {
        let record = record("two\nlines", &[("status", 200.into()), ("path", "/".into())]);
        assert_eq!(
            line(&record),
            "{\"time\":\"2026-11-29T18:05:28.123Z\",\"level\":\"INFO\",\"source\":\"app\",\"id\":7,\
             \"message\":\"two\\nlines\",\"status\":200,\"path\":\"/\"}\n"
        );
    }

    #[test]
    fn field_named_like_a_key_or_another_field_gets_another_name() {
        let fields = [
            ("time", 1.into()),
            ("a", 2.into()),
            ("a", 3.into()),
            ("a_", 4.into()),
        ];
        let line = line(&record("x", &fields));
        assert!(line.contains(r#""time_":1,"a":2,"a_":3,"a__":4}"#), "{line}");
    }

    #[test]
    fn ids_are_random_uuids() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes().get(14), Some(&b'4'));
        assert!(matches!(one.as_bytes().get(19), Some(b'8' | b'9' | b'a' | b'b')));
    }

    #[test]
    fn times_are_read_in_the_notations_of_clients() {
        let zone = TimeZone::fixed(jiff::tz::offset(6));
        for (value, expected) in [
            (Value::from("2025-05-01T12:00:00Z"), "2025-05-01T12:00:00Z"),
            ("2025-05-01 12:00:00".into(), "2025-05-01T06:00:00Z"),
            ("2025-05-01 12:00:00,123".into(), "2025-05-01T06:00:00.123Z"),
            ("2025-05-01T12:00:00.5+02:00".into(), "2025-05-01T10:00:00.5Z"),
            (1_746_100_800.into(), "2025-05-01T12:00:00Z"),
            (1_746_100_800_250_u64.into(), "2025-05-01T12:00:00.25Z"),
            (Value::from(1_746_100_800.5), "2025-05-01T12:00:00.5Z"),
        ] {
            let read = time_of(&value, &zone).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Some(expected), "{value}");
        }
        for value in [Value::from("yesterday"), 7.into(), Value::Null, "".into()] {
            assert_eq!(time_of(&value, &zone), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_record_is_one_line_of_json_and_its_keys_are_distinct(
            message: String,
            source: String,
            fields in proptest::collection::vec(("[a-c_]{0,2}|time|id", any::<Option<String>>()), 0..8),
        ) {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
            let record = Record { source, fields, ..record(&message, &[]) };
            let line = line(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let read: Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(&read["message"], &Value::from(message));
            prop_assert_eq!(read.as_object().expect("a map").len(), 5 + record.fields.len());
        }

        #[test]
        fn cut_record_fits_and_says_so(
            message in "\\PC{0,40}",
            times in 1usize..2000,
            escaped: bool,
            field in "[a-z\n]{0,30}",
            field_times in 0usize..2000,
        ) {
            let text = if escaped { format!("\u{1}{message}") } else { message };
            let mut record = record(&text.repeat(times), &[("f", field.repeat(field_times).into())]);
            let before = line(&record).len();
            let is_cut = record.cut_to(4096);
            prop_assert_eq!(is_cut, before > 4096);
            prop_assert!(line(&record).len() <= 4096);
            prop_assert_eq!(line(&record).contains("\"cut_bytes\":"), is_cut);
        }
    }
}
