//! No text that a client sends changes the time of a line.

use logferry_time_windows::TimestampFormat;
use proptest::prelude::*;

use super::{Found, LOCAL, UTC, read, read_as};
use crate::Format;

/// The text of a client: any bytes, and much that means something in one of the formats.
fn client_text() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "[01/Jan/2020:00:00:00 +0000]",
        "01/Jan/2020:00:00:00 +0000",
        "2020-01-01T00:00:00+00:00",
        "2020-01-01 00:00:00",
        "1577836800.123",
        "1577836800",
        "] \"",
        "\"",
        "\\",
        " ",
        " - ",
        "|",
        "\t",
        ",",
        "time:",
        "time=",
        "\",\"time\":\"",
        "{\"time\":\"",
        "<34>1 ",
        "<34>Jan  1 00:00:00 ",
        "\n",
        "\u{fc}",
        "x",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into_bytes()),
    ]
}

/// As `ngx_http_log_escape` writes a value.
fn escape_default(value: &[u8]) -> Vec<u8> {
    if value.is_empty() {
        return b"-".to_vec();
    }
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' | 0..32 | 127.. => format!("\\x{byte:02X}").into_bytes(),
        _ => vec![*byte],
    };
    value.iter().flat_map(escape).collect()
}

/// As `ngx_escape_json` writes a value.
fn escape_json(value: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        b'\n' => b"\\n".to_vec(),
        b'\t' => b"\\t".to_vec(),
        0..32 => format!("\\u{byte:04X}").into_bytes(),
        _ => vec![*byte],
    };
    value.iter().flat_map(escape).collect()
}

/// A line of the format: `%` for each text of the client, in turn.
fn line_of(format: &str, texts: &[Vec<u8>], escape: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut texts = texts.iter().cycle();
    let piece = |(number, literal): (usize, &str)| {
        let text = (number > 0)
            .then(|| texts.next().map(|text| escape(text)))
            .flatten();
        [text.unwrap_or_default(), literal.as_bytes().to_vec()].concat()
    };
    format.split('%').enumerate().flat_map(piece).collect()
}

/// Formats by their name or text, and a line of each.
const ESCAPED_LINES: [(&str, &str, Found); 15] = [
    (
        "combined",
        r#"10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5 "%" "%""#,
        LOCAL,
    ),
    (
        "common",
        r#"10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5"#,
        LOCAL,
    ),
    (
        "combined",
        r#"% 10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5 "%" "%""#,
        LOCAL,
    ),
    (
        "combined",
        r#"% - % [21/Nov/2026:08:20:03 +0600] "%" 200 5 "%" "%" "%""#,
        LOCAL,
    ),
    (
        "combined",
        r#""%" 10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5 "%" "%""#,
        LOCAL,
    ),
    (
        "auto",
        r#"10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5 "%" "%""#,
        LOCAL,
    ),
    (
        "auto",
        r#"10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5"#,
        LOCAL,
    ),
    (
        "auto",
        r#""%" 10.0.0.1 - % [21/Nov/2026:08:20:03 +0600] "%" 200 5 "%" "%""#,
        LOCAL,
    ),
    (
        "auto",
        "time:21/Nov/2026:08:20:03 +0600\thost:10.0.0.1\tuser:%\treq:%\tua:%",
        LOCAL,
    ),
    (
        "ltsv",
        "user:%\thost:10.0.0.1\treq:%\ttime:1795227603.123\tua:%",
        UTC,
    ),
    (
        r#"$remote_user|$http_host|"$request"|$time_iso8601|"$http_referer"|$status"#,
        r#"%|%|"%"|2026-11-21T08:20:03+06:00|"%"|200"#,
        LOCAL,
    ),
    (
        r#"$http_x_forwarded_for - $remote_user $time_iso8601 "$request" "$http_user_agent""#,
        r#"% - % 2026-11-21T08:20:03+06:00 "%" "%""#,
        LOCAL,
    ),
    (
        "$msec|$remote_user|$request|$http_user_agent",
        "1795227603.123|%|%|%",
        UTC,
    ),
    (
        "$remote_addr $status $time_local $remote_user $request",
        "10.0.0.1 200 21/Nov/2026:08:20:03 +0600 % %",
        LOCAL,
    ),
    (
        "$remote_user $request $time_local $status $request_time",
        "% % 21/Nov/2026:08:20:03 +0600 200 0.001",
        LOCAL,
    ),
];

const JSON_LINES: [(&str, &str, Found); 4] = [
    (
        "auto",
        r#"{"addr":"10.0.0.1","user":"%","request":"%","time":"2026-11-21T08:20:03+06:00","ua":"%"}"#,
        LOCAL,
    ),
    (
        "json",
        r#"{"http_x_time":"%","time_local":"21/Nov/2026:08:20:03 +0600","arg_time":"%","cookie_date":"%"}"#,
        LOCAL,
    ),
    (
        "json",
        r#"{"referer":"%","request":{"time":"%","headers":{"date":"%"}},"msec":1795227603.123}"#,
        UTC,
    ),
    (
        r#"escape=json {"user":"$remote_user","at":"$time_iso8601","request":"$request"}"#,
        r#"{"user":"%","at":"2026-11-21T08:20:03+06:00","request":"%"}"#,
        LOCAL,
    ),
];

proptest! {
    #[test]
    fn no_text_of_a_client_changes_the_time(texts in prop::collection::vec(client_text(), 1..5)) {
        for (format, line, expected) in ESCAPED_LINES {
            let line = line_of(line, &texts, escape_default);
            prop_assert_eq!(read(format, &line), expected, "{}: {}", format, String::from_utf8_lossy(&line));
        }
        for (format, line, expected) in JSON_LINES {
            let line = line_of(line, &texts, escape_json);
            prop_assert_eq!(read(format, &line), expected, "{}: {}", format, String::from_utf8_lossy(&line));
        }
    }

    /// Where a format leaves it open whose text is the time, a client can at most take its line's time away.
    #[test]
    fn no_text_of_a_client_becomes_the_time_of_an_open_format(texts in prop::collection::vec(client_text(), 1..5)) {
        for (format, line) in [
            ("$remote_user|$time_local|$request", "%|21/Nov/2026:08:20:03 +0600|%"),
            ("$remote_user $time_local $request $http_user_agent $status", "% 21/Nov/2026:08:20:03 +0600 % % 200"),
            ("[$remote_user][$time_local]$request", "[%][21/Nov/2026:08:20:03 +0600]%"),
        ] {
            let line = line_of(line, &texts, escape_default);
            let found = read(format, &line);
            prop_assert!(found.is_none() || found == LOCAL, "{}: {}", format, String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(line: Vec<u8>, text in client_text(), format in "[ $a|\"]{0,9}[$]time_local[ |\"]{0,3}[$]b[|]?") {
        let names = ["auto", "combined", "common", "json", "ltsv", "logfmt", "syslog", "text", &format];
        for name in names {
            let format = Format::parse(name).unwrap_or_default();
            for line in [&line, &text] {
                read_as(&format, TimestampFormat::Auto, line);
                let mut fields = Vec::new();
                format.read(line, &mut fields);
                prop_assert!(fields.iter().all(|field| field.value.end <= line.len() && field.value.start <= field.value.end));
            }
        }
    }
}
