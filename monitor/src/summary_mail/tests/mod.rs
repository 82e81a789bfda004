//! The mail as people see it, from made-up facts: golden texts, sizes, hostile names. With `LOGFERRY_SHOTS=DIR` the pages
//! are written there, to be looked at in a browser.

#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod losses;
mod silences;
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{
    Batch, BatchContents, BatchId, BatchState, SourceLineTotals, SourceProgress, SourceRecord,
    SourceWindowSum, Window,
};
use logferry_protocol::names::SourceId;
use logferry_text::TERMINAL_COLUMNS;

use super::facts::{AuditFacts, OpenIncident};
use super::index_numbers::{IndexFacts, IndexNumbers, STEPS, StatusCount};
use super::request::summary_page;
use super::*;
use crate::summary::period::{PeriodKind, SummaryPeriod};
use crate::tests::settings::MonitoredHost as _;
use crate::time::later;
use logferry_testkit::relay_host::{RelayHost, at, source};

fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(6))
}

fn hour() -> SummaryPeriod {
    SummaryPeriod::hour(at("2026-11-21T08:00+06:00"))
}

/// The traffic of a source at a time of the day, a minute.
fn rate(index: usize, at: Timestamp) -> u64 {
    let minute = u64::try_from(at.as_second() / 60).unwrap_or(0);
    let hour = minute / 60 % 24;
    let day_curve = [
        9, 7, 6, 6, 8, 12, 18, 26, 34, 38, 40, 41, 40, 39, 38, 37, 37, 38, 40, 42, 36, 26, 18, 12, 9,
    ];
    let at_hour = |hour: u64| day_curve[usize::try_from(hour).expect("small")];
    let wave = at_hour(hour) * (60 - minute % 60) + at_hour(hour + 1) * (minute % 60);
    let noise = (minute / 5).wrapping_mul(2_654_435_761 + 97 * index as u64) % 17;
    wave * (100 + noise) / 1800 * 40 / (index as u64 + 2)
}

fn batch(name: &SourceId, start: Timestamp, lines: u64, state: BatchState) -> Batch {
    let end = later(start, SignedDuration::from_mins(20));
    let is_sent = state == BatchState::Sent;
    let delay = 95 + start.as_second() / 1200 % 7 * 9;
    Batch {
        id: BatchId::of_number(1),
        source: name.clone(),
        group: "web-1".parse().expect("a group"),
        log: None,
        window: Window {
            start: start.as_second(),
            seconds: 1200,
            utc_offset: 21_600,
        },
        base_name: format!("accessLog_{}_{}", start.as_second(), name.file_label()),
        part: 1,
        state,
        contents: BatchContents {
            lines,
            bytes: lines * 275,
            crc32c: 7,
        },
        sha256: is_sent.then(|| "ab".repeat(32)),
        opened_at: start,
        sealed_at: Some(end),
        sent_at: is_sent.then(|| later(end, SignedDuration::from_secs(delay))),
        compressed_at: None,
        expired_at: None,
    }
}

fn record(name: &SourceId, now: Timestamp) -> SourceRecord {
    SourceRecord {
        source: name.clone(),
        group: "web-1".parse().expect("a group"),
        first_seen: at("2026-10-01T00:00Z"),
        last_contact: now,
        last_lines: Some(now),
        lag_bytes: 0,
        streams: Vec::new(),
        heartbeat: None,
        heartbeat_at: Some(now),
        oldest_report_at: Some(now),
        senders: 1,
    }
}

