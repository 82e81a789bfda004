//! What the fields of a line say: status, level, method, path, and the time that the request took.
//!
//! May be changed here alone: the names of fields that have a meaning.

use std::borrow::Cow;
use std::ops::Range;

use logferry_time_windows::LineTime;

use crate::field::LineField;
use crate::format::Format;
use crate::level::Level;

/// The facts of a line. Texts are without the escapes that they have in the line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineFacts<'l> {
    /// Its time.
    pub time: Option<LineTime>,
    /// Whether the line is of its log's format.
    pub is_parsed: bool,
    /// The HTTP status, 100 to 599.
    pub status: Option<u16>,
    /// The level: from its field; else from the status, 5xx error, 4xx warning, others info; else from words of the line.
    pub level: Option<Level>,
    /// The method of the request.
    pub method: Option<Cow<'l, [u8]>>,
    /// The path of the request, without its query.
    pub path: Option<Cow<'l, [u8]>>,
    /// How long the request took, in microseconds.
    pub request_micros: Option<u64>,
}

/// The meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldRole {
    Status,
    Level,
    Method,
    Path,
    /// `GET /path HTTP/1.1`.
    Request,
    /// The time that the request took; the digits of a second that its unit has.
    RequestTime(u32),
}

impl FieldRole {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"status"
            | b"status_code"
            | b"statusCode"
            | b"http_status"
            | b"response_status"
            | b"response_code"
            | b"http.response.status_code" => Self::Status,
            b"level" | b"severity" | b"lvl" | b"loglevel" | b"log_level" | b"level_name" | b"levelname"
            | b"log.level" | b"Level" | b"LEVEL" | b"Severity" | b"@l" | b"PRIORITY" => Self::Level,
            b"method" | b"request_method" | b"http_method" | b"verb" | b"http.request.method" => Self::Method,
            b"path" | b"uri" | b"request_uri" | b"document_uri" | b"url" | b"url.path" => Self::Path,
            b"request" | b"req" => Self::Request,
            b"request_time" | b"reqtime" => Self::RequestTime(0),
            b"request_time_ms" | b"reqtime_ms" | b"duration_ms" | b"latency_ms" | b"response_time_ms"
            | b"elapsed_ms" => Self::RequestTime(3),
            b"reqtime_microsec" | b"request_time_us" | b"duration_us" | b"latency_us" => Self::RequestTime(6),
            _ => return None,
        })
    }
}

impl<'l> LineFacts<'l> {
    /// Takes what the fields of the line in this format say. The first of several fields of one meaning counts.
    pub(crate) fn take(&mut self, line: &'l [u8], fields: &[LineField<'_>], format: &Format) {
        for field in fields {
            let Some(role) = FieldRole::of(field.name(line)) else {
                continue;
            };
            let Some(value) = line.get(field.value.clone()) else {
                continue;
            };
            // Most lines have no escape: then it is not asked how the format escapes.
            let plain = || match memchr::memchr(b'\\', value) {
                None => Some(Cow::Borrowed(value)),
                Some(_) => format.value(line, field),
            };
            match role {
                FieldRole::Status => self.status = self.status.or_else(|| status(value)),
                FieldRole::Level => self.level = self.level.or_else(|| Level::of_value(value)),
                FieldRole::Method => {
                    self.method = self
                        .method
                        .take()
                        .or_else(|| plain().filter(|value| is_filled(value)));
                }
                FieldRole::Path => self.path = self.path.take().or_else(|| path(plain()?)),
                FieldRole::Request => {
                    if let Some(request) = plain() {
                        self.take_request(request);
                    }
                }
                FieldRole::RequestTime(digits) => {
                    self.request_micros = self.request_micros.or_else(|| micros(value, digits));
                }
            }
        }
        self.level = self.level.or_else(|| self.status.map(Level::of_status));
    }

    /// `GET /path?query HTTP/1.1`. What a client sends instead is no request.
    fn take_request(&mut self, request: Cow<'l, [u8]>) {
        let is_space = |byte: &u8| *byte == b' ';
        let Some(method_end) = request.iter().position(is_space) else {
            return;
        };
        let target = request.get(method_end + 1..).unwrap_or_default();
        let target_end = method_end + 1 + target.iter().position(is_space).unwrap_or(target.len());
        let (Some(method), Some(target)) = (
            part(request.clone(), 0..method_end),
            part(request, method_end + 1..target_end),
        ) else {
            return;
        };
        let is_of_method = |byte: &u8| byte.is_ascii_uppercase() || b"_-".contains(byte);
        if !method.is_empty() && method.iter().all(is_of_method) {
            self.method = self.method.take().or(Some(method));
            self.path = self.path.take().or_else(|| path(target));
        }
    }
}

/// `-` is nginx's word for nothing.
fn is_filled(value: &[u8]) -> bool {
    !matches!(value, b"" | b"-")
}

fn part(text: Cow<'_, [u8]>, range: Range<usize>) -> Option<Cow<'_, [u8]>> {
    match text {
        Cow::Borrowed(text) => text.get(range).map(Cow::Borrowed),
        Cow::Owned(text) => text.get(range).map(|part| Cow::Owned(part.to_vec())),
    }
}

fn status(value: &[u8]) -> Option<u16> {
    match value {
        [hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Some(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones))
        }
        _ => None,
    }
}

/// The path of a request's target, which may be a whole URL.
fn path(target: Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
    if !is_filled(&target) {
        return None;
    }
    let is_url = target.starts_with(b"http://") || target.starts_with(b"https://");
    let from = if is_url {
        let host = memchr::memmem::find(&target, b"://")? + 3;
        let slash = memchr::memchr(b'/', target.get(host..)?);
        slash.map_or(target.len(), |slash| host + slash)
    } else {
        0
    };
    let len = memchr::memchr(b'?', target.get(from..)?);
    let end = len.map_or(target.len(), |len| from + len);
    part(target, from..end)
}

/// A decimal number of units as microseconds; a unit is 10^-`digits` seconds. Numbers too large for a request are none.
fn micros(value: &[u8], digits: u32) -> Option<u64> {
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    if whole.is_empty() || whole.len() > 12 {
        return None;
    }
    let number = |text: &[u8]| -> Option<u64> {
        text.iter().try_fold(0_u64, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + u64::from(byte - b'0'))
        })
    };
    let scale = 6_u32.saturating_sub(digits);
    let fraction = fraction.get(..fraction.len().min(scale as usize))?;
    let missing = scale.saturating_sub(u32::try_from(fraction.len()).ok()?);
    number(whole)?
        .checked_mul(10_u64.pow(scale))?
        .checked_add(number(fraction)? * 10_u64.pow(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seconds_and_of_smaller_units_are_microseconds() {
        for (value, digits, expected) in [
            ("0.123", 0, Some(123_000)),
            ("12", 0, Some(12_000_000)),
            ("0.1234567", 0, Some(123_456)),
            ("1.5", 3, Some(1_500)),
            ("7", 6, Some(7)),
            ("7.9", 6, Some(7)),
            ("-", 0, None),
            ("", 0, None),
            ("1.x", 0, None),
            ("1234567890123", 0, None),
        ] {
            assert_eq!(micros(value.as_bytes(), digits), expected, "{value}");
        }
    }

    #[test]
    fn path_has_neither_host_nor_query() {
        for (target, expected) in [
            ("/a?b=c?d", Some("/a")),
            ("https://example.com/a/b?c", Some("/a/b")),
            ("http://example.com", Some("")),
            ("*", Some("*")),
            ("-", None),
        ] {
            let found = path(Cow::Borrowed(target.as_bytes()));
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{target}");
        }
    }
}
