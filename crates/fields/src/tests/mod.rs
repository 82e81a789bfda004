//! Lines of each format, the time that is found in them, and their fields.

mod client_text;
mod facts;

use logferry_time_windows::TimestampFormat;

use crate::{Format, LineClock};

/// 2026-11-21T02:20:03Z, which is `21/Nov/2026:08:20:03 +0600`.
const UNIX: i64 = 1_795_227_603;

/// The second of a time after [`UNIX`], and its zone.
type Found = Option<(i64, i32)>;

/// The time of a line: its second after [`UNIX`], and its zone.
fn read_as(format: &Format, wanted: TimestampFormat, line: &[u8]) -> Found {
    let time = LineClock::new(format, wanted, UNIX + 30).read(line)?;
    Some((time.unix - UNIX, time.utc_offset))
}

fn read(format: &str, line: impl AsRef<[u8]>) -> Found {
    let format = Format::parse(format).expect("a format");
    read_as(&format, TimestampFormat::Auto, line.as_ref())
}

/// The time that all lines of the tests have if no zone is written.
const UTC: Found = Some((0, 0));
const LOCAL: Found = Some((0, 21_600));

fn check(format: &str, lines: &[(&str, Found)]) {
    for (line, expected) in lines {
        assert_eq!(read(format, line), *expected, "{format}: {line}");
        assert_eq!(
            read(format, format!("{line}\r\n")),
            *expected,
            "{format}: {line} with its end"
        );
    }
}

