//! What lines of each format say, also the odd ones.

use crate::{Format, Level, LineFacts, LineReader};

/// `STATUS LEVEL METHOD PATH MICROSECONDS`, `-` for what the line does not say; `unparsed` if it is not of its format.
fn shown(facts: &LineFacts<'_>) -> String {
    fn or_dash<T: ToString>(fact: Option<T>) -> String {
        fact.map_or_else(|| "-".to_owned(), |fact| fact.to_string())
    }
    let text = |fact: Option<&[u8]>| or_dash(fact.map(String::from_utf8_lossy));
    let parsed = if facts.is_parsed { "" } else { "unparsed " };
    format!(
        "{parsed}{} {} {} {} {}",
        or_dash(facts.status),
        or_dash(facts.level.map(Level::as_str)),
        text(facts.method.as_deref()),
        text(facts.path.as_deref()),
        or_dash(facts.request_micros)
    )
}

fn check(format: &str, lines: &[(&str, &str)]) {
    let format = Format::parse(format).expect("a format");
    let mut reader = LineReader::new(&format, 0);
    for (line, expected) in lines {
        assert_eq!(shown(&reader.read(line.as_bytes())), *expected, "{line}");
        assert_eq!(
            shown(&reader.read(format!("{line}\r\n").as_bytes())),
            *expected,
            "{line}"
        );
    }
}

const TIME: &str = "[21/Nov/2026:08:20:03 +0600]";

