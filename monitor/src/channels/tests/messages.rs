//! What a message says.

use jiff::tz::TimeZone;
use logferry_ledger::AlertEventKind::{Began, Over, Reminder, Worse};
use logferry_ledger::{AlertEvent, AlertEventKind};
use serde_json::Value;

use super::super::alert_message::{AlertMessage, message_id};
use super::super::payloads;
use super::event;

fn message(events: &[(&str, AlertEventKind, (i64, i64))]) -> AlertMessage {
    let events = events
        .iter()
        .map(|(subject, kind, times)| event(subject, *kind, *times));
    AlertMessage::of("logferry-1-2".to_owned(), "[logferry]", events)
}

fn lines(events: &[(&str, AlertEventKind, (i64, i64))]) -> Vec<String> {
    message(events).lines(&TimeZone::UTC)
}

#[test]
fn an_alert_that_is_over_before_it_was_told_is_one_line_with_both_times() {
    let events = [("a", Began, (0, 0)), ("a", Worse, (0, 30)), ("a", Over, (0, 600))];
    let message = message(&events);
    assert_eq!(message.title, "[logferry] over: stale, a");
    assert_eq!(
        message.lines(&TimeZone::UTC),
        [
            "was and is over: stale, a: its sender has sent nothing (from 2026-11-21 02:20:00 +00:00 to 2026-11-21 02:30:00 \
             +00:00, 10 min)"
        ]
    );
}

#[test]
fn each_event_is_told_in_its_own_words() {
    let since = "2026-11-21 02:20:00 +00:00";
    for (kind, words) in [
        (Began, format!("(since {since})")),
        (Reminder, format!("(still open, since {since})")),
        (Worse, format!("(worse; since {since})")),
    ] {
        let lines = lines(&[("a", kind, (0, 600))]);
        let begin = "warning: stale, a: its sender has sent nothing";
        assert_eq!(lines, [format!("{begin} {words}"), "  look at it".to_owned()]);
    }
    let over = lines(&[("a", Over, (0, 600))]);
    assert!(over[0].starts_with("over: stale, a: its sender"), "{over:?}");
}

#[test]
fn the_worst_that_is_open_comes_first_and_what_is_over_last() {
    let critical = AlertEvent {
        severity: "critical".to_owned(),
        ..event("c", Began, (50, 50))
    };
    let events = [
        event("a", Over, (0, 40)),
        event("b", Began, (10, 10)),
        critical,
        event("d", Began, (5, 5)),
    ];
    let message = AlertMessage::of(String::new(), "", events);
    let subjects: Vec<_> = message.items.iter().map(|item| &*item.last.subject).collect();
    assert_eq!(subjects, ["c", "d", "b", "a"]);
    assert_eq!(message.title, "critical: stale, c, and 2 alerts more, 1 over");
}

#[test]
fn a_message_of_many_alerts_names_some_and_counts_the_rest() {
    let names: Vec<_> = (0..100).map(|number| format!("198.51.100.{number}")).collect();
    let events: Vec<_> = names.iter().map(|name| (name.as_str(), Began, (0, 0))).collect();
    let lines = lines(&events);
    assert_eq!(lines.len(), 61);
    assert_eq!(lines[60], "and 70 more; `logferry alerts` lists all");
}

#[test]
fn ids_differ_by_ledger_and_by_events() {
    let id = message_id("0123456789abcdef", (7, 9));
    assert_eq!(id, "logferry-0123456789ab-7-9");
}

#[test]
fn each_kind_of_channel_gets_its_form() {
    let mut event = event("a<b>&c", Began, (0, 0));
    event.text = "\"quoted\"\nand broken".to_owned();
    let message = AlertMessage::of("id-1".to_owned(), "[logferry]", [event]);
    let zone = TimeZone::UTC;
    let slack = payloads::slack(&message, &zone);
    let text = slack["text"].as_str().expect("a text");
    assert!(
        text.starts_with("*[logferry] warning: stale, a&lt;b&gt;&amp;c*\n"),
        "{text}"
    );

    let teams = payloads::teams(&message, &zone);
    let card = &teams["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(
        card["content"]["body"][0]["text"],
        "[logferry] warning: stale, a<b>&c"
    );

    let program = payloads::program(&message, "hook", &zone);
    assert_eq!(
        (&program["id"], &program["channel"]),
        (&Value::from("id-1"), &Value::from("hook"))
    );
    let alert = &program["alerts"][0];
    assert_eq!(
        (&alert["state"], &alert["event"]),
        (&Value::from("open"), &Value::from("began"))
    );
    assert_eq!(alert["since"], "2026-11-21T02:20:00Z");
    assert_eq!(alert["until"], Value::Null);
}
