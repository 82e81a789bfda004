//! The time of a line whose format is not known: a whole field that is a time, wherever it stands.
//!
//! Which field counts, the best first:
//!
//! 1. the line's first field, if it is a time of a distinct notation (not a plain number);
//! 2. the field directly before an opening quote, as in nginx's `combined`: nginx writes a quote in a value as `\x22`, so the
//!    first quote of the line begins the request;
//! 3. the header of syslog;
//! 4. the first field outside of quotes that is a time of a distinct notation, or a value whose name is that of a time;
//! 5. the first string in quotes that is a time as a whole;
//! 6. the number outside of quotes that is nearest to the time of arrival: byte counts and ids can look like times.
//!
//! Invariant: each byte is looked at a bounded number of times.

use logferry_time_windows::{FoundTime, LineTime, TimeReader};
use memchr::{memchr, memrchr};

use crate::keyed::{ends_with_key, value_time};
use crate::syslog;
use crate::text::{ends_field, find_quote, is_separator};

/// The longest time: `2026-11-21 08:20:03.123456789 +0600`.
const LONGEST_TIME: usize = 36;

/// The time of a line as nearly all access logs have them: an address that begins with a digit, and nginx's time in brackets
/// before the first quote. What [`time`] finds in such a line, in a third of the time.
pub(crate) fn access_time(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    // No time, no header of syslog, no object and no label begins like that. The quote has a space before it.
    if !line.first()?.is_ascii_digit() || may_be_time(line) {
        return None;
    }
    bracketed_at_end(&line[..memchr(b'"', line)?], times)
}

/// The time of a line of any text.
pub(crate) fn time(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    if let Some(time) = first_field(line, times) {
        return Some(time);
    }
    if let Some(header) = syslog::header(line, times) {
        let message = line.get(header.message.clone()).unwrap_or_default();
        // An access log that went through syslog: its own time has year and zone.
        let own = syslog::is_access_line(message).then(|| before_quote(message, times));
        return own.flatten().or(header.time);
    }
    before_quote(line, times).or_else(|| Scan::new(times).time(line))
}

/// The first field, if it is a time that nothing else looks like.
fn first_field(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let line = &line[syslog::priority_len(line)..];
    let stamp = match line {
        [b'[' | b'(', inside @ ..] => inside,
        _ => line,
    };
    stamp.first().filter(|byte| byte.is_ascii_digit())?;
    let found = distinct(stamp, times)?;
    ends_field(stamp.get(found.len..)?).then_some(found.time)
}

/// A time of a notation that other texts do not look like.
fn distinct(text: &[u8], times: &mut TimeReader) -> Option<FoundTime> {
    if !may_be_time(text) {
        return None;
    }
    times.written(text).or_else(|| {
        let (found, has_fraction) = times.number(text)?;
        has_fraction.then_some(found)
    })
}

/// A quick look: the separators of the notations, or nine digits.
fn may_be_time(text: &[u8]) -> bool {
    let Some(start) = text.first_chunk::<9>() else {
        return false;
    };
    start[2] == b'/'
        || matches!(start[4], b'-' | b'/')
        || start[8] == b'T'
        || start.iter().all(u8::is_ascii_digit)
}

/// The time directly before an opening quote, in brackets or between separators.
pub(crate) fn before_quote(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let mut from = 0;
    while let Some(open) = find_quote(line, from) {
        if let Some(time) = ending_at(&line[..open], times) {
            return Some(time);
        }
        from = find_quote(line, open + 1)? + 1;
    }
    None
}

/// The time of a text that ends with `[21/Nov/2026:08:20:03 +0600] `.
fn bracketed_at_end(text: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let Some([b'[', stamp @ .., b']', b' ']) = text.last_chunk::<29>() else {
        return None;
    };
    times.nginx(stamp).map(|found| found.time)
}

/// The time that a text ends with, and at most two separators after it.
fn ending_at(text: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    if let Some(time) = bracketed_at_end(text, times) {
        return Some(time);
    }
    let text = text.strip_suffix(b" ").unwrap_or(text);
    let recent = &text[text.len().saturating_sub(LONGEST_TIME + 2)..];
    if let Some(inside) = recent.strip_suffix(b"]") {
        let stamp = &inside[memrchr(b'[', inside)? + 1..];
        let found = distinct(stamp, times)?;
        return (found.len == stamp.len()).then_some(found.time);
    }
    let field = match recent {
        [field @ .., b'|' | b',' | b';' | b'\t'] => field,
        _ => recent,
    };
    field
        .last()
        .filter(|last| last.is_ascii_digit() || **last == b'Z')?;
    // A time may hold one separator itself: the space before the time of day, or before the zone.
    let starts = field
        .iter()
        .rposition(|byte| is_separator(*byte))
        .map_or(0, |at| at + 1);
    let earlier = field[..starts.saturating_sub(1)]
        .iter()
        .rposition(|byte| is_separator(*byte));
    [earlier.map_or(0, |at| at + 1), starts]
        .into_iter()
        .find_map(|start| {
            let found = distinct(&field[start..], times)?;
            (found.len == field.len() - start).then_some(found.time)
        })
}

