//! A record: what one line of a capture file holds, whatever source it is from.
//!
//! No I/O. A record becomes one line of JSON, `{"time", "level", "source", "id", "message", …fields}`, in this order.
//!
//! Invariants:
//! - A line has no line end inside and no key twice, whatever the record holds.
//! - The message of a record that was cut ends in [`CUT_MARK`], and the record has the field `cut_bytes`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// The keys that each line begins with.
const OWN_KEYS: [&str; 5] = ["time", "level", "source", "id", "message"];

/// The level of a record that has none, or one that nobody knows.
pub const UNKNOWN_LEVEL: &str = "UNKNOWN";

/// Most fields of a record that is cut to its limit: as many as an entry of the journal may have. A row of a table has fewer.
const FIELDS_MAX: usize = 1024;

/// Most of them whose names are the same but for `_` at the end. So their names do not grow much.
const SAME_NAME_MAX: usize = 16;

/// The field that has the further ones, as the text of a JSON object.
const MORE_FIELDS: &str = "more_fields";

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
        let mut line = RecordLine { out, is_empty: true };
        line.out.push(b'{');
        line.value("time", &Value::String(format!("{:.3}", self.time)));
        line.text("level", &self.level);
        line.text("source", &self.source);
        line.value("id", &self.id);
        line.text("message", &self.message);
        // Looked up in a set: a client decides how many fields there are.
        let mut taken: HashSet<Cow<'_, str>> = HashSet::with_capacity(self.fields.len());
        for (name, value) in &self.fields {
            let mut name = Cow::Borrowed(name.as_str());
            while OWN_KEYS.contains(&&*name) || taken.contains(&name) {
                name.to_mut().push('_');
            }
            line.value(&name, value);
            taken.insert(name);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Cuts the record so that its line has at most `max` bytes; whether it had more. `max` is at least 4 KiB.
    ///
    /// The longest texts are cut first: the message, then fields; what stands in a field that goes is lost. The record says
    /// how many bytes were cut, so that nobody takes it for whole. Fields that are too many become one before that:
    /// [`Self::fold_fields`].
    ///
    /// The work is about in proportion to the record: one client must not hold up the others.
    pub fn cut_to(&mut self, max: usize) -> bool {
        /// What the keys, the time and the field `cut_bytes` need.
        const OVERHEAD: usize = 512;
        self.fold_fields();
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
        // At least the length of the line: a name gets shorter if the field goes that had it first.
        let mut line = self.line_len();
        self.cut_fields(&mut line, room);
        self.cut_message(&mut line, room);
        while line > room
            && let Some(field) = self.fields.pop()
        {
            line = line.saturating_sub(field_len(&field));
        }
        let cut = len.saturating_sub(self.line_len());
        self.fields.push(("cut_bytes".to_owned(), Value::from(cut)));
        true
    }

    /// Puts the fields over [`FIELDS_MAX`] and [`SAME_NAME_MAX`] into one, [`MORE_FIELDS`], in their order: nothing is lost.
    fn fold_fields(&mut self) {
        if self.fields.len() <= SAME_NAME_MAX {
            return;
        }
        let mut of_name: HashMap<&str, usize> = HashMap::new();
        let stays = self.fields.iter().enumerate().map(|(at, (name, _))| {
            let same = of_name.entry(name.trim_end_matches('_')).or_default();
            *same += 1;
            at < FIELDS_MAX && *same <= SAME_NAME_MAX
        });
        let stays: Vec<bool> = stays.collect();
        if stays.iter().all(|stays| *stays) {
            return;
        }
        let mut more = vec![b'{'];
        let mut object = RecordLine {
            out: &mut more,
            is_empty: true,
        };
        let mut stays = stays.into_iter();
        self.fields.retain(|(name, value)| {
            let stays = stays.next().unwrap_or(true);
            if !stays {
                object.value(name, value);
            }
            stays
        });
        more.push(b'}');
        let more = String::from_utf8(more).expect("JSON is text");
        self.fields.push((MORE_FIELDS.to_owned(), Value::String(more)));
    }

    /// Cuts or removes fields, the longest first, while the line is over the room. The message is cut rather than a field that is
    /// shorter.
    fn cut_fields(&mut self, line: &mut usize, room: usize) {
        /// What is cut besides: the mark, and a little.
        const SPARE: usize = 64;
        let lengths = self
            .fields
            .iter()
            .map(|(name, value)| name.len() + value_len(value));
        let mut lengths: Vec<usize> = lengths.collect();
        while *line > room {
            let longest = lengths.iter().copied().enumerate().max_by_key(|(_, len)| *len);
            let Some((at, _)) = longest.filter(|(_, len)| *len >= self.message.len()) else {
                break;
            };
            let cut = *line - room + SPARE;
            match self.fields.get_mut(at) {
                Some((name, Value::String(text))) if text.len() > cut => {
                    let before = written_len(text);
                    cut_text(text, text.len() - cut);
                    *line = line.saturating_sub(before.saturating_sub(written_len(text)));
                    if let Some(len) = lengths.get_mut(at) {
                        *len = name.len() + text.len();
                    }
                }
                _ => {
                    lengths.remove(at);
                    *line = line.saturating_sub(field_len(&self.fields.remove(at)));
                }
            }
        }
    }

    /// Cuts the message while the line is over the room.
    fn cut_message(&mut self, line: &mut usize, room: usize) {
        while *line > room && !self.message.is_empty() {
            let written = written_len(&self.message);
            let (over, before) = (*line - room, self.message.len());
            // Written out, a byte takes up to six: `\u0000`.
            let keep = before.saturating_sub(over.div_ceil(6).max(1) + CUT_MARK.len());
            cut_text(&mut self.message, keep);
            if self.message.len() >= before {
                self.message.clear();
            }
            *line = line.saturating_sub(written.saturating_sub(written_len(&self.message)));
        }
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

/// Bytes of a text in a line.
fn written_len(text: &str) -> usize {
    let mut written = Vec::with_capacity(text.len() + 2);
    write_text(&mut written, text);
    written.len()
}

/// Bytes of a field in a line that needs no other name for it, with its colon and comma.
fn field_len((name, value): &(String, Value)) -> usize {
    let value = match value {
        Value::String(text) => written_len(text),
        other => other.to_string().len(),
    };
    written_len(name) + value + 2
}

/// A line that is being written.
struct RecordLine<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl RecordLine<'_> {
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

    fn many(count: usize, name: impl Fn(usize) -> String) -> Record {
        let fields = (0..count).map(|at| (name(at), Value::from(at)));
        Record {
            fields: fields.collect(),
            ..record("x", &[])
        }
    }

    #[test]
    fn fields_over_the_limit_stand_in_one_and_none_is_lost() {
        let mut distinct = many(1500, |at| format!("f{at}"));
        assert!(!distinct.cut_to(1 << 20));
        let line = line(&distinct);
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["f1023"], 1023);
        let more: Value = serde_json::from_str(read["more_fields"].as_str().expect("text")).expect("JSON");
        assert_eq!((&more["f1024"], &more["f1499"]), (&1024.into(), &1499.into()));
        assert_eq!(more.as_object().expect("an object").len(), 1500 - 1024);
    }

    #[test]
    fn fields_of_one_name_are_few_and_the_others_keep_their_order_and_their_name() {
        let mut equal = many(20, |at| format!("a{}", "_".repeat(at % 2)));
        assert!(!equal.cut_to(1 << 20));
        let line = line(&equal);
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["more_fields"], r#"{"a":16,"a_":17,"a":18,"a_":19}"#);
        assert_eq!(read.as_object().expect("an object").len(), 5 + 16 + 1);
    }

    /// A quadratic step takes minutes here.
    #[test]
    fn client_that_writes_a_great_many_fields_costs_no_more_than_its_bytes() {
        for mut record in [
            many(200_000, |_| "a".to_owned()),
            many(200_000, |at| format!("f{at}")),
            many(200_000, |at| "_".repeat(at % 1000)),
            many(1000, |at| format!("{}{at}", "n".repeat(10_000))),
        ] {
            assert!(record.cut_to(256 << 10));
            assert!(line(&record).len() <= 256 << 10);
        }
    }

    #[test]
    fn long_name_of_a_short_text_is_cut_away() {
        let name = "n".repeat(5000);
        let mut record = record("", &[(&name, "x".into())]);
        assert!(record.cut_to(4096));
        assert_eq!(
            record
                .fields
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            ["cut_bytes"]
        );
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
            name_times in 0usize..2000,
            small in 0usize..1100,
        ) {
            let text = if escaped { format!("\u{1}{message}") } else { message };
            let name = "n\"".repeat(name_times);
            let mut record = record(&text.repeat(times), &[("f", field.repeat(field_times).into()), (&name, 1.into())]);
            record.fields.extend((0..small).map(|at| (format!("a{}", at % 40), Value::from(at))));
            let before = line(&record).len();
            let is_cut = record.cut_to(4096);
            prop_assert_eq!(is_cut, before > 4096);
            prop_assert!(line(&record).len() <= 4096);
            prop_assert_eq!(line(&record).contains("\"cut_bytes\":"), is_cut);
        }
    }
}