#[test]
fn access_lines_say_status_level_method_and_path() {
    let lines = [
        (r#""GET /a/b?c=d HTTP/1.1" 200 5 "-" "x""#, "200 info GET /a/b -"),
        (
            r#""POST /order HTTP/2.0" 503 0 "-" "error""#,
            "503 error POST /order -",
        ),
        (r#""GET / HTTP/1.1" 404 0 "-" "-""#, "404 warn GET / -"),
        // No request: a scanner's bytes, nothing at all, a method alone, a proxy's request.
        (r#""\x16\x03\x01\x00" 400 157 "-" "-""#, "400 warn - - -"),
        (r#""-" 400 0 "-" "-""#, "400 warn - - -"),
        (r#""" 400 0 "-" "-""#, "400 warn - - -"),
        (r#""GET" 400 0 "-" "-""#, "400 warn - - -"),
        (r#""get /x HTTP/1.1" 400 0 "-" "-""#, "400 warn - - -"),
        (
            r#""GET http://example.com/x?y HTTP/1.1" 200 0 "-" "-""#,
            "200 info GET /x -",
        ),
        // Escaped quotes, and text that is not ASCII.
        (
            r#""GET /\x22x\x22 HTTP/1.1" 200 0 "\x22" "\x22""#,
            "200 info GET /\"x\" -",
        ),
        (r#""GET /é HTTP/1.1" 200 0 "-" "ü""#, "200 info GET /é -"),
    ];
    for (rest, expected) in lines {
        for start in [
            "10.0.0.1 - - ",
            "2001:db8::1 - a b ",
            "example.com ::1 - - ",
            "1.2.3.4, 5.6.7.8 - - ",
        ] {
            let line = format!("{start}{TIME} {rest}");
            check("combined", &[(&line, expected)]);
            check("auto", &[(&line, expected)]);
        }
    }
    let huge = format!(
        r#"10.0.0.1 - - {TIME} "GET /{} HTTP/1.1" 500 0 "-" "-""#,
        "x".repeat(1 << 20)
    );
    assert!(
        LineReader::new(&Format::default(), 0)
            .read(huge.as_bytes())
            .status
            == Some(500)
    );
    check(
        "combined",
        &[
            ("  at some.Class(error)", "unparsed - error - - -"),
            ("10.0.0.1 - - [x] \"GET / HTTP/1.1\"", "unparsed - - - - -"),
            ("", "unparsed - - - - -"),
        ],
    );
}

#[test]
fn pasted_formats_say_how_long_a_request_took() {
    check(
        r#"$remote_addr|$time_iso8601|"$request"|$status|$request_time|$upstream_response_time"#,
        &[
            (
                r#"::1|2026-11-21T08:20:03+06:00|"GET /|x| HTTP/1.1"|200|0.012|0.010, 0.002 : 0.001"#,
                "200 info GET /|x| 12000",
            ),
            (r#"::1|2026-11-21T08:20:03+06:00|""|499|-|-"#, "499 warn - - -"),
            ("::1|200", "unparsed - - - - -"),
        ],
    );
    check(
        "$request_method $request_uri $status $msec $request_time",
        &[("GET /a?b 502 1795227603.123 1.5", "502 error GET /a 1500000")],
    );
    check(
        r#"escape=json {"t":"$time_iso8601","request":"$request","status":"$status"}"#,
        &[(
            r#"{"t":"2026-11-21T08:20:03+06:00","request":"GET /\"x\" HTTP/1.1","status":"200"}"#,
            r#"200 info GET /"x" -"#,
        )],
    );
    check(
        r"escape=none $msec $status $request",
        &[("1795227603.123 200 GET /\" HTTP/1.1", "200 info GET /\" -")],
    );
}

#[test]
fn named_fields_say_what_their_names_mean() {
    check(
        "json",
        &[
            (r#"{"level":"WARN","msg":"error"}"#, "- warn - - -"),
            (r#"{"level":50,"status":200}"#, "200 error - - -"),
            (r#"{"severity":"CRITICAL"}"#, "- error - - -"),
            (
                r#"{"status":"404","method":"GET","uri":"/a?b","request_time":0.25}"#,
                "404 warn GET /a 250000",
            ),
            (
                r#"{"url":"https://example.com/x","duration_ms":1.5}"#,
                "- - - /x 1500",
            ),
            (
                r#"{"status":"ok","level":"loud","method":"","path":"-"}"#,
                "- - - - -",
            ),
            // PHP writes each slash so.
            (
                r#"{"method":"G\u0045T","url":"\/order\/4?a"}"#,
                "- - GET /order/4 -",
            ),
            (r#"{"url":"http:\/\/example.com\/order\/4"}"#, "- - - /order/4 -"),
            (r#"{"request":"GET \/order\/4 HTTP\/1.1"}"#, "- - GET /order/4 -"),
            (r#"{"status":99999,"request_time":"x"}"#, "- - - - -"),
            (r#"{"a":"cut of"#, "- - - - -"),
            ("not json", "unparsed - - - - -"),
            ("{", "unparsed - - - - -"),
        ],
    );
    check(
        "ltsv",
        &[
            (
                "status:500\treq:GET /x HTTP/1.1\treqtime:0.5",
                "500 error GET /x 500000",
            ),
            ("level:debug\tempty:", "- debug - - -"),
            ("nothing", "unparsed - - - - -"),
        ],
    );
    check(
        "logfmt",
        &[
            (r#"level=info msg="an error" duration_ms=7"#, "- info - - 7000"),
            (r#"status=201 path="/a \"b\"?c""#, r#"201 info - /a "b" -"#),
            ("no pair", "unparsed - - - - -"),
        ],
    );
}

#[test]
fn syslog_and_text_have_the_level_of_their_words() {
    check(
        "syslog",
        &[
            ("<34>Oct 11 22:14:15 error su: failed", "- error - - -"),
            ("<190>1 2026-11-21T08:20:03Z web1 app - - error", "- info - - -"),
            ("Oct 11 22:14:15 error su: warning: failed", "- warn - - -"),
            ("Oct 11 22:14:15", "- - - - -"),
            ("no header", "unparsed - - - - -"),
        ],
    );
    check(
        "text",
        &[
            ("2026-11-21 02:20:03 DEBUG [cart] x", "- debug - - -"),
            ("no level", "- - - - -"),
            ("\u{0}\u{fffd} ERROR", "- error - - -"),
        ],
    );
}

#[test]
fn values_are_given_without_their_escapes() {
    for (format, line, name, expected) in [
        (
            "combined",
            r#"::1 - - [21/Nov/2026:08:20:03 +0600] "GET /" 200 5 "-" "x \x22y\x22""#,
            "http_user_agent",
            "x \"y\"",
        ),
        ("json", r#"{"a":"x\n\u00e9","b":{"c":"\n"}}"#, "a", "x\né"),
        ("json", r#"{"a":"x","b":{"c":"\n"}}"#, "b", r#"{"c":"\n"}"#),
        ("auto", r#"{"a":"\t"}"#, "a", "\t"),
        ("auto", "a:\\x09\tb:x", "a", "\t"),
        ("logfmt", r#"a="x \"y\"" b=\n"#, "a", "x \"y\""),
        ("logfmt", r#"a="x \"y\"" b=\n"#, "b", r"\n"),
        (
            r#"escape=json {"a":"$request"}"#,
            r#"{"a":"\"\u00e9"}"#,
            "request",
            "\"é",
        ),
        ("escape=none $request", r"\x22", "request", r"\x22"),
    ] {
        let parsed = Format::parse(format).expect("a format");
        let mut reader = LineReader::new(&parsed, 0);
        reader.read(line.as_bytes());
        let value = reader.field(line.as_bytes(), name.as_bytes()).expect(line);
        assert_eq!(String::from_utf8_lossy(&value), expected, "{format}: {line}");
    }
}

#[test]
fn text_that_looks_like_syslog_has_the_level_of_its_words() {
    let lines = [
        ("2026-11-21 02:20:03 INFO [payment] no error", "- info - - -"),
        (
            "2026-11-21T02:20:03Z WARN order 4711: retried once",
            "- warn - - -",
        ),
        (
            "Nov 21 02:20:03 web-1 app[7]: error: no such table",
            "- error - - -",
        ),
    ];
    check("auto", &lines);
}

#[test]
fn a_field_is_found_by_its_name_with_and_without_escapes() {
    let format = Format::parse("json").expect("a format");
    let mut reader = LineReader::new(&format, 0);
    let line = br#"{"gr\u00f6\u00dfe":"1","a\"b":"2","plain":"3"}"#;
    reader.read(line);
    let value = |name: &str| {
        reader
            .field(line, name.as_bytes())
            .map(std::borrow::Cow::into_owned)
    };
    assert_eq!(value("größe"), Some(b"1".to_vec()));
    assert_eq!(value("gr\\u00f6\\u00dfe"), Some(b"1".to_vec()));
    assert_eq!(
        (value("a\"b"), value("plain")),
        (Some(b"2".to_vec()), Some(b"3".to_vec()))
    );
    assert_eq!(value("other"), None);
    let names: Vec<_> = reader.values(line).map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["größe".as_bytes(), b"a\"b", b"plain"]);
}