/// The search through the whole line.
struct Scan<'t> {
    times: &'t mut TimeReader,
    /// A time of nginx's notation that is no value with a name. A second one is not nginx's: a client wrote one of them.
    nginx: Option<LineTime>,
    quoted: Option<LineTime>,
    number: Option<LineTime>,
}

/// What a part of the line says about its time.
enum Found {
    Time(LineTime),
    /// Two times of which one must be forged.
    Forged,
}

impl<'t> Scan<'t> {
    fn new(times: &'t mut TimeReader) -> Self {
        Self {
            times,
            nginx: None,
            quoted: None,
            number: None,
        }
    }

    fn time(mut self, line: &[u8]) -> Option<LineTime> {
        let mut from = 0;
        loop {
            let open = find_quote(line, from);
            match self.unquoted(line, from, open.unwrap_or(line.len())) {
                Some(Found::Time(time)) => return Some(time),
                Some(Found::Forged) => return None,
                None => {}
            }
            let Some(open) = open else { break };
            let Some(close) = find_quote(line, open + 1) else {
                break;
            };
            if let Some(time) = self.quoted(line, open, close) {
                return Some(time);
            }
            from = close + 1;
        }
        self.nginx.or(self.quoted).or(self.number)
    }

    /// Looks at a string in quotes: as a whole, it may be a time. The value of a name must be the value of a time's name.
    fn quoted(&mut self, line: &[u8], open: usize, close: usize) -> Option<LineTime> {
        let string = &line[open + 1..close];
        match line[..open].last() {
            Some(b'=' | b':') => {
                let is_of_time = ends_with_key(&line[..open - 1]);
                return is_of_time.then(|| value_time(string, self.times))?;
            }
            // The name of a JSON object's member; nothing is in a value before it.
            _ if line.get(close + 1) == Some(&b':') => return None,
            _ => {}
        }
        if self.quoted.is_none() {
            let stamp = string
                .strip_prefix(b"[")
                .and_then(|inside| inside.strip_suffix(b"]"));
            let stamp = stamp.unwrap_or(string);
            let found = distinct(stamp, self.times);
            self.quoted = found
                .filter(|found| found.len == stamp.len())
                .map(|found| found.time);
        }
        None
    }

    /// Looks at the fields between two bytes of the line.
    fn unquoted(&mut self, line: &[u8], from: usize, to: usize) -> Option<Found> {
        let mut at = from;
        while at < to {
            // A field begins with a digit, at the start of the line or after a separator.
            let Some(start) =
                (at..to).find(|start| line[*start].is_ascii_digit() && starts_field(line, *start))
            else {
                break;
            };
            at = start + 1;
            let stamp = &line[start..to];
            let is_value = start > 0 && matches!(line[start - 1], b'=' | b':');
            if is_value {
                if let Some(time) = value_time(stamp, self.times) {
                    return Some(Found::Time(time));
                }
                continue;
            }
            if let Some(found) = self
                .times
                .nginx(stamp)
                .filter(|found| ends_field(&stamp[found.len..]))
            {
                if self.nginx.is_some_and(|other| other != found.time) {
                    return Some(Found::Forged);
                }
                self.nginx = Some(found.time);
                at = start + found.len;
            } else if self.nginx.is_none()
                && let Some(found) =
                    distinct(stamp, self.times).filter(|found| ends_field(&stamp[found.len..]))
            {
                return Some(Found::Time(found.time));
            } else if let Some((found, _)) = self.times.number(stamp)
                && ends_field(&stamp[found.len..])
            {
                self.offer_number(found.time);
            }
        }
        None
    }

    fn offer_number(&mut self, time: LineTime) {
        let arrival = self.times.arrival();
        let distance = |time: LineTime| time.unix.abs_diff(arrival);
        if self.number.is_none_or(|best| distance(time) < distance(best)) {
            self.number = Some(time);
        }
    }
}

fn starts_field(line: &[u8], start: usize) -> bool {
    match line[..start].last() {
        None => true,
        Some(b'=' | b':') => ends_with_key(&line[..start - 1]),
        Some(byte) => is_separator(*byte),
    }
}
