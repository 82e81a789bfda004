//! The header of syslog: RFC 5424, and the older `Oct 11 22:14:15 host` (RFC 3164), with or without priority, as rsyslog
//! writes it into files.

use std::ops::Range;

use logferry_time_windows::{LineTime, TimeReader};

use crate::text::ends_field;

/// The header of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) time: Option<LineTime>,
    /// The time as it is written.
    pub(crate) stamp: Range<usize>,
    pub(crate) host: Range<usize>,
    /// What follows the host.
    pub(crate) message: Range<usize>,
}

/// The length of `<PRI>` and of RFC 5424's version at the beginning of the line.
pub(crate) fn priority_len(line: &[u8]) -> usize {
    let Some(inside) = line.strip_prefix(b"<") else {
        return 0;
    };
    let count = inside
        .iter()
        .take(3)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if count == 0 || inside.get(count) != Some(&b'>') {
        return 0;
    }
    let version = match inside.get(count + 1..) {
        Some([b'1'..=b'9', b' ', ..]) => 2,
        _ => 0,
    };
    count + 2 + version
}

/// The header that a line begins with: the older kind, or any kind if the line has a priority.
pub(crate) fn header(line: &[u8], times: &mut TimeReader) -> Option<Header> {
    // `<` or the name of a month.
    line.first()
        .filter(|first| **first == b'<' || first.is_ascii_uppercase())?;
    let start = priority_len(line);
    let stamp = line.get(start..)?;
    let found = times
        .syslog(stamp)
        .or_else(|| (start > 0).then(|| times.iso8601(stamp))?);
    let Some(found) = found.filter(|found| ends_field(&stamp[found.len..])) else {
        // RFC 5424, section 6.2.3: `-` is no time.
        return (start > 0 && stamp.starts_with(b"- ")).then(|| Header::new(line, start, start + 1, None));
    };
    Some(Header::new(line, start, start + found.len, Some(found.time)))
}

/// The header of a line in a log of syslog, in which ISO 8601 needs no priority.
pub(crate) fn any_header(line: &[u8], times: &mut TimeReader) -> Option<Header> {
    header(line, times).or_else(|| {
        let found = times
            .iso8601(line)
            .filter(|found| ends_field(&line[found.len..]))?;
        Some(Header::new(line, 0, found.len, Some(found.time)))
    })
}

impl Header {
    fn new(line: &[u8], start: usize, end: usize, time: Option<LineTime>) -> Self {
        let host_start = (end + 1).min(line.len());
        let space = memchr::memchr(b' ', &line[host_start..]);
        let host_end = space.map_or(line.len(), |space| host_start + space);
        Self {
            time,
            stamp: start..end,
            host: host_start..host_end,
            message: (host_end + 1).min(line.len())..line.len(),
        }
    }
}

/// Whether a message is `TAG: ADDRESS - …`: the line of an access log, as nginx sends it to syslog.
pub(crate) fn is_access_line(message: &[u8]) -> bool {
    let Some(colon) = memchr::memmem::find(message, b": ") else {
        return false;
    };
    let text = &message[colon + 2..];
    let tag = &message[..colon];
    let space = memchr::memchr(b' ', text).unwrap_or(text.len());
    !tag.contains(&b' ') && text[space..].starts_with(b" - ")
}
