//! One syslog message, in the form of RFC 5424 or in the older forms that RFC 3164 describes.
//!
//! Pure. `syslog_loose` was weighed: it takes a `[…]` out of the text of older messages, trims their text, and forgets the
//! priority of a message without a time.
//!
//! Invariants:
//! - Reading never fails: what is not understood stays in `text`.
//! - No character of the message is dropped but the separators of the header, a byte order mark before the text, and line
//!   ends and NULs after it.

use jiff::Timestamp;

use super::priority::{self, Priority};
use super::stamp::{self, MessageArrival};
use super::structured_data::{self, Element};

/// The parts of a message. A part that the message does not have, or has as `-`, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SyslogMessage<'a> {
    /// Facility and severity.
    pub(crate) priority: Option<Priority>,
    /// When the message was made, by the clock of its host.
    pub(crate) time: Option<Timestamp>,
    /// The host that made it.
    pub(crate) host: Option<&'a str>,
    /// The program: RFC 5424's `APP-NAME`, RFC 3164's `TAG`.
    pub(crate) app: Option<&'a str>,
    /// The process, mostly its number.
    pub(crate) process: Option<&'a str>,
    /// RFC 5424's `MSGID`: the type of message.
    pub(crate) message_id: Option<&'a str>,
    /// RFC 5424's structured data, in order.
    pub(crate) elements: Vec<Element<'a>>,
    /// The message itself.
    pub(crate) text: &'a str,
}

/// Reads a message.
pub(crate) fn parse<'a>(message: &'a str, arrival: &MessageArrival) -> SyslogMessage<'a> {
    let message = message.trim_end_matches(['\n', '\r', '\0']);
    let Some((priority, rest)) = priority::strip(message) else {
        // RFC 3164, section 4.3.3: anything can be a message.
        return older(None, message, arrival);
    };
    rest.strip_prefix("1 ")
        .and_then(|rest| rfc5424(priority, rest))
        .unwrap_or_else(|| older(Some(priority), rest, arrival))
}

/// What follows `<PRI>1 ` (RFC 5424, section 6), or `None` if the header is not one.
fn rfc5424(priority: Priority, rest: &str) -> Option<SyslogMessage<'_>> {
    let (stamp, rest) = rest.split_once(' ')?;
    let time = match stamp {
        "-" => None,
        stamp => Some(stamp.parse().ok()?),
    };
    let (host, rest) = rest.split_once(' ')?;
    let (app, rest) = rest.split_once(' ')?;
    let (process, rest) = rest.split_once(' ')?;
    let (message_id, rest) = rest.split_once(' ').unwrap_or((rest, "-"));
    // Data that breaks the rules stays in the text.
    let (elements, text) = structured_data::parse(rest).unwrap_or((Vec::new(), rest));
    Some(SyslogMessage {
        priority: Some(priority),
        time,
        host: value(host),
        app: value(app),
        process: value(process),
        message_id: value(message_id),
        elements,
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
    })
}

/// The older forms: `[TIME] [HOST] [TAG[PID]:] TEXT`.
fn older<'a>(priority: Option<Priority>, rest: &'a str, arrival: &MessageArrival) -> SyslogMessage<'a> {
    let mut message = SyslogMessage {
        priority,
        text: rest,
        ..SyslogMessage::default()
    };
    let Some((time, after)) = stamp::strip(rest.trim_start_matches(' '), arrival) else {
        // Without a time nothing tells a host from a word. A tag can be told by its colon, if there was a priority.
        if let Some((app, process, text)) = priority.and_then(|_| tag(rest)) {
            (message.app, message.process, message.text) = (Some(app), process, text);
        }
        return message;
    };
    message.time = Some(time);
    message.text = after;
    let (host, after_host) = match (tag(after), after.split_once(' ')) {
        // `TAG: TEXT`, as programs write it to the socket of their own host.
        (Some(_), _) | (None, None) => (None, after),
        (None, Some((host, rest))) if is_host(host) => (value(host), rest),
        _ => return message,
    };
    message.host = host;
    message.text = after_host;
    if let Some((app, process, text)) = tag(after_host) {
        (message.app, message.process, message.text) = (Some(app), process, text);
    }
    message
}

/// `TAG[PID]: TEXT` or `TAG: TEXT`. The tag is one word; the space after the colon belongs to it.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find([':', '[', ' '])?;
    let (app, rest) = text.split_at_checked(end)?;
    // `10:15 …` and a device's count of its messages are no tags.
    if !app.contains(char::is_alphabetic) {
        return None;
    }
    let (process, rest) = match rest.strip_prefix('[') {
        None => (None, rest),
        Some(inside) => {
            let (process, rest) = inside.split_once(']')?;
            let is_word = !process.is_empty() && !process.contains([' ', '[']);
            (Some(process).filter(|_| is_word), rest)
        }
    };
    let text = rest.strip_prefix(':')?;
    let is_tag = text.is_empty() || text.starts_with(' ');
    is_tag.then(|| (app, process, text.strip_prefix(' ').unwrap_or(text)))
}

/// The name or address of a host has no brackets, quotes or the like.
fn is_host(word: &str) -> bool {
    let is_of_host = |character: char| character.is_alphanumeric() || "-._:%@/".contains(character);
    !word.is_empty() && word.len() <= 255 && word.chars().all(is_of_host)
}

/// RFC 5424's `-` is no value.
fn value(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty() && *text != "-")
}
