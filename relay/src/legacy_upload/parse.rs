//! The body of a legacy upload: `{"log": "LINES", "host": "ADDRESS"}`.
//!
//! Pure. `log` holds lines joined by newlines; the last one may lack its newline. Blank lines come from the way the
//! shipper joins its reads; a log line is never blank.
//!
//! Python reads a byte that is no UTF-8 as half of a surrogate pair (`surrogateescape`, PEP 383) and writes that half into
//! the JSON (`\udce9`). Such a half stands for its byte, which is stored. A body with any other half is refused.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LegacyUpload {
    /// The lines, each with its newline, byte for byte as in the JSON string.
    pub lines: Vec<u8>,
    /// The source that the body names.
    pub host: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LegacyUploadError {
    #[error("the body is not JSON like {{\"log\": \"LINES\", \"host\": \"ADDRESS\"}}: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the body is not a JSON object with \"log\" and \"host\"")]
    NotAnObject,
}

#[derive(Deserialize)]
struct UploadJson {
    log: LogBytes,
    host: Option<String>,
}

/// A JSON string as the bytes that it stands for.
struct LogBytes(Vec<u8>);

impl<'de> Deserialize<'de> for LogBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(LogBytesVisitor)
    }
}

struct LogBytesVisitor;

impl Visitor<'_> for LogBytesVisitor {
    type Value = LogBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    /// `text` is UTF-8, but for escapes of halves of a surrogate pair, which come as three bytes each.
    fn visit_bytes<E: serde::de::Error>(self, text: &[u8]) -> Result<LogBytes, E> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Err(error) = std::str::from_utf8(rest) {
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            bytes.extend_from_slice(valid);
            let Some((half, after)) = surrogate_half(invalid) else {
                return Err(E::custom("`log` has an invalid unicode code point"));
            };
            let Some(byte) = escaped_byte(half) else {
                let half = format!(
                    "`log` has \\u{half:04x}, which is half of a character; only \\udc80 to \\udcff stand for bytes"
                );
                return Err(E::custom(half));
            };
            bytes.push(byte);
            rest = after;
        }
        bytes.extend_from_slice(rest);
        Ok(LogBytes(bytes))
    }
}

/// The half of a surrogate pair at the beginning of `bytes`, and the bytes after it.
fn surrogate_half(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match bytes {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, after @ ..] => {
            let half = 0xd000 | (u16::from(second & 0x3f) << 6) | u16::from(third & 0x3f);
            Some((half, after))
        }
        _ => None,
    }
}

/// The byte that Python writes as this half.
fn escaped_byte(half: u16) -> Option<u8> {
    let byte = half.checked_sub(0xdc00).and_then(|low| u8::try_from(low).ok())?;
    (byte >= 0x80).then_some(byte)
}

pub(crate) fn parse(body: &[u8]) -> Result<LegacyUpload, LegacyUploadError> {
    // Checked first, because the deserializer would also accept an array of the two values.
    if body
        .trim_ascii_start()
        .first()
        .is_some_and(|&first| first != b'{')
    {
        return Err(LegacyUploadError::NotAnObject);
    }
    let UploadJson {
        log: LogBytes(log),
        host,
    } = serde_json::from_slice(body)?;
    Ok(LegacyUpload {
        lines: lines_of(&log),
        host,
    })
}

