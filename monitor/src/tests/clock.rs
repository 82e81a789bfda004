//! Summaries while this host's clock is set, with a real ledger.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_config::{ChannelKind, ChannelSettings, MonitorSettings};
use logferry_ledger::{AlertEvent, AlertEventKind};
use logferry_telemetry::Metrics;

use crate::incident_look::LookScope;
use crate::tests::settings::MonitoredHost as _;
use crate::tick::{SummaryProgress, tick};
use crate::time::trusted_time::ClockReading;
use crate::upkeep;
use logferry_testkit::relay_host::{RelayHost, at};

const START: &str = "2026-11-21T02:20:00Z";

/// A look so many minutes after the start, with a clock that is wrong by so many hours.
fn look(host: &mut RelayHost, config: &MonitorSettings, minutes: i64, error_hours: i64) {
    let wall = at(START) + SignedDuration::from_mins(minutes) + SignedDuration::from_hours(error_hours);
    let clocks = ClockReading {
        wall,
        boot_id: "boot".to_owned(),
        uptime: Duration::from_mins(1000 + minutes.unsigned_abs()),
    };
    upkeep::look(&mut host.ledger, &clocks).expect("looked");
    let scope = LookScope {
        config,
        zone: &TimeZone::UTC,
        watched_for: Duration::MAX,
        counts_lines: true,
        now: wall,
    };
    let metrics = Metrics::new().monitor();
    while tick(&mut host.ledger, scope, &metrics).expect("looked") == SummaryProgress::SummariesLeft {}
}

/// The subjects of summaries from the hour of the start on.
fn summaries(host: &RelayHost) -> Vec<String> {
    let mails = host.ledger.due_mails(Timestamp::MAX).expect("mails").into_iter();
    let mut subjects: Vec<_> = mails.map(|mail| mail.content.subject).collect();
    subjects.retain(|subject| subject.starts_with("2026-") && subject.as_str() >= "2026-11-21 02:00");
    subjects
}

#[test]
fn each_real_hour_is_mailed_once_though_the_clock_is_a_day_ahead_for_a_while() {
    let mut host = RelayHost::new();
    host.make_contact("198.51.100.1", at(START));
    let config = host.config(25);
    for (minutes, error_hours) in [
        (0, 0),
        (10, 24),
        (30, 24),
        (50, 0),
        (70, 0),
        (100, -24),
        (120, 0),
        (125, 0),
    ] {
        look(&mut host, &config, minutes, error_hours);
    }
    let real = [
        "2026-11-21 02:00-03:00: no lines",
        "2026-11-21 03:00-04:00: no lines",
    ];
    assert_eq!(summaries(&host), real);
}

#[test]
fn hours_while_the_monitor_was_down_are_mailed_at_once_as_the_host_counted_them() {
    let mut host = RelayHost::new();
    host.make_contact("198.51.100.1", at(START));
    let config = host.config(25);
    look(&mut host, &config, 0, 0);
    look(&mut host, &config, 180, 0);
    assert_eq!(summaries(&host).len(), 3);
}

#[test]
fn a_clock_that_is_set_wrong_gives_up_no_alert_that_waits() {
    let channel = ChannelSettings {
        name: "chat".to_owned(),
        kind: ChannelKind::Command(vec!["/bin/true".to_owned()]),
        all_alerts: true,
        time_limit: Duration::from_secs(1),
    };
    for error_days in [100, -100] {
        let mut host = RelayHost::new();
        let config = host.config(25);
        look(&mut host, &config, 0, 0);
        let wall = at(START) + SignedDuration::from_hours(24 * error_days);
        // It is written by the clock as it was, or as it is.
        let now = wall.min(at(START));
        let event = AlertEvent {
            incident: "stale".to_owned(),
            kind: AlertEventKind::Began,
            at: now,
            since: now,
            rule: "stale".to_owned(),
            subject: "198.51.100.1".to_owned(),
            severity: "critical".to_owned(),
            text: "it is silent".to_owned(),
            advice: String::new(),
        };
        let queued = host.ledger.queue_alert_events(&[("chat".to_owned(), event)], now);
        queued.expect("queued");
        let clocks = ClockReading {
            wall,
            boot_id: "boot".to_owned(),
            uptime: Duration::from_mins(1001),
        };
        let now = upkeep::look(&mut host.ledger, &clocks).expect("looked");
        let channels = std::slice::from_ref(&channel);
        upkeep::forget_events(&mut host.ledger, channels, now).expect("forgotten");
        let waiting = host.ledger.channel_backlogs().expect("read");
        assert_eq!(waiting.len(), 1, "{error_days} days");
    }
}