/// A day of so many sources, all well.
fn facts(period: SummaryPeriod, sources: usize) -> SummaryFacts {
    let (from, _) = period.last_day();
    let now = later(period.end, SignedDuration::from_mins(15));
    let names: Vec<_> = (0..sources)
        .map(|index| source(&format!("198.51.{}.{}", 100 + index / 200, 1 + index % 200)))
        .collect();
    let mut last_day = Vec::new();
    let mut numbers = IndexNumbers {
        steps_before: vec![0; STEPS],
        ..IndexNumbers::default()
    };
    let mut compared_sums = Vec::new();
    for (index, name) in names.iter().enumerate() {
        for window in 0..72 {
            let start = later(from, SignedDuration::from_mins(20 * window));
            last_day.push(batch(name, start, 20 * rate(index, start), BatchState::Sent));
        }
        let mut steps = vec![0; STEPS];
        for (step, lines) in (0..).zip(&mut steps) {
            *lines = 5 * rate(index, later(from, SignedDuration::from_mins(5 * step)));
            numbers.steps_before[usize::try_from(step).expect("small")] += *lines * 93 / 100;
        }
        numbers.steps.insert(name.to_string(), steps);
        let lines: u64 = last_day
            .iter()
            .filter(|batch| batch.source == *name && is_in(&period, batch))
            .map(|batch| batch.contents.lines)
            .sum();
        let status = StatusCount {
            lines,
            with_status: lines,
            server_errors: lines * (index as u64 % 5) / 400,
        };
        numbers.statuses.insert(name.to_string(), status);
        numbers.compared.lines += lines;
        numbers.compared.with_status += lines;
        numbers.compared.server_errors += lines / 500;
        compared_sums.push(SourceWindowSum {
            source: name.clone(),
            batches: 3,
            lines: lines * (90 + index as u64 % 13) / 100,
            bytes: lines * 250,
        });
    }
    let batches: Vec<_> = last_day
        .iter()
        .filter(|batch| is_in(&period, batch))
        .cloned()
        .collect();
    SummaryFacts {
        period,
        now,
        late_since: None,
        sources: names.iter().map(|name| record(name, now)).collect(),
        expected: Vec::new(),
        stale_after: Duration::from_mins(5),
        audit: AuditFacts {
            batches: batches.len() as u64,
            ..AuditFacts::default()
        },
        batches,
        compared_sums,
        last_day,
        line_totals: Vec::new(),
        progress: Vec::new(),
        days: days(period),
        index: IndexFacts::Numbers(Box::new(numbers)),
        incidents: Vec::new(),
        silences: Vec::new(),
    }
}

fn is_in(period: &SummaryPeriod, batch: &Batch) -> bool {
    (period.start.as_second()..period.end.as_second()).contains(&batch.window.start)
}

fn days(period: SummaryPeriod) -> Vec<(SummaryPeriod, u64, u64)> {
    if period.kind == PeriodKind::Hour {
        return Vec::new();
    }
    let mut days = vec![(period, 24_103_442, 6_630_000_000)];
    for lines in [
        23_890_001, 22_000_123, 24_500_000, 12_034_556, 11_800_200, 23_700_900, 24_000_321,
    ] {
        let before = days[days.len() - 1].0.compared(&zone());
        days.push((before, lines, lines * 275));
    }
    days.reverse();
    days
}

/// An hour in which much went wrong, at sources with names of all lengths.
fn troubled(sources: usize) -> SummaryFacts {
    let mut facts = facts(hour(), sources);
    let long = source("edge-frontend-07.dhaka.datacenter.example.com");
    for batch in facts
        .batches
        .iter_mut()
        .filter(|batch| batch.source == facts.sources[4].source)
    {
        batch.source = long.clone();
    }
    facts.sources[4].source = long;
    let start = facts.period.start.as_second();
    for batch in &mut facts.batches {
        if batch.window.start == start + 2400 && batch.source == facts.sources[1].source {
            (batch.state, batch.sent_at) = (BatchState::Ready, None);
        }
        if batch.window.start == start + 1200 && batch.source == facts.sources[4].source {
            (batch.state, batch.sent_at) = (BatchState::Failed, None);
        }
    }
    facts.sources[2].last_contact = later(facts.period.end, SignedDuration::from_mins(-12));
    facts.sources[2].heartbeat_at = Some(facts.sources[2].last_contact);
    facts.sources[2].oldest_report_at = facts.sources[2].heartbeat_at;
    facts.sources[2].lag_bytes = 1_400_000;
    facts.line_totals = vec![SourceLineTotals {
        source: facts.sources[3].source.clone(),
        lines_sent: 1_204_551,
        lines_excluded: 0,
        lines_batched: 1_204_550,
    }];
    facts.audit.discrepancies =
        vec!["198.51.100.4: its streams sent 1,204,551 lines, its batches hold 1,204,550".to_owned()];
    facts.incidents = vec![
        OpenIncident {
            since: Some(at("2026-11-21T08:48+06:00")),
            is_silenced: false,
            text: "source 198.51.100.3 is silent, its sender was last heard 27 min ago: look at its host and its sender"
                .to_owned(),
        },
        OpenIncident {
            since: None,
            is_silenced: false,
            text: "batches in failed/: 1; they are tried again by themselves, `logferry retry` tries them now".to_owned(),
        },
    ];
    facts
}

