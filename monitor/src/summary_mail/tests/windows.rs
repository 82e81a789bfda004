//! The windows in the mail.

use super::*;

#[test]
fn a_source_that_may_have_lines_makes_a_window_not_whole() {
    let mut facts = facts(hour(), 2);
    let text = |facts: &SummaryFacts| composed(facts).mail.text;
    facts.sources[0].heartbeat_at = Some(at("2026-11-21T08:50+06:00"));
    facts.sources[0].oldest_report_at = facts.sources[0].heartbeat_at;
    assert!(
        text(&facts).contains("2 of 3 windows are whole"),
        "{}",
        text(&facts)
    );
    assert!(
        text(&facts).contains("\n08:40-09:00: may have lines: 198.51.100.1\n"),
        "{}",
        text(&facts)
    );
    facts.progress = vec![SourceProgress {
        source: facts.sources[0].source.clone(),
        reached: Some(facts.period.end.as_second()),
    }];
    assert!(
        text(&facts).contains("3 of 3 windows are whole"),
        "{}",
        text(&facts)
    );
}

#[test]
fn windows_of_a_host_in_another_time_zone_are_counted_where_they_are() {
    let mut facts = facts(hour(), 1);
    facts.batches.truncate(2);
    for (batch, start) in facts.batches.iter_mut().zip(["08:10", "08:50"]) {
        batch.window.start = at(&format!("2026-11-21T{start}+06:00")).as_second();
    }
    let text = composed(&facts).mail.text;
    assert!(text.contains("3 of 3 windows are whole"), "{text}");
    assert_eq!(
        rows(&text),
        ["08:10-08:30: whole", "08:30-08:50: whole", "08:50-09:10: whole"]
    );
}

/// One source's batches in windows of so many seconds over the whole period; those that start at or after `broken_from` wait.
fn short_windows(period: SummaryPeriod, seconds: u32, broken_from: Timestamp) -> SummaryFacts {
    let mut facts = facts(period, 1);
    let name = facts.sources[0].source.clone();
    let mut start = period.start;
    facts.batches.clear();
    while start < period.end {
        let state = if start < broken_from {
            BatchState::Sent
        } else {
            BatchState::Ready
        };
        let mut batch = batch(&name, start, 10, state);
        batch.window.seconds = seconds;
        facts.batches.push(batch);
        start = later(start, SignedDuration::from_secs(seconds.into()));
    }
    facts
}

fn rows(text: &str) -> Vec<&str> {
    let after = text.split_once("windows are whole\n").expect("the windows").1;
    after.lines().take_while(|line| !line.is_empty()).collect()
}

#[test]
fn broken_windows_of_an_hour_come_first_and_the_rest_is_counted() {
    let facts = short_windows(hour(), 30, at("2026-11-21T08:59+06:00"));
    let text = composed(&facts).mail.text;
    let rows = rows(&text);
    assert_eq!(rows.len(), 21);
    assert_eq!(
        rows[..3],
        [
            "08:59:00-08:59:30: 10 lines waiting",
            "08:59:30-09:00:00: 10 lines waiting",
            "08:00:00-08:00:30: whole"
        ]
    );
    assert_eq!(rows[20], "and 100 more: whole");
}

#[test]
fn broken_windows_that_are_not_listed_are_counted_by_the_hour_and_by_the_day() {
    let day = SummaryPeriod::day("2026-11-21".parse().expect("a date"), &zone()).expect("a day");
    for (period, seconds, last) in [
        (
            hour(),
            60,
            "and 40 more: 40 not whole; the console's page /windows shows them",
        ),
        (
            day,
            1200,
            "and 52 more: 52 not whole; the console's page /windows shows them",
        ),
    ] {
        let text = composed(&short_windows(period, seconds, period.start)).mail.text;
        assert_eq!(rows(&text)[20], last);
    }
}
