use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::source::syslog::message::{SyslogMessage, parse};
use crate::source::syslog::stamp::MessageArrival;

fn arrival() -> MessageArrival {
    MessageArrival {
        at: "2026-11-21T08:20:03Z".parse().expect("a time"),
        zone: TimeZone::fixed(jiff::tz::offset(6)),
    }
}

/// Every part of a message in one line.
fn shown(message: &str) -> String {
    let parts = parse(message, &arrival());
    let priority = parts.priority.map_or("-".to_owned(), |priority| {
        format!("{}.{}", priority.facility(), priority.severity())
    });
    let time = parts.time.map_or("-".to_owned(), |time| time.to_string());
    let mut shown = format!("{priority} {time}");
    for part in [parts.host, parts.app, parts.process, parts.message_id] {
        shown = format!("{shown} {}", part.unwrap_or("-"));
    }
    for element in &parts.elements {
        shown = format!("{shown} [{}", element.id);
        for (name, value) in &element.parameters {
            shown = format!("{shown} {name}={value}");
        }
        shown.push(']');
    }
    format!("{shown} |{}", parts.text)
}

#[test]
fn examples_of_rfc_5424_are_read() {
    for (message, expected) in [
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
            "auth.crit 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 |'su root' failed for lonvick on /dev/pts/8",
        ),
        (
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            "local4.notice 2003-08-24T12:14:15.000003Z 192.0.2.1 myproc 8710 - |%% It's time to make the do-nuts.",
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" \
             eventSource=\"Application\" eventID=\"1011\"] \u{feff}An application event log entry...",
            "local4.notice 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=3 \
             eventSource=Application eventID=1011] |An application event log entry...",
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\"]\
             [examplePriority@32473 class=\"high\"]",
            "local4.notice 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=3] \
             [examplePriority@32473 class=high] |",
        ),
        ("<13>1 - - - - - -", "user.notice - - - - - |"),
        ("<13>1 - - - - -", "user.notice - - - - - |"),
    ] {
        assert_eq!(shown(message), expected, "{message}");
    }
}

#[test]
fn escapes_and_repeated_names_of_structured_data_are_read() {
    assert_eq!(
        shown(r#"<13>1 - h a - - [x a="q\"b\\c\]d\n" a="" ][meta] text"#),
        r#"user.notice - h a - - [x a=q"b\c]d\n a=] [meta] |text"#
    );
}

#[test]
fn broken_structured_data_stays_in_the_text() {
    for text in [
        r#"[x a="1" text"#,
        r"[x a=1] text",
        r#"[x a="1"]text"#,
        "[] text",
        "-text",
        "no data at all",
    ] {
        assert_eq!(
            shown(&format!("<13>1 - h a - - {text}")),
            format!("user.notice - h a - - |{text}")
        );
    }
}

#[test]
fn examples_of_rfc_3164_and_forms_that_are_met_are_read() {
    for (message, expected) in [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "auth.crit 2026-10-11T16:14:15Z mymachine su - - |'su root' failed for lonvick on /dev/pts/8",
        ),
        ("<13>Use the BFG!", "user.notice - - - - - |Use the BFG!"),
        (
            "<13>Nov  1 18:00:00 host app[12]: [x a=\"1\"] two  spaces ",
            "user.notice 2026-11-01T12:00:00Z host app 12 - |[x a=\"1\"] two  spaces ",
        ),
        (
            "<30>Nov 21 14:20:03 systemd[1]: Started it.",
            "daemon.info 2026-11-21T08:20:03Z - systemd 1 - |Started it.",
        ),
        (
            "<13>2026-11-21T14:20:03.5+06:00 host root: hello",
            "user.notice 2026-11-21T08:20:03.5Z host root - - |hello",
        ),
        (
            "<165>Nov 21 14:20:03.123 ::1 postfix/smtpd[7]: x",
            "local4.notice 2026-11-21T08:20:03.123Z ::1 postfix/smtpd 7 - |x",
        ),
        (
            "<166>Nov 21 2026 14:20:03: %ASA-6-302013: Built",
            "local4.info 2026-11-21T08:20:03Z - %ASA-6-302013 - - |Built",
        ),
        (
            "<189>29: *Mar  1 18:48:50.483: %SYS-5-CONFIG_I: Configured",
            "local7.notice - - - - - |29: *Mar  1 18:48:50.483: %SYS-5-CONFIG_I: Configured",
        ),
        ("<12>app: warned", "user.warning - - app - - |warned"),
        (
            "<13>Nov 21 14:20:03 host just words",
            "user.notice 2026-11-21T08:20:03Z host - - - |just words",
        ),
        (
            "<13>Nov 21 14:20:03 \"quoted\" words",
            "user.notice 2026-11-21T08:20:03Z - - - - |\"quoted\" words",
        ),
        (
            "Nov 21 14:20:03 host app: x",
            "- 2026-11-21T08:20:03Z host app - - |x",
        ),
        ("note: no priority", "- - - - - - |note: no priority"),
        ("<192>x", "- - - - - - |<192>x"),
        ("<1234>x", "- - - - - - |<1234>x"),
        ("<>x", "- - - - - - |<>x"),
        ("<13>a line\r\n\0", "user.notice - - - - - |a line"),
        ("", "- - - - - - |"),
    ] {
        assert_eq!(shown(message), expected, "{message}");
    }
}

