//! The record of a syslog message.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::message::{SyslogMessage, parse};
use super::priority::Priority;
use super::stamp::MessageArrival;
use super::structured_data::Element;
use crate::line_record::keep_bytes;
use crate::record::{Record, UNKNOWN_LEVEL};

/// The record of a message that came `at` that time from `peer`. `zone`: of times that name none.
pub(crate) fn message_record(bytes: &[u8], peer: IpAddr, at: Timestamp, zone: &TimeZone) -> Record {
    let text = String::from_utf8_lossy(bytes);
    let arrival = MessageArrival {
        at,
        zone: zone.clone(),
    };
    let message = parse(&text, &arrival);
    let peer = peer.to_canonical().to_string();
    let source = message.app.or(message.host).unwrap_or(&peer);
    let mut record = Record::of_text(message.time.unwrap_or(at), source, message.text);
    let level = message.priority.map_or(UNKNOWN_LEVEL, Priority::level);
    level.clone_into(&mut record.level);
    record.fields = fields(&message, peer);
    keep_bytes(&mut record, bytes);
    record
}

fn fields(message: &SyslogMessage<'_>, peer: String) -> Vec<(String, Value)> {
    let named = [
        ("host", message.host),
        ("app", message.app),
        ("procid", message.process),
        ("msgid", message.message_id),
        ("facility", message.priority.map(Priority::facility)),
        ("severity", message.priority.map(Priority::severity)),
    ];
    let present = named
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.to_owned())));
    let mut fields: Vec<_> = present
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect();
    fields.push(("peer".to_owned(), Value::String(peer)));
    fields.extend(
        message
            .elements
            .iter()
            .map(|element| (element.id.to_owned(), parameters(element))),
    );
    fields
}

/// An object with the parameters. A name that comes more than once has a list of its values.
fn parameters(element: &Element<'_>) -> Value {
    let mut parameters = Map::new();
    for (name, value) in &element.parameters {
        let value = Value::String(value.clone().into_owned());
        match parameters.get_mut(*name) {
            None => drop(parameters.insert((*name).to_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &[u8]) -> String {
        let at = "2026-11-21T08:20:03Z".parse().expect("a time");
        let peer = "::ffff:192.0.2.7".parse().expect("an address");
        let mut record = message_record(message, peer, at, &TimeZone::UTC);
        record.id = "ID".into();
        let mut line = Vec::new();
        record.write_line(&mut line);
        String::from_utf8(line).expect("text").trim_end().to_owned()
    }

    #[test]
    fn structured_data_becomes_fields() {
        assert_eq!(
            written(br#"<165>1 2026-11-21T08:20:01.5Z web-1 shop 8 ID47 [x@1 a="1" b="2" a="3" a="4"][meta] hello"#),
            "{\"time\":\"2026-11-21T08:20:01.500Z\",\"level\":\"INFO\",\"source\":\"shop\",\"id\":\"ID\",\"message\":\"hello\",\
             \"host\":\"web-1\",\"app\":\"shop\",\"procid\":\"8\",\"msgid\":\"ID47\",\"facility\":\"local4\",\
             \"severity\":\"notice\",\"peer\":\"192.0.2.7\",\"x@1\":{\"a\":[\"1\",\"3\",\"4\"],\"b\":\"2\"},\"meta\":{}}"
        );
    }

    #[test]
    fn message_without_a_header_is_of_its_peer_and_its_arrival() {
        assert_eq!(
            written(b"just \xff text\n"),
            "{\"time\":\"2026-11-21T08:20:03.000Z\",\"level\":\"UNKNOWN\",\"source\":\"192.0.2.7\",\"id\":\"ID\",\
             \"message\":\"just \u{fffd} text\",\"peer\":\"192.0.2.7\",\"base64\":\"anVzdCD/IHRleHQK\"}"
        );
    }
}