/// The lines that are not blank, each with its newline.
fn lines_of(log: &[u8]) -> Vec<u8> {
    let is_blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace);
    let mut lines = Vec::with_capacity(log.len() + 1);
    for line in log.split(|&byte| byte == b'\n').filter(|line| !is_blank(line)) {
        lines.extend_from_slice(line);
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn refused(body: &[u8]) -> String {
        parse(body).expect_err("refused").to_string()
    }

    #[test]
    fn lines_are_unchanged_except_that_blank_ones_are_left_out() {
        let body =
            br#" {"host": "198.51.100.1", "log": "\n a \r\n\n \t\r\n\u00e9\u0000[\"b\"", "more": [{}]}"#;
        let upload = LegacyUpload {
            lines: b" a \r\n\xc3\xa9\0[\"b\"\n".to_vec(),
            host: Some("198.51.100.1".to_owned()),
        };
        assert_eq!(parse(body).expect("valid"), upload);
        for empty in [&br#"{"log": ""}"#[..], br#"{"log": "\n\n", "host": null}"#] {
            let upload = parse(empty).expect("valid");
            assert_eq!(upload.lines, b"");
            assert_eq!(upload.host, None);
        }
    }

    #[test]
    fn other_bodies_are_refused_with_one_line() {
        for (body, reason) in [
            (&b""[..], "EOF"),
            (b"log=a", "not a JSON object"),
            (b"[\"a\", \"b\"]", "not a JSON object"),
            (b"{}", "`log`"),
            (b"{\"log\": 7}", "string"),
            (b"{\"log\": \"a\", \"log\": \"b\"}", "duplicate"),
            (b"{\"log\": \"a\", \"host\": [1]}", "string"),
            (b"{\"log\": \"a\"", "EOF"),
            (b"{\"log\": \"\xff\"}", "unicode"),
            (
                b"{\"log\": \"\\ud800\"}",
                "has \\ud800, which is half of a character",
            ),
            (b"{\"log\": \"a\\udc7f\"}", "has \\udc7f, which is half"),
            (b"{\"log\": \"\\udd00 b\"}", "has \\udd00, which is half"),
            (b"{\"log\": \"a\", \"host\": \"\\udce9\"}", "hex escape"),
            (b"{\"log\": \"a\"} {}", "trailing"),
        ] {
            let error = refused(body);
            assert!(error.contains(reason), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn bytes_that_python_could_not_decode_are_stored_as_they_were() {
        for (log, lines) in [
            (&br"caf\udce9 \udc80\udcff"[..], &b"caf\xe9 \x80\xff\n"[..]),
            (br"\ud83d\ude00\udcc3\udca9", b"\xf0\x9f\x98\x80\xc3\xa9\n"),
            (br"a\n\udcff\n\n", b"a\n\xff\n"),
            // Unescaped, as `json.dumps(ensure_ascii=False)` with `surrogatepass` has it.
            (b"\xed\xb3\xa9", b"\xe9\n"),
        ] {
            let body = [b"{\"log\": \"", log, b"\"}"].concat();
            assert_eq!(parse(&body).expect("valid").lines, lines);
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = [&b"{\"log\": \"a\", \"x\": "[..], &vec![b'['; 1 << 20]].concat();
        refused(&deep);
    }

    proptest! {
        #[test]
        fn each_line_that_is_not_blank_is_read_once(lines in prop::collection::vec("[ \\ta\u{e9}\"\\\\\\r]{0,4}", 0..20)) {
            let body = serde_json::json!({"log": lines.join("\n")}).to_string();
            let upload = parse(body.as_bytes()).expect("valid");
            let expected: Vec<_> = lines.iter().filter(|line| !line.trim().is_empty()).collect();
            let taken: Vec<_> = upload.lines.split_inclusive(|&byte| byte == b'\n').collect();
            prop_assert_eq!(taken.len(), expected.len());
            for (taken, expected) in taken.iter().zip(expected) {
                prop_assert_eq!(taken.strip_suffix(b"\n"), Some(expected.as_bytes()));
            }
        }

        #[test]
        fn any_bytes_come_back_through_pythons_escapes(line in prop::collection::vec(1u8.., 1..40)) {
            prop_assume!(!line.contains(&b'\n') && !line.iter().all(u8::is_ascii_whitespace));
            // As Python decodes: UTF-8 as it is, and each other byte as a half.
            let mut body = String::from("{\"log\": \"");
            for chunk in line.utf8_chunks() {
                let quoted = serde_json::to_string(chunk.valid()).expect("a string");
                body += &quoted[1..quoted.len() - 1];
                for byte in chunk.invalid() {
                    write!(body, "\\udc{byte:02x}").expect("memory");
                }
            }
            body += "\"}";
            let lines = parse(body.as_bytes()).expect("valid").lines;
            prop_assert_eq!(lines.strip_suffix(b"\n"), Some(&line[..]));
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(body: Vec<u8>) {
            let _ = parse(&body);
        }
    }
}
