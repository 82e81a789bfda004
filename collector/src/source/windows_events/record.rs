//! The record of a Windows event.
//!
//! Pure. The text of an event is made by Windows from libraries of its host, which are not in the file: the message here is what
//! the event says in fields.

use jiff::Timestamp;
use serde_json::Value;

use crate::record::{Record, UNKNOWN_LEVEL};

/// The record of an event: its number and time in the file, and the event as JSON, as `evtx` makes it.
pub(super) fn record(number: u64, time: Timestamp, event: &Value) -> Record {
    let event = event.get("Event").unwrap_or(event);
    let system = event.get("System").unwrap_or(&Value::Null);
    let provider = attribute(system.get("Provider"), "Name").unwrap_or("Windows");
    let text = |name: &str| system.get(name).and_then(Value::as_str);
    let (channel, computer) = (
        text("Channel").unwrap_or_default(),
        text("Computer").unwrap_or_default(),
    );
    let event_id = content(system.get("EventID"));
    let data = [
        ("EventData", event.get("EventData")),
        ("UserData", event.get("UserData")),
    ];
    let data: Vec<(&str, Value)> = data
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_null())?.clone())))
        .collect();
    let mut message = format!("{provider} {}", shown(&event_id));
    for (_, value) in &data {
        add_text(&mut message, None, value);
    }
    let written = attribute(system.get("TimeCreated"), "SystemTime").and_then(|time| time.parse().ok());
    let mut record = Record::of_text(written.unwrap_or(time), provider, message);
    level(content(system.get("Level")).as_u64()).clone_into(&mut record.level);
    record.id = Value::from(format!("{computer}/{channel}/{number}"));
    let named = [
        ("channel", Value::from(channel)),
        ("computer", Value::from(computer)),
        ("event_id", event_id),
        ("record_number", Value::from(number)),
        ("System", system.clone()),
    ];
    let named = named.into_iter().map(|(name, value)| (name.to_owned(), value));
    record.fields = named
        .chain(data.into_iter().map(|(name, value)| (name.to_owned(), value)))
        .collect();
    record
}

/// The levels of Windows (`winmeta.h`).
fn level(number: Option<u64>) -> &'static str {
    match number {
        Some(1) => "CRITICAL",
        Some(2) => "ERROR",
        Some(3) => "WARNING",
        // 0 is that of audits: always logged.
        Some(0 | 4) => "INFO",
        Some(5) => "DEBUG",
        _ => UNKNOWN_LEVEL,
    }
}

fn attribute<'a>(element: Option<&'a Value>, name: &str) -> Option<&'a str> {
    element?.get("#attributes")?.get(name)?.as_str()
}

/// What stands in an element, with or without attributes.
fn content(element: Option<&Value>) -> Value {
    let element = element.unwrap_or(&Value::Null);
    element.get("#text").unwrap_or(element).clone()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Adds `name=value` for each value that stands in an element or below it.
fn add_text(message: &mut String, name: Option<&str>, value: &Value) {
    match value {
        Value::Object(members) => {
            for (member, value) in members.iter().filter(|(member, _)| *member != "#attributes") {
                add_text(
                    message,
                    Some(member.as_str()).filter(|name| *name != "#text").or(name),
                    value,
                );
            }
        }
        Value::Array(values) => values.iter().for_each(|value| add_text(message, name, value)),
        Value::Null => {}
        value => {
            message.push(' ');
            message.push_str(name.unwrap_or("Data"));
            message.push('=');
            message.push_str(&shown(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn event_says_what_its_fields_say() {
        let event = json!({"Event": {
            "System": {
                "Provider": {"#attributes": {"Name": "Disk"}}, "EventID": {"#attributes": {"Qualifiers": 1}, "#text": 7},
                "Level": 2, "TimeCreated": {"#attributes": {"SystemTime": "2026-11-21T02:20:03.5Z"}},
                "Channel": "System", "Computer": "pc-1"
            },
            "EventData": {"Data": {"#text": ["a", 5]}, "Path": "C:\\", "Empty": null},
        }});
        let mut line = Vec::new();
        record(12, Timestamp::UNIX_EPOCH, &event).write_line(&mut line);
        let line: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["time"], "2026-11-21T02:20:03.500Z");
        assert_eq!(
            (&line["level"], &line["source"], &line["id"]),
            (&"ERROR".into(), &"Disk".into(), &"pc-1/System/12".into())
        );
        assert_eq!(line["message"], "Disk 7 Data=a Data=5 Path=C:\\");
        assert_eq!(
            (&line["event_id"], &line["record_number"]),
            (&7.into(), &12.into())
        );
        assert_eq!(line["EventData"]["Path"], "C:\\");
    }

    #[test]
    fn levels_of_windows_are_the_records_levels() {
        let levels: Vec<_> = (0..7).map(|number| level(Some(number))).collect();
        assert_eq!(
            levels,
            ["INFO", "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "UNKNOWN"]
        );
    }

    #[test]
    fn event_of_nothing_is_a_record() {
        let record = record(1, Timestamp::UNIX_EPOCH, &Value::Null);
        assert_eq!(
            (record.message.as_str(), record.level.as_str()),
            ("Windows null", "UNKNOWN")
        );
    }
}