fn composed(facts: &SummaryFacts) -> ComposedSummary {
    let config = RelayHost::new().config(25);
    let summary = compose(facts, &config, &zone());
    assert!(summary.mail.text.is_ascii(), "{}", summary.mail.text);
    for line in summary.mail.text.lines() {
        let is_path = !line.trim().contains(' ');
        assert!(
            line.len() <= TERMINAL_COLUMNS || is_path,
            "{} columns: {line}",
            line.len()
        );
    }
    summary
}

/// Writes a page for a browser, if somebody wants to look.
fn show(name: &str, summary: &ComposedSummary) {
    if let Some(folder) = std::env::var_os("LOGFERRY_SHOTS") {
        let folder = std::path::Path::new(&folder);
        std::fs::write(folder.join(format!("{name}.html")), summary_page(summary)).expect("written");
        std::fs::write(folder.join(format!("{name}.txt")), &summary.mail.text).expect("written");
        for part in &summary.parts {
            std::fs::write(folder.join(format!("{name}-{}", part.name)), &part.content).expect("written");
        }
    }
}

#[test]
fn an_hour_in_which_all_is_well_says_so_first() {
    let summary = composed(&facts(hour(), 2));
    show("well", &summary);
    let mail = &summary.mail;
    assert!(
        mail.subject.starts_with("2026-11-21 08:00-09:00: "),
        "{}",
        mail.subject
    );
    assert!(
        mail.subject.ends_with(" lines, all delivered"),
        "{}",
        mail.subject
    );
    assert!(
        mail.text
            .starts_with("All is well.\n2026-11-21 08:00-09:00 (+06:00): "),
        "{}",
        mail.text
    );
    for part in [
        "3 of 3 windows are whole\n08:00-08:20: whole\n",
        "open incidents: none\n",
        "audit: complete: nothing is missing or doubled (6 files looked for, not read)\n",
        "attached: files-2026-11-21T08.csv, the lines of each file\n",
    ] {
        assert!(mail.text.contains(part), "{part}\n{}", mail.text);
    }
}

#[test]
fn an_hour_with_trouble_names_it_worst_first() {
    let summary = composed(&troubled(12));
    show("trouble", &summary);
    let (text, html) = (
        &summary.mail.text,
        summary.mail.html.as_deref().unwrap_or_default(),
    );
    assert!(
        text.starts_with("Not all is well: the audit found 1 fault, counts differ at 1 source, "),
        "{text}"
    );
    assert!(
        summary.mail.subject.contains(" failed, counts differ"),
        "{}",
        summary.mail.subject
    );
    for part in [
        "1,204,551 lines sent, 1,204,550",
        "edge-frontend-07.dhaka.datacenter.example.com",
        "(since 2026-11-21 08:48",
    ] {
        assert!(text.contains(part) || html.contains(part), "{part}\n{text}");
    }
    assert!(html.contains("class=\"bad\""));
}

#[test]
fn three_hundred_sources_show_ten_and_attach_all() {
    let summary = composed(&facts(hour(), 300));
    show("many", &summary);
    assert!(
        summary
            .mail
            .text
            .contains("sources (10 of 300; all are in the table attached)"),
        "{}",
        summary.mail.text
    );
    let csv = |name: &str| {
        let part = summary.parts.iter().find(|part| part.name.starts_with(name));
        String::from_utf8(part.expect("attached").content.clone()).expect("text")
    };
    assert_eq!(csv("sources-2026-11-21T08").lines().count(), 301);
    assert_eq!(csv("files-2026-11-21T08").lines().count(), 901);
    let picture = &summary.parts[0];
    assert_eq!(
        (picture.name.as_str(), picture.content_id.is_some()),
        ("traffic.png", true)
    );
    let size: usize = summary.parts.iter().map(|part| part.content.len()).sum();
    assert!(size < 400_000, "{size} bytes");
}

