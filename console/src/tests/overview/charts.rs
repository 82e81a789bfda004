//! Charts that the server draws: an alert's rule with its limit, and the disk; and the cells of windows.

use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{Incident, IncidentUpdate, NewBatch, Severity, Window};

use super::super::http::get;
use super::super::relay_host::{RelayFixture, SOURCE};

/// A monitor with a rule, beside the console.
fn monitor(host: &RelayFixture) -> String {
    let data = host.dir.path().join("data");
    format!(
        "  open: true\nmonitor:\n  data_dir: {data:?}\n  smtp: {{host: h, from: a@example.com, to: [a@example.com]}}\n  \
         rules: [{{name: busy, counter: lines, above: 0, over: 1h, by: source}}]\nindexer: {{data_dir: {data:?}}}\n"
    )
}

fn incident(rule: &str, subject: &str, now: Timestamp) -> IncidentUpdate {
    let incident = Incident {
        id: None,
        rule: rule.to_owned(),
        subject: subject.to_owned(),
        severity: Severity::Warning,
        text: format!("{rule} of {subject}"),
        advice: String::new(),
        channels: Vec::new(),
        clear_after: Duration::ZERO,
        since: now,
        opened_at: Some(now),
        gone_since: None,
        closed_at: None,
        told: None,
        told_at: None,
        returns: 0,
        relapses: 0,
    };
    IncidentUpdate {
        incident,
        entries: Vec::new(),
        is_dropped: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_and_disk_are_drawn_by_the_server_with_a_limit_and_in_words() {
    let mut host = RelayFixture::new();
    host.count(&[None, None]);
    let now = Timestamp::now();
    let updates = [
        incident("busy", "198.51.100.1", now),
        incident("busy", "gone", now),
        incident("behind", "198.51.100.1", now),
    ];
    let recorded = host.ledger.record_incidents(&updates, |_| None, &[], now);
    recorded.expect("recorded");
    host.ledger.note_disk(20 << 30, 100 << 30, now).expect("noted");
    let console = host.console(&monitor(&host)).await;

    let alerts = console.send(get("/alerts")).await.text();
    let drawn: Vec<_> = alerts.matches("<path class=\"limit\"").collect();
    assert_eq!(drawn.len(), 1, "the source that has had lines: {alerts}");
    assert!(
        alerts.contains("<title>lines in 1 h, of 198.51.100.1: the worst of each ten minutes in the last 24 hours; alarms above 0;"),
        "{alerts}"
    );
    assert_eq!(alerts.matches("The chart as a table").count(), 1);
    assert_eq!(
        alerts.matches("<title>Lines a minute of 198.51.100.1").count(),
        1,
        "{alerts}"
    );

    let overview = console.send(get("/")).await.text();
    assert!(
        overview.contains("<title>Disk used in the last 24 hours:") && overview.contains(">80.0 GiB</td>"),
        "{overview}"
    );
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_monitor_it_is_said_that_nobody_looks() {
    let host = RelayFixture::new();
    let console = host.open_console().await;
    let alerts = console.send(get("/alerts")).await.text();
    assert!(alerts.contains("Nobody looks for what is wrong."), "{alerts}");
    let overview = console.send(get("/")).await.text();
    assert!(
        overview.contains("has noted nothing of the last 24 hours"),
        "{overview}"
    );
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cell_of_short_windows_opens_all_of_them() {
    let mut host = RelayFixture::new();
    let start = host.batch.window.start - 86_400;
    for (source, minute) in [(SOURCE, 0), (SOURCE, 5), ("198.51.100.10", 0)] {
        let new = NewBatch {
            source: source.parse().expect("valid"),
            group: "web-1".parse().expect("valid"),
            log: None,
            window: Window {
                start: start + minute * 60,
                seconds: 300,
                utc_offset: 0,
            },
            base_name: format!("short_{minute}_{source}"),
        };
        host.ledger.open_batch(&new, Timestamp::now()).expect("opened");
    }
    let console = host.open_console().await;
    let page = console
        .send(get(&format!("/windows/{SOURCE}/{start}")))
        .await
        .text();
    assert!(page.contains("short_0_") && !page.contains("short_5_"), "{page}");
    let page = console
        .send(get(&format!("/windows/{SOURCE}/{start}?seconds=600")))
        .await
        .text();
    assert!(page.contains("short_0_") && page.contains("short_5_"), "{page}");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_times_are_all_of_them_and_not_the_usual_ones() {
    let mut host = RelayFixture::new();
    host.count_day([SOURCE.to_owned()].into_iter());
    let now = Timestamp::now();
    let past = now - jiff::SignedDuration::from_hours(30 * 24);
    let mut update = incident("busy", "gone", past);
    update.incident.closed_at = Some(past);
    let recorded = host.ledger.record_incidents(&[update], |_| None, &[], past);
    recorded.expect("recorded");
    let console = host.open_console().await;
    for (path, usual, all) in [("numbers", 6, 144), ("alerts", 0, 1)] {
        for (since, wanted) in [("", usual), ("?since=all", all)] {
            let answer = console.send(get(&format!("/api/v1/{path}{since}"))).await.json();
            assert_eq!(answer.as_array().map(Vec::len), Some(wanted), "{path}{since}");
        }
    }
    console.stop().await;
}
