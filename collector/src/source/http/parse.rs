//! From bodies to records.
//!
//! Pure. Each path has a form of its own: `/log` one object of the fifth predecessor, `/api/logs` an object or a list of them,
//! `/lines` text or NDJSON.
//!
//! Invariant: a body is taken as a whole or refused as a whole, with the number of what is wrong in it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_fields::Level;
use serde_json::Value;

use crate::line_record::{Members, RecordOrigin, of_members, of_text};
use crate::record::{Record, UNKNOWN_LEVEL, new_id};

/// Where records are posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostPath {
    /// `/log`: one record, which gets an id.
    Log,
    /// `/api/logs`: rows of a table.
    ApiLogs,
    /// `/lines`: a record a line.
    Lines,
}

impl PostPath {
    /// By the path of a request; `None`: there is nothing.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            "/log" => Some(Self::Log),
            "/api/logs" => Some(Self::ApiLogs),
            "/lines" => Some(Self::Lines),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "/log",
            Self::ApiLogs => "/api/logs",
            Self::Lines => "/lines",
        }
    }
}

/// What a body does not say of itself.
#[derive(Debug, Clone)]
pub struct BodyOrigin<'a> {
    /// When it came.
    pub arrival: Timestamp,
    /// The zone of times that name none.
    pub zone: &'a TimeZone,
    /// Who sent it, if the records do not say.
    pub source: &'a str,
    /// Whether its lines are JSON, by its `Content-Type`.
    pub is_json: bool,
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not JSON.
    #[error("{0} is not JSON: {1}; nothing of the body was stored")]
    NotJson(BodyPart, String),
    /// It is JSON and no object.
    #[error("{0} is not a JSON object such as {{\"message\": \"text\"}}; nothing of the body was stored")]
    NoObject(BodyPart),
    /// It has no message.
    #[error("{0} has no \"message\"; nothing of the body was stored")]
    NoMessage(BodyPart),
}

/// A part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPart {
    /// All of it.
    Whole,
    /// A line, from 1.
    Line(usize),
    /// An item of its list, from 1.
    Item(usize),
}

impl std::fmt::Display for BodyPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("the body"),
            Self::Line(number) => write!(f, "line {number}"),
            Self::Item(number) => write!(f, "item {number}"),
        }
    }
}

/// The records of a body.
pub fn records(path: PostPath, body: &[u8], origin: &BodyOrigin<'_>) -> Result<Vec<Record>, BodyError> {
    match path {
        PostPath::Log => Ok(vec![log_record(body, origin)?]),
        PostPath::ApiLogs => rows(body, origin),
        PostPath::Lines if origin.is_json => json_lines(body, origin),
        PostPath::Lines => Ok(text_lines(body, origin)),
    }
}

impl<'a> BodyOrigin<'a> {
    fn of_line(&self) -> RecordOrigin<'a> {
        RecordOrigin {
            arrival: self.arrival,
            zone: self.zone,
            source: self.source,
        }
    }
}

fn object(json: &[u8], part: BodyPart) -> Result<Members, BodyError> {
    if json
        .trim_ascii_start()
        .first()
        .is_some_and(|first| *first != b'{')
    {
        let any: Result<Value, _> = serde_json::from_slice(json);
        return Err(match any {
            Ok(_) => BodyError::NoObject(part),
            Err(error) => BodyError::NotJson(part, error.to_string()),
        });
    }
    serde_json::from_slice(json).map_err(|error| BodyError::NotJson(part, error.to_string()))
}

fn has_message(members: &Members) -> bool {
    let message = members.0.iter().find(|(name, _)| name == "message");
    message.is_some_and(|(_, value)| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    })
}

/// `{"level", "message", "client_id"}`: the client is the source, and the record gets an id, which it answers with.
fn log_record(body: &[u8], origin: &BodyOrigin<'_>) -> Result<Record, BodyError> {
    let members = object(body, BodyPart::Whole)?;
    if !has_message(&members) {
        return Err(BodyError::NoMessage(BodyPart::Whole));
    }
    let mut record = of_members(members.0, &origin.of_line());
    let client = record.fields.iter().position(|(name, _)| name == "client_id");
    if let Some(at) = client {
        let (_, client) = record.fields.remove(at);
        match client {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => record.source = text,
            Value::Null => {}
            other => record.source = other.to_string(),
        }
    }
    record.level.make_ascii_uppercase();
    if Level::of_word(record.level.as_bytes()).is_none() {
        UNKNOWN_LEVEL.clone_into(&mut record.level);
    }
    record.id = Value::String(new_id());
    Ok(record)
}

/// Rows of the second predecessor's table: one, or a list.
fn rows(body: &[u8], origin: &BodyOrigin<'_>) -> Result<Vec<Record>, BodyError> {
    let is_list = body.trim_ascii_start().first() == Some(&b'[');
    let rows = if is_list {
        let items: Vec<Value> = serde_json::from_slice(body)
            .map_err(|error| BodyError::NotJson(BodyPart::Whole, error.to_string()))?;
        if let Some(at) = items.iter().position(|item| !item.is_object()) {
            return Err(BodyError::NoObject(BodyPart::Item(at + 1)));
        }
        serde_json::from_slice(body)
            .map_err(|error| BodyError::NotJson(BodyPart::Whole, error.to_string()))?
    } else {
        vec![object(body, BodyPart::Whole)?]
    };
    if let Some(at) = rows.iter().position(|row| !has_message(row)) {
        let part = if is_list {
            BodyPart::Item(at + 1)
        } else {
            BodyPart::Whole
        };
        return Err(BodyError::NoMessage(part));
    }
    let rows = rows.into_iter();
    Ok(rows.map(|row| of_members(row.0, &origin.of_line())).collect())
}

fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.strip_suffix(b"\r").unwrap_or(line)));
    lines.filter(|(_, line)| !line.is_empty())
}

fn json_lines(body: &[u8], origin: &BodyOrigin<'_>) -> Result<Vec<Record>, BodyError> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return rows(body, origin);
    }
    let lines = lines(body).filter(|(_, line)| !line.trim_ascii().is_empty());
    let records = lines.map(|(number, line)| {
        let members = object(line, BodyPart::Line(number))?;
        Ok(of_members(members.0, &origin.of_line()))
    });
    records.collect()
}

fn text_lines(body: &[u8], origin: &BodyOrigin<'_>) -> Vec<Record> {
    lines(body)
        .map(|(_, line)| of_text(line, &origin.of_line()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: PostPath, body: &str, is_json: bool) -> Result<Vec<String>, String> {
        let zone = TimeZone::UTC;
        let origin = BodyOrigin {
            arrival: "2026-11-29T18:05:28Z".parse().expect("a time"),
            zone: &zone,
            source: "192.0.2.7",
            is_json,
        };
        let records = records(path, body.as_bytes(), &origin).map_err(|error| error.to_string())?;
        let lines = records.into_iter().map(|mut record| {
            if record.id.as_str().is_some_and(|id| id.len() == 36) {
                record.id = "ID".into();
            }
            let mut line = Vec::new();
            record.write_line(&mut line);
            String::from_utf8(line).expect("text").trim_end().to_owned()
        });
        Ok(lines.collect())
    }

    #[test]
    fn log_has_the_client_as_its_source_and_a_known_level() {
        let body = r#"{"level": "warning", "message": "Syslog | low", "client_id": "linux-1", "extra": 1}"#;
        assert_eq!(
            read(PostPath::Log, body, true).expect("a record"),
            [
                r#"{"time":"2026-11-29T18:05:28.000Z","level":"WARNING","source":"linux-1","id":"ID","message":"Syslog | low","extra":1}"#
            ]
        );
        let body = r#"{"level": "LOUD", "message": "x"}"#;
        assert_eq!(
            read(PostPath::Log, body, true).expect("a record"),
            [
                r#"{"time":"2026-11-29T18:05:28.000Z","level":"UNKNOWN","source":"192.0.2.7","id":"ID","message":"x"}"#
            ]
        );
    }

    #[test]
    fn log_without_a_message_is_refused() {
        for body in [
            r#"{"level": "INFO"}"#,
            r#"{"message": null}"#,
            r#"{"message": ""}"#,
        ] {
            assert_eq!(
                read(PostPath::Log, body, true).expect_err("no message"),
                "the body has no \"message\"; nothing of the body was stored"
            );
        }
        assert!(
            read(PostPath::Log, "[]", true)
                .expect_err("a list")
                .contains("is not a JSON object")
        );
        assert!(
            read(PostPath::Log, "level=INFO", true)
                .expect_err("a form")
                .contains("is not JSON")
        );
        assert!(
            read(PostPath::Log, "", true)
                .expect_err("nothing")
                .contains("is not JSON")
        );
    }

    #[test]
    fn rows_keep_their_ids_and_times() {
        let row = r#"{"id": 17, "message": "m", "level": "INFO", "created_at": "2026-11-29T10:00:00"}"#;
        let line = r#"{"time":"2026-11-29T10:00:00.000Z","level":"INFO","source":"192.0.2.7","id":17,"message":"m","created_at":"2026-11-29T10:00:00"}"#;
        assert_eq!(read(PostPath::ApiLogs, row, true).expect("a row"), [line]);
        let list = format!("[{row}, {row}]");
        assert_eq!(read(PostPath::ApiLogs, &list, true).expect("rows"), [line, line]);
        assert_eq!(
            read(PostPath::ApiLogs, "[]", true).expect("none"),
            Vec::<String>::new()
        );
        let error =
            read(PostPath::ApiLogs, &format!("[{row}, {{\"id\": 2}}]"), true).expect_err("no message");
        assert!(error.starts_with("item 2 has no \"message\""), "{error}");
        let error = read(PostPath::ApiLogs, &format!("[{row}, 5]"), true).expect_err("no object");
        assert!(error.starts_with("item 2 is not a JSON object"), "{error}");
    }

    #[test]
    fn lines_are_text_or_json_by_their_type() {
        let text = read(PostPath::Lines, "one\r\n\n{\"a\":1}\nERROR three", false).expect("lines");
        let messages: Vec<_> = text
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["message"].clone())
            .collect();
        assert_eq!(messages, ["one", "{\"a\":1}", "ERROR three"]);
        let json = read(
            PostPath::Lines,
            "{\"message\":\"x\",\"a\":1}\n\n{\"b\":2}\n",
            true,
        )
        .expect("lines");
        assert_eq!(json.len(), 2);
        let error = read(PostPath::Lines, "{\"a\":1}\n\nnot\n", true).expect_err("line 3");
        assert!(error.starts_with("line 3 is not JSON"), "{error}");
    }

    proptest! {
        #[test]
        fn any_body_is_records_or_an_error(body: Vec<u8>, near in "[\\[\\]{}\":,a-c0-9 \n]{0,80}", is_json: bool) {
            let zone = TimeZone::UTC;
            let origin = BodyOrigin { arrival: Timestamp::UNIX_EPOCH, zone: &zone, source: "s", is_json };
            for body in [&body[..], near.as_bytes()] {
                for path in [PostPath::Log, PostPath::ApiLogs, PostPath::Lines] {
                    let _ = records(path, body, &origin);
                }
            }
        }
    }
}