#[test]
fn nothing_at_all_says_so() {
    let summary = composed(&facts(hour(), 0));
    show("nothing", &summary);
    assert_eq!(summary.mail.subject, "2026-11-21 08:00-09:00: no lines");
    assert_eq!(
        summary.mail.text,
        "All is well.\n\
         2026-11-21 08:00-09:00 (+06:00): no lines\n\
         \n\
         No lines came in this hour.\n\
         \n            this hour  yesterday  change\n\
         lines               0          0\n\
         bytes             0 B        0 B\n\
         files               0          0\n\
         delivered           0\n\
         waiting             0\n\
         failed              0\n\
         status 5xx          -          -\n\
         \n\
         no windows: no lines came\n\
         \n\
         open incidents: none\n\
         \n\
         audit: complete: there was nothing to check\n\
         \n\
         attached: sources-2026-11-21T08.csv, all sources\n\
         attached: files-2026-11-21T08.csv, the lines of each file\n"
    );
}

#[test]
fn a_day_has_the_trend_of_its_week() {
    let day = SummaryPeriod::day("2026-11-21".parse().expect("a date"), &zone()).expect("a day");
    let summary = composed(&facts(day, 12));
    show("day", &summary);
    assert!(
        summary.mail.subject.starts_with("2026-11-21: "),
        "{}",
        summary.mail.subject
    );
    assert!(
        summary.mail.text.contains("72 of 72 windows are whole\n"),
        "{}",
        summary.mail.text
    );
    assert!(
        summary.mail.text.contains("\nSat 2026-11-21  24,103,442"),
        "{}",
        summary.mail.text
    );
}

#[test]
fn a_late_mail_and_one_without_an_indexer_say_so() {
    let mut facts = facts(hour(), 3);
    facts.late_since = Some(at("2026-11-21T09:15+06:00"));
    facts.now = at("2026-11-21T12:15+06:00");
    facts.index = IndexFacts::Absent;
    let summary = composed(&facts);
    show("late", &summary);
    let text = &summary.mail.text;
    assert!(
        text.contains("This mail is late: it was due at 2026-11-21 09:15:00 +06:00"),
        "{text}"
    );
    assert!(
        text.contains("Without an indexer there is no picture") && !text.contains("5xx  "),
        "{text}"
    );
    assert!(summary.parts.iter().all(|part| part.content_id.is_none()));
    facts.index = IndexFacts::Unreadable("index.db: permission denied".to_owned());
    assert!(
        composed(&facts)
            .mail
            .text
            .contains("are left out: index.db: permission denied")
    );
}

#[test]
fn no_text_of_a_host_becomes_markup() {
    let mut facts = facts(hour(), 1);
    let hostile = "<img src=x onerror=alert(1)>\"'&";
    facts.incidents = vec![OpenIncident {
        since: None,
        is_silenced: false,
        text: hostile.to_owned(),
    }];
    facts.audit.discrepancies = vec![hostile.to_owned()];
    let mut numbers = BTreeMap::new();
    numbers.insert(hostile.to_owned(), vec![5; STEPS]);
    if let IndexFacts::Numbers(index) = &mut facts.index {
        index.steps = numbers;
    }
    let html = composed(&facts).mail.html.unwrap_or_default();
    assert!(
        !html.contains("<img src=x") && html.contains("&lt;img src=x"),
        "{html}"
    );
}

#[test]
fn the_users_templates_take_the_place_of_ours_and_a_mistake_has_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = |text: &str| std::fs::write(folder.path().join("summary.subject.txt"), text).expect("written");
    own("{{ verdict }}\n {{ conclusion }}");
    assert!(check_templates(folder.path()).is_ok());
    let mut config = RelayHost::new().config(25);
    config.summary.templates_dir = Some(folder.path().to_owned());
    let facts = facts(hour(), 0);
    assert_eq!(
        compose(&facts, &config, &zone()).mail.subject,
        "All is well. no lines"
    );
    for (text, line) in [
        ("\n{{ verdikt }}", 2),
        ("{% if kind %}\n{{ audit.nothing }}{% endif %}", 2),
        ("{{ a", 1),
    ] {
        own(text);
        let error = check_templates(folder.path()).expect_err("a mistake");
        let path = folder.path().join("summary.subject.txt");
        let start = format!("{}:{line}: the template is wrong: ", path.display());
        assert!(error.to_string().starts_with(&start), "{error}");
        let mail = compose(&facts, &config, &zone()).mail;
        assert_eq!(
            mail.subject, "2026-11-21 08:00-09:00: no lines",
            "the built-in one goes out"
        );
        let words: Vec<_> = mail.text.split_whitespace().collect();
        let text = words.join(" ");
        assert!(text.contains("This is the built-in mail."), "{text}");
    }
}