#[test]
fn auto_finds_a_time_that_is_a_whole_field_wherever_it_stands() {
    check(
        "auto",
        &[
            (
                r#"203.0.113.9 - - [21/Nov/2026:08:20:03 +0600] "GET / HTTP/1.1" 200 5"#,
                LOCAL,
            ),
            ("10.0.0.1|21/Nov/2026:08:20:03 +0600|GET /|200", LOCAL),
            ("10.0.0.1|2026-11-21T08:20:03+06:00|GET /|200", LOCAL),
            ("10.0.0.1\t1795227603.123\tGET /\t200", UTC),
            ("10.0.0.1,1795227603,GET /", UTC),
            ("10.0.0.1;1795227603123;GET /", UTC),
            ("10.0.0.1 1795227603123456 GET /", UTC),
            ("2026-11-21T08:20:03+06:00 INFO x", LOCAL),
            ("2026-11-21 02:20:03 INFO [payment-service] x", UTC),
            ("2026-11-21 02:20:03,123: started", UTC),
            ("2026/11/21 02:20:03 [error] 7#7: *1 open() failed", UTC),
            ("[2026-11-21T02:20:03Z] x", UTC),
            ("<2026-11-21T02:20:03Z> x", UTC),
            ("(21/Nov/2026:08:20:03 +0600) x", LOCAL),
            ("web1 '2026-11-21T02:20:03Z' x", UTC),
            (r#""10.0.0.1","2026-11-21T02:20:03Z","GET /""#, UTC),
            ("1795227603 x", UTC),
            ("1795227603123 x", UTC),
            ("1795227603.123    200 10.0.0.1 TCP_MISS/200 1500000000 GET", UTC),
            ("level=info ts=1795227603.5 msg=x", UTC),
            (
                r#"time="2026-11-21T02:20:03Z" level=info msg="at 2020-01-01T00:00:00Z""#,
                UTC,
            ),
            ("x timestamp:1795227603 y", UTC),
            ("x\ttime:1795227603\ty", UTC),
            (r#"web1 {"level":"info","time":"2026-11-21T02:20:03Z"}"#, UTC),
            ("  at some.Class", None),
            ("17952276 x", None),
            ("2026-13-21T02:20:03Z", None),
            ("id-2026-11-21T02:20:03Z-x", None),
            ("/a/2026-11-21T02:20:03Z", None),
            ("x=2026-11-21T02:20:03Z", None),
            (r#""GET /?a 2026-11-21T02:20:03Z HTTP/1.1""#, None),
            ("", None),
        ],
    );
}

#[test]
fn auto_takes_the_better_of_several_times() {
    check(
        "auto",
        &[
            // A byte count or an id that looks like a time.
            ("1600000000 2026-11-21T02:20:03Z order", UTC),
            ("1500000000 10.0.0.1 1795227603 1600000000", UTC),
            (
                r#"1234567890 10.0.0.1 - - [21/Nov/2026:08:20:03 +0600] "GET /" 200 1500000000"#,
                LOCAL,
            ),
            // The first field, and a time in the text.
            (
                "2026-11-21 02:20:03 run from 2026-01-01 00:00:00 to 2026-02-01 00:00:00",
                UTC,
            ),
            ("2026-11-21 02:20:03 user [01/Jan/2020:00:00:00 +0000] \"x\"", UTC),
            // What is not in quotes before what is.
            (r#"10.0.0.1 "2020-01-01T00:00:00Z" 2026-11-21T02:20:03Z"#, UTC),
            // nginx writes its time once.
            (
                "10.0.0.1|x|01/Jan/2020:00:00:00 +0000|21/Nov/2026:08:20:03 +0600|GET",
                None,
            ),
        ],
    );
}

#[test]
fn a_fixed_notation_ignores_the_others() {
    let line = "1795227603 2026-11-21T08:20:04+06:00 [21/Nov/2026:08:20:05 +0600]";
    let json = r#"{"time":"21/Nov/2026:08:20:05 +0600","ts":1795227603,"date":"2026-11-21T02:20:04Z"}"#;
    let pasted = Format::parse("$msec $time_iso8601 [$time_local]").expect("a format");
    for (wanted, second) in [
        (TimestampFormat::Epoch, Some(0)),
        (TimestampFormat::Iso8601, Some(1)),
        (TimestampFormat::Nginx, Some(2)),
        (TimestampFormat::Arrival, None),
    ] {
        let found =
            |format: &Format, line: &str| read_as(format, wanted, line.as_bytes()).map(|(second, _)| second);
        assert_eq!(found(&Format::default(), line), second, "{wanted:?}");
        assert_eq!(found(&Format::default(), json), second, "{wanted:?}");
        assert_eq!(
            found(&pasted, &line.replace("603 ", "603.000 ")),
            second,
            "{wanted:?}"
        );
    }
}

#[test]
fn access_lines_have_the_time_before_the_request() {
    let lines: &[(&str, Found)] = &[
        (
            r#"203.0.113.9 - [x] [21/Nov/2026:08:20:03 +0600] "GET /" 200 5 "-" "x""#,
            LOCAL,
        ),
        (
            r#"203.0.113.9 - x [01/Jan/2020:00:00:00 +0000]:p [21/Nov/2026:08:20:03 +0600] "GET /" 200 5"#,
            LOCAL,
        ),
        (
            r#"www.example.com:443 203.0.113.9 - - [21/Nov/2026:08:20:03 +0600] "GET /" 200 5"#,
            LOCAL,
        ),
        (
            r#"1.2.3.4, x [01/Jan/2020:00:00:00 +0000] - - [21/Nov/2026:08:20:03 +0600] "GET /" 200 5"#,
            LOCAL,
        ),
        (
            r#""x [01/Jan/2020:00:00:00 +0000] " 1.2.3.4 - - [21/Nov/2026:08:20:03 +0600] "GET /" 200 5"#,
            LOCAL,
        ),
        (
            r#"203.0.113.9 - a\" [01/Jan/2020:00:00:00 +0000] [21/Nov/2026:08:20:03 +0600] "GET /""#,
            LOCAL,
        ),
        ("  at some.Class", None),
    ];
    for format in ["auto", "combined", "common"] {
        check(format, lines);
    }
    // Other notations of the time in the same places.
    check(
        "auto",
        &[
            (
                r#"1.2.3.4 - x [2020-01-01T00:00:00Z] [2026-11-21T08:20:03+06:00] "GET /""#,
                LOCAL,
            ),
            (
                r#"1.2.3.4 - x 2020-01-01T00:00:00Z 2026-11-21T08:20:03+06:00 "GET /""#,
                LOCAL,
            ),
            (r#"1.2.3.4|x|2020-01-01T00:00:00Z|1795227603.123|"GET /""#, UTC),
        ],
    );
}

#[test]
fn a_user_name_of_any_length_does_not_hide_the_time() {
    for user in [
        "x".repeat(2000),
        "[".repeat(2000),
        "[01/Jan/2020:00:00:00 +0000] ".repeat(200),
    ] {
        let line =
            format!(r#"203.0.113.9 - {user} [21/Nov/2026:08:20:03 +0600] "GET / HTTP/1.1" 200 5 "-" "-""#);
        for format in ["auto", "combined", "common"] {
            assert_eq!(read(format, &line), LOCAL);
        }
    }
}

#[test]
fn json_times_are_found_by_their_keys_in_order_of_preference() {
    let far = format!(r#"{{"uri":"{}","time":1795227603}}"#, "/x".repeat(4000));
    let lines: &[(&str, Found)] = &[
        (r#"{"time_local":"21/Nov/2026:08:20:03 +0600","n":1}"#, LOCAL),
        (r#"{"time_local":"[21/Nov/2026:08:20:03 +0600]"}"#, LOCAL),
        (r#"{"@timestamp": "2026-11-21T08:20:03.123+06:00"}"#, LOCAL),
        (r#"{"msec":"1795227603.123","status":200}"#, UTC),
        (r#"{"level":"info","ts":1795227603.5}"#, UTC),
        (r#" { "Timestamp" : 1795227603123 }"#, UTC),
        (
            r#"{"date":"2020-01-01T00:00:00Z","ts":1500000000,"time":1795227603}"#,
            UTC,
        ),
        (
            r#"{"uri":"/?d=2001-01-01T00:00:00Z","request_time":0.001,"time":1795227603}"#,
            UTC,
        ),
        (r#"{"time":0.001,"msec":1795227603.1}"#, UTC),
        (r#"{"log":{"time":1500000000},"ts":1795227603}"#, UTC),
        (r#"{"log":{"time":1795227603},"message":"x"}"#, UTC),
        (
            r#"{"request":{"headers":{"date":"2020-01-01T00:00:00Z"},"time":1500000000}}"#,
            None,
        ),
        (
            r#"{"http_x_timestamp":1500000000,"arg_time":1500000000,"cookie_ts":1500000000}"#,
            None,
        ),
        (
            r#"{"ua":"\",\"time\":\"2020-01-01T00:00:00Z","ts":1795227603}"#,
            UTC,
        ),
        (r#"{"ua":"[01/Jan/2020:00:00:00 +0000] \"x","b":1}"#, None),
        (r#"{"bytes":1795227603,"status":200}"#, None),
        (r#"{"time":17952276031}"#, None),
        (&far, UTC),
    ];
    check("auto", lines);
    check("json", lines);
}

#[test]
fn ltsv_times_are_found_by_their_labels() {
    let lines: &[(&str, Found)] = &[
        ("time:21/Nov/2026:08:20:03 +0600\thost:10.0.0.1\treq:GET /", LOCAL),
        (
            "host:10.0.0.1\ttime:[21/Nov/2026:08:20:03 +0600]\treq:GET /",
            LOCAL,
        ),
        (
            "user:x [01/Jan/2020:00:00:00 +0000] \"\ttime:1795227603.123\tstatus:200",
            UTC,
        ),
        ("date:2020-01-01T00:00:00Z\ttime:2026-11-21T02:20:03Z", UTC),
        ("http_date:2020-01-01T00:00:00Z\tstatus:200", None),
    ];
    check("auto", lines);
    check("ltsv", lines);
    // Tabs without labels.
    check("auto", &[("2026-11-21T08:20:03+06:00\thost:10.0.0.1", LOCAL)]);
}

#[test]
fn logfmt_times_are_found_by_their_keys() {
    check(
        "logfmt",
        &[
            (
                r#"level=info time=2026-11-21T02:20:03Z msg="time=2020-01-01T00:00:00Z""#,
                UTC,
            ),
            (r#"msg="a \" time=2020-01-01T00:00:00Z" ts=1795227603"#, UTC),
            (r#"date=2020-01-01 time="2026-11-21 02:20:03""#, UTC),
            ("time=21/Nov/2026:08:20:03 +0600 msg=x", LOCAL),
            ("2026-11-21T02:20:03Z level=info", None),
        ],
    );
}

#[test]
fn syslog_headers_have_the_time_of_the_line() {
    let lines: &[(&str, Found)] = &[
        (
            "<34>1 2026-11-21T08:20:03.003+06:00 web1 app 7 ID47 - from 2020-01-01T00:00:00Z",
            LOCAL,
        ),
        (
            "<34>Nov 21 02:20:03 web1 app[7]: x [01/Jan/2020:00:00:00 +0000] \"y\"",
            UTC,
        ),
        ("Nov 21 02:20:03 web1 app[7]: x 2020-01-01T00:00:00Z", UTC),
        ("2026-11-21T08:20:03.123456+06:00 web1 app[7]: x", LOCAL),
        ("<34>1 - web1 app 7 - - 2020-01-01T00:00:00Z", None),
    ];
    check("auto", lines);
    check("syslog", lines);
    check("syslog", &[("x 2026-11-21T08:20:03Z", None)]);
    check(
        "auto",
        &[(
            r#"<190>Nov 21 08:20:03 web1 nginx: 10.0.0.1 - - [21/Nov/2026:08:20:03 +0600] "GET /" 200"#,
            LOCAL,
        )],
    );
}

#[test]
fn pasted_formats_find_the_time_where_nginx_writes_it() {
    for (format, line, expected) in [
        (
            r#"$remote_addr|$time_iso8601|"$request"|$status|$request_time"#,
            r#"10.0.0.1|2026-11-21T08:20:03+06:00|"GET /|2020-01-01T00:00:00Z|"|200|0.001"#,
            LOCAL,
        ),
        // Certain from the start: neither address nor method can hold the separator.
        (
            "$remote_addr|$request_method|$time_local|$request_uri|$http_user_agent",
            "10.0.0.1|GET|21/Nov/2026:08:20:03 +0600|/|x|01/Jan/2020:00:00:00 +0000|y",
            LOCAL,
        ),
        // Certain from the end.
        (
            "$remote_user|$request|$time_local|$status|$body_bytes_sent",
            "x|01/Jan/2020:00:00:00 +0000|200|5|GET /|21/Nov/2026:08:20:03 +0600|200|5",
            LOCAL,
        ),
        // Not certain, and two times: whose is which cannot be known.
        (
            "$remote_user|$time_local|$request",
            "x|01/Jan/2020:00:00:00 +0000|y|21/Nov/2026:08:20:03 +0600|GET /",
            None,
        ),
        (
            "$remote_user|$time_local|$request",
            "x|y|21/Nov/2026:08:20:03 +0600|GET /",
            LOCAL,
        ),
        // The best of several times is the certain one, then the one with a zone.
        (
            "$msec $remote_user $time_local $request",
            "1795227603.123 x 01/Jan/2020:00:00:00 +0000 21/Nov/2026:08:20:03 +0600 GET",
            UTC,
        ),
        (
            "$msec [$time_local]",
            "1795227604.123 [21/Nov/2026:08:20:03 +0600]",
            LOCAL,
        ),
        ("$time_local$remote_user", "21/Nov/2026:08:20:03 +0600x", LOCAL),
        // Not of the format.
        (
            "$remote_addr [$time_local]",
            "10.0.0.1 21/Nov/2026:08:20:03 +0600",
            None,
        ),
        (
            "$remote_addr [$time_local]",
            "10.0.0.1 [2026-11-21T08:20:03+06:00]",
            None,
        ),
        ("$remote_addr $status", "10.0.0.1 200", None),
    ] {
        assert_eq!(read(format, line), expected, "{format}: {line}");
    }
}

fn fields(format: &str, line: &str) -> Vec<String> {
    let format = Format::parse(format).expect("a format");
    let mut fields = Vec::new();
    format.read(line.as_bytes(), &mut fields);
    let show = |field: &crate::LineField<'_>| {
        let name = String::from_utf8_lossy(field.name(line.as_bytes())).into_owned();
        format!("{name}={}", &line[field.value.clone()])
    };
    fields.iter().map(show).collect()
}

#[test]
fn fields_are_read_by_the_format() {
    let line = r#"10.0.0.1 - a [b] c [21/Nov/2026:08:20:03 +0600] "GET / HTTP/1.1" 200 5 "-" "x \x22y\x22""#;
    let expected = [
        "remote_addr=10.0.0.1",
        "remote_user=a [b] c",
        "time_local=21/Nov/2026:08:20:03 +0600",
        "request=GET / HTTP/1.1",
        "status=200",
        "body_bytes_sent=5",
        "http_referer=-",
        r"http_user_agent=x \x22y\x22",
    ];
    assert_eq!(fields("combined", line), expected);
    assert_eq!(fields("auto", line), expected);
    assert_eq!(
        fields("combined", &format!("example.com {line}"))[..2],
        ["server_name=example.com", "remote_addr=10.0.0.1"]
    );
    assert_eq!(
        fields("combined", &line.replace("10.0.0.1", "1.2.3.4, 5.6.7.8"))[0],
        "http_x_forwarded_for=1.2.3.4, 5.6.7.8"
    );
    assert_eq!(
        fields(
            "$remote_user|$request|$time_local|$status",
            "a|b|c|21/Nov/2026:08:20:03 +0600|200"
        ),
        [
            "remote_user=a",
            "request=b|c",
            "time_local=21/Nov/2026:08:20:03 +0600",
            "status=200"
        ]
    );
    assert_eq!(
        fields("json", r#"{"a":"x\"","b":{"c":1},"d":2}"#),
        [r#"a=x\""#, r#"b={"c":1}"#, "d=2"]
    );
    assert_eq!(fields("auto", "a:1\tb:x:y\n"), ["a=1", "b=x:y"]);
    assert_eq!(fields("logfmt", r#"a=1 b="x y""#), ["a=1", "b=x y"]);
    assert_eq!(
        fields("syslog", "<34>Oct 11 22:14:15 web1 su: failed"),
        ["time=Oct 11 22:14:15", "host=web1", "message=su: failed"]
    );
    for (format, line) in [
        ("combined", "  at x"),
        ("$status [$msec]", "200"),
        ("text", "a=1"),
    ] {
        assert_eq!(fields(format, line), [""; 0], "{format}");
    }
}

#[test]
fn format_is_read_from_its_own_text() {
    for text in [
        "auto",
        "combined",
        "common",
        "json",
        "ltsv",
        "logfmt",
        "syslog",
        "text",
        "$msec $status",
    ] {
        assert_eq!(Format::parse(text).expect("a format").as_text(), text);
    }
}

#[test]
fn names_that_are_no_format_are_told() {
    for (text, expected) in [
        (
            "combind",
            "there is no format `combind` (did you mean `combined`?); write auto, combined, common, json, ltsv, logfmt, \
             syslog, text, or the text of an nginx log_format, such as '$remote_addr [$time_local] \"$request\"'",
        ),
        (
            "main",
            "there is no format `main`; write auto, combined, common, json, ltsv, logfmt, syslog, text, or the text of an \
             nginx log_format, such as '$remote_addr [$time_local] \"$request\"'",
        ),
    ] {
        assert_eq!(Format::parse(text).expect_err(text).to_string(), expected);
    }
}

#[test]
fn formats_in_which_times_are_not_certain_have_warnings() {
    let warnings = |format| Format::parse(format).expect("a format").warnings();
    assert_eq!(warnings("combined"), [""; 0]);
    assert_eq!(warnings(r#"$remote_user [$time_local] "$request""#), [""; 0]);
    assert_eq!(warnings("$time_iso8601|$remote_user|$request"), [""; 0]);
    assert_eq!(
        warnings("$remote_addr|$remote_user|$time_local|$request|$status"),
        [
            "a client can write a second time into $remote_user or $request; a line with two times has no time of its own and \
             goes with the line before it; put $time_local first in the log_format, or these variables in quotes"
        ]
    );
    assert_eq!(
        warnings("escape=none $remote_addr $status"),
        [
            "has none of nginx's times, so each line counts with the time it arrived; add $time_iso8601, $time_local or $msec \
             to the log_format, best at its start",
            "has escape=none, so a client can write whole lines, with any time; use escape=default or escape=json"
        ]
    );
}
