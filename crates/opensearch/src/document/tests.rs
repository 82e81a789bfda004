//! Documents of lines in every format, and of any bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// 2026-11-21T02:20:00Z.
const START: i64 = 1_795_227_600;

fn documents(format: &str, lines: &[&[u8]]) -> Vec<Value> {
    let format = Format::parse(format).expect("a format");
    let origin = DocumentOrigin {
        batch: "accessLog_26112108_00-19_h1",
        index: "logferry-2026.11.21",
        source: "h1",
        group: "web-1",
        log: Some("access"),
        format: &format,
        ingested_at: "2026-11-21T02:25:00Z",
    };
    let mut writer = DocumentWriter::new(origin, START);
    let (mut request, mut offset) = (Vec::new(), 0);
    for line in lines {
        let id = writer.append(line, offset, &mut request).expect("JSON");
        assert_eq!(id, format!("{}@{offset:012}", origin.batch));
        offset += line.len() as u64;
    }
    let text = String::from_utf8(request).expect("UTF-8");
    let values: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(values.len(), 2 * lines.len(), "an action and a document each");
    values.chunks(2).map(|pair| pair[1].clone()).collect()
}

#[test]
fn access_line_has_logflows_shape_and_ours() {
    let line = br#"10.0.0.1 - bob [21/Nov/2026:08:20:03 +0600] "GET /a?b HTTP/1.1" 502 5 "-" "x \x22y\x22"
"#;
    let [document]: [Value; 1] = documents("combined", &[line]).try_into().expect("one");
    let message = std::str::from_utf8(line).expect("UTF-8").trim_end();
    assert_eq!(
        document,
        json!({
            "timestamp": "2026-11-21T02:20:03Z",
            "level": "ERROR",
            "service": "access",
            "message": message,
            "source": {"hostname": "h1", "file": "access"},
            "extra_fields": {
                "remote_addr": "10.0.0.1", "remote_user": "bob", "time_local": "21/Nov/2026:08:20:03 +0600",
                "request": "GET /a?b HTTP/1.1", "status": "502", "body_bytes_sent": "5", "http_referer": "-",
                "http_user_agent": "x \"y\"",
            },
            "ingested_at": "2026-11-21T02:25:00Z",
            "batch": "accessLog_26112108_00-19_h1",
            "offset": 0,
            "group": "web-1",
            "log": "access",
            "status": 502,
        })
    );
}

#[test]
fn logflows_lines_of_both_kinds_keep_service_and_message() {
    let text = b"2026-11-21 02:20:07 INFO [payment-service] Payment completed for order order_45231\n";
    let [document]: [Value; 1] = documents("text", &[text]).try_into().expect("one");
    assert_eq!(document["service"], "payment-service");
    assert_eq!(document["message"], "Payment completed for order order_45231");
    assert_eq!(document["level"], "INFO");
    let line = br#"{"timestamp": "2026-11-21 02:20:09", "level": "ERROR", "service": "user-service", "message": "no \"such\" user", "user": 7, "user": 8, "a": {"b": 1}}
"#;
    let [document]: [Value; 1] = documents("json", &[line]).try_into().expect("one");
    assert_eq!(
        (&document["service"], &document["message"]),
        (&json!("user-service"), &json!("no \"such\" user"))
    );
    assert_eq!(document["extra_fields"], json!({"user": "7", "a": "{\"b\": 1}"}));
    assert_eq!(document["level"], "ERROR");
}

#[test]
fn line_without_a_time_has_that_of_the_line_before() {
    let lines: [&[u8]; 3] = [b"first\n", b"2026-11-21 02:21:00 INFO x\n", b"  at some.Class\n"];
    let times: Vec<_> = documents("text", &lines)
        .into_iter()
        .map(|document| document["timestamp"].clone())
        .collect();
    let [start, own] = ["2026-11-21T02:20:00Z", "2026-11-21T02:21:00Z"];
    assert_eq!(times, [start, own, own]);
}

#[test]
fn names_that_the_server_refuses_are_changed() {
    for (name, expected) in [
        ("a.b", "a.b"),
        (".a", "__a"),
        ("a..b", "_a__b"),
        ("a.", "_a_"),
        ("", "_"),
        (" ", "_ "),
    ] {
        assert_eq!(field_name(name.as_bytes()), expected);
    }
    assert_eq!(field_name("ä".repeat(300).as_bytes()).len(), NAME_MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_a_document(line in proptest::collection::vec(any::<u8>(), 0..300), format in 0..6_usize) {
        let format = ["auto", "json", "ltsv", "logfmt", "syslog", "text"][format];
        let line: Vec<u8> = line.into_iter().filter(|byte| *byte != b'\n').chain([b'\n']).collect();
        let documents = documents(format, &[&line]);
        prop_assert!(documents[0]["message"].is_string());
    }

    #[test]
    fn any_json_line_is_a_document(names in proptest::collection::vec("[a-c.\" ]{0,3}", 0..9), value in any::<String>()) {
        let members: Vec<_> = names.iter().map(|name| format!("{}: {}", json!(name), json!(value))).collect();
        let line = format!("{{{}}}\n", members.join(", "));
        let documents = documents("json", &[line.as_bytes()]);
        prop_assert_eq!(&documents[0]["batch"], "accessLog_26112108_00-19_h1");
    }
}

#[test]
fn line_from_before_1970_keeps_its_time() {
    let lines: [&[u8]; 2] = [
        br#"{"time":"1969-07-20T20:17:40Z"}"#,
        br#"{"gr\u00f6\u00dfe":"5"}"#,
    ];
    let documents = documents("json", &lines);
    assert_eq!(documents[0]["timestamp"], "1969-07-20T20:17:40Z");
    assert_eq!(
        documents[1]["extra_fields"],
        json!({"größe": "5"}),
        "a name without escapes"
    );
}