#[test]
fn header_of_rfc_5424_with_an_impossible_time_stays_in_the_text() {
    let message = "<13>1 2026-13-40T00:00:00Z host app - - - text";
    assert_eq!(
        shown(message),
        "user.notice - - - - - |1 2026-13-40T00:00:00Z host app - - - text"
    );
}

#[test]
fn severities_are_the_records_levels() {
    let level = |number: u8| {
        parse(&format!("<{number}>x"), &arrival())
            .priority
            .map(crate::source::syslog::priority::Priority::level)
    };
    let levels: Vec<_> = (16..24).filter_map(level).collect();
    assert_eq!(
        levels,
        [
            "CRITICAL", "CRITICAL", "CRITICAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG"
        ]
    );
}

/// Writes a message as RFC 5424 wants it.
fn written(message: &SyslogMessage<'_>, number: u8) -> String {
    let time = message.time.map_or("-".to_owned(), |time| time.to_string());
    let part = |part: Option<&str>| part.unwrap_or("-").to_owned();
    let mut data = String::new();
    for element in &message.elements {
        data = format!("{data}[{}", element.id);
        for (name, value) in &element.parameters {
            let value = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace(']', r"\]");
            data = format!("{data} {name}=\"{value}\"");
        }
        data.push(']');
    }
    if data.is_empty() {
        data.push('-');
    }
    format!(
        "<{number}>1 {time} {} {} {} {} {data} {}",
        part(message.host),
        part(message.app),
        part(message.process),
        part(message.message_id),
        message.text
    )
}

fn word() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[!#-,.-~]{1,20}")
}

proptest! {
    #[test]
    fn message_of_rfc_5424_is_read_as_it_was_written(
        number in 0..=191_u8,
        seconds in proptest::option::of(0..4_000_000_000_i64),
        words in (word(), word(), word(), word()),
        data in vec(("[!#-<>-\\\\^-~]{1,20}", vec(("[!#-<>-\\\\^-~]{1,9}", "\\PC{0,12}"), 0..3)), 0..3),
        text in "[^\\r\\n\\x00\\ufeff]{0,60}",
    ) {
        let elements = data.iter().map(|(id, parameters)| crate::source::syslog::structured_data::Element {
            id,
            parameters: parameters.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect(),
        });
        let message = SyslogMessage {
            time: seconds.map(|seconds| Timestamp::from_second(seconds).expect("in range")),
            host: words.0.as_deref(),
            app: words.1.as_deref(),
            process: words.2.as_deref(),
            message_id: words.3.as_deref(),
            elements: elements.collect(),
            text: &text,
            ..SyslogMessage::default()
        };
        let written = written(&message, number);
        let read = parse(&written, &arrival());
        let level = read.priority.map(crate::source::syslog::priority::Priority::level);
        prop_assert_eq!(level, Some(crate::source::syslog::level_of(number)));
        prop_assert_eq!(SyslogMessage { priority: None, ..read }, message);
    }

    #[test]
    fn any_text_is_read_and_its_end_stays(text in "\\PC{0,80}", near in "<[0-9]{1,3}>(1 )?[-A-Za-z0-9: \\[\\]=\".+]{0,60}") {
        for text in [&text, &near] {
            let read = parse(text, &arrival());
            prop_assert!(text.ends_with(read.text), "{:?}", read);
        }
    }
}
