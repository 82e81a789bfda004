//! The body of a legacy upload: `{"log": "LINES", "host": "ADDRESS"}`.
//!
//! Pure. `log` holds lines joined by newlines; the last one may lack its newline. Blank lines come from the way the
//! shipper joins its reads; a log line is never blank.

use serde::Deserialize;

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
    log: String,
    host: Option<String>,
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
    let UploadJson { log, host } = serde_json::from_slice(body)?;
    Ok(LegacyUpload {
        lines: lines_of(&log),
        host,
    })
}

/// The lines that are not blank, each with its newline.
fn lines_of(log: &str) -> Vec<u8> {
    let is_blank = |line: &&str| line.bytes().all(|byte| byte.is_ascii_whitespace());
    let mut lines = Vec::with_capacity(log.len() + 1);
    for line in log.split('\n').filter(|line| !is_blank(line)) {
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
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
            (b"{\"log\": \"\\ud800\"}", "hex escape"),
            (b"{\"log\": \"a\"} {}", "trailing"),
        ] {
            let error = refused(body);
            assert!(error.contains(reason), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
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
        fn any_bytes_are_parsed_without_panic(body: Vec<u8>) {
            let _ = parse(&body);
        }
    }
}
