//! The alert rule: which sources people must be mailed about. Pure.
//!
//! Invariants:
//! - Between two alerts for one source there is always a mail that it is back.
//! - A source is back only after it made contact for a while (`hold`). One that flaps keeps its one alert.
//! - Only a missing contact raises an alert. A log without new lines does not: its sender still makes contact.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::AlertHold;
use logferry_ledger::{Alert, SourceRecord};
use logferry_protocol::names::SourceId;

use super::source_state::{SourceState, watched_sources};
use crate::time::age;

/// The facts that the rule decides on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlertInput<'a> {
    /// The sources that ever made contact.
    pub(crate) sources: &'a [SourceRecord],
    /// The sources that must exist.
    pub(crate) expected: &'a [SourceId],
    /// The alerts that were raised and not cleared.
    pub(crate) alerts: &'a [Alert],
    /// A source without contact for so long is silent.
    pub(crate) stale_after: Duration,
    /// For how long the monitor has watched. Before `stale_after` it does not know of any source that it is silent: host and
    /// relay may have started just now.
    pub(crate) watched_for: Duration,
    /// How long a source must be stale, or in contact again, before its mail.
    pub(crate) hold: AlertHold,
}

/// The alerts to raise and to clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AlertDecision {
    /// Silent sources without an alert yet.
    pub(crate) newly_silent: Vec<Alert>,
    /// The alerts of sources that made contact again.
    pub(crate) back: Vec<Alert>,
    /// Alerts whose source came back a moment ago, or went silent again meanwhile. No mail yet.
    pub(crate) returning: Vec<Alert>,
    /// How many sources are silent now, those with an alert included.
    pub(crate) silent: usize,
    /// How many sources are watched.
    pub(crate) watched: usize,
}

/// Applies the rule.
pub(crate) fn decide(input: AlertInput<'_>, now: Timestamp) -> AlertDecision {
    let raised: BTreeMap<_, _> = input.alerts.iter().map(|alert| (&alert.source, alert)).collect();
    let watched = watched_sources(input.sources, input.expected);
    let mut decision = AlertDecision {
        watched: watched.len(),
        ..AlertDecision::default()
    };
    for (source, record) in watched {
        let alert_kind = SourceState::of(record, input.stale_after, now).alert_kind();
        let last_contact = record.map(|record| record.last_contact);
        decision.silent += usize::from(alert_kind.is_some());
        match (alert_kind, raised.get(source)) {
            (Some(_), None) if input.watched_for < input.stale_after => {}
            (Some(kind), None) if is_firing(last_contact, &input, now) => decision.newly_silent.push(Alert {
                source: source.clone(),
                kind,
                since: last_contact,
                raised_at: now,
                back_since: None,
            }),
            (Some(_), Some(alert)) if alert.back_since.is_some() => decision.returning.push(Alert {
                back_since: None,
                ..(*alert).clone()
            }),
            // Only a contact after the alert clears it. A longer `stale_after` does not, and a clock that was set back
            // does not hide the contact.
            (None, Some(alert)) if last_contact != alert.since => {
                let back_since = alert.back_since.filter(|since| Some(*since) <= last_contact);
                let back_since = back_since.or(last_contact);
                let lasted = back_since.zip(last_contact).map(|(since, last)| age(since, last));
                if lasted.is_some_and(|lasted| lasted >= input.hold.clear) {
                    decision.back.push((*alert).clone());
                } else if back_since != alert.back_since {
                    decision.returning.push(Alert {
                        back_since,
                        ..(*alert).clone()
                    });
                }
            }
            _ => {}
        }
    }
    decision
}

/// Whether a silent source has been so for long enough. One that never made contact has.
fn is_firing(last_contact: Option<Timestamp>, input: &AlertInput<'_>, now: Timestamp) -> bool {
    let limit = input.stale_after.saturating_add(input.hold.firing);
    last_contact.is_none_or(|last| age(last, now) >= limit)
}

#[cfg(test)]
mod tests {
    use logferry_ledger::AlertKind;
    use proptest::prelude::*;

    use super::*;

    const STALE_AFTER: Duration = Duration::from_mins(5);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("in range")
    }

    fn source(number: u8) -> SourceId {
        format!("198.51.100.{number}").parse().expect("valid")
    }

    fn record(number: u8, contact: i64, lines: Option<i64>) -> SourceRecord {
        SourceRecord {
            source: source(number),
            group: "web-1".parse().expect("valid"),
            first_seen: at(0),
            last_contact: at(contact),
            last_lines: lines.map(at),
            lag_bytes: 0,
            streams: Vec::new(),
            heartbeat: None,
            heartbeat_at: None,
        }
    }

    fn input<'a>(
        sources: &'a [SourceRecord],
        expected: &'a [SourceId],
        alerts: &'a [Alert],
    ) -> AlertInput<'a> {
        AlertInput {
            sources,
            expected,
            alerts,
            stale_after: STALE_AFTER,
            watched_for: Duration::MAX,
            hold: AlertHold::default(),
        }
    }

    #[test]
    fn a_source_with_contact_but_without_lines_is_quiet_and_raises_no_alert() {
        let sources = [record(1, 900, Some(0))];
        let state = SourceState::of(sources.first(), STALE_AFTER, at(1000));
        assert_eq!(state, SourceState::Quiet);
        let decision = decide(input(&sources, &[], &[]), at(1000));
        assert_eq!((decision.newly_silent, decision.back), (vec![], vec![]));
    }

    #[test]
    fn silent_and_missing_sources_are_alerted_together() {
        let sources = [record(1, 990, Some(990)), record(2, 700, Some(700))];
        let expected = [source(1), source(3)];
        let decision = decide(input(&sources, &expected, &[]), at(1000));
        let raised = decision.newly_silent.iter();
        let raised: Vec<_> = raised.map(|it| (&it.source, it.kind, it.since)).collect();
        let stale = (&source(2), AlertKind::Stale, Some(at(700)));
        assert_eq!(raised, [stale, (&source(3), AlertKind::Missing, None)]);
        assert_eq!((decision.silent, decision.watched), (2, 3));
    }

    #[test]
    fn a_silent_source_is_alerted_once_and_back_once() {
        let silent = [record(1, 0, Some(0))];
        let raised = decide(input(&silent, &[], &[]), at(300)).newly_silent;
        assert_eq!(raised.len(), 1);
        let decision = decide(input(&silent, &[], &raised), at(400));
        assert!(decision.newly_silent.is_empty());

        let back = [record(1, 410, Some(0))];
        let decision = decide(input(&back, &[], &raised), at(420));
        assert_eq!(decision.back, raised);
        assert!(decide(input(&back, &[], &[]), at(430)).back.is_empty());
    }

    #[test]
    fn no_source_is_silent_before_the_monitor_has_watched_for_the_limit() {
        let (silent, expected) = ([record(1, 0, None)], [source(3)]);
        let raised = |watched_for| {
            let input = AlertInput {
                watched_for,
                ..input(&silent, &expected, &[])
            };
            decide(input, at(1000)).newly_silent.len()
        };
        assert_eq!(raised(Duration::from_secs(1)), 0);
        assert_eq!(raised(STALE_AFTER), 2);
        let known = decide(input(&silent, &[], &[]), at(300)).newly_silent;
        let back = [record(1, 990, None)];
        let started_again = AlertInput {
            watched_for: Duration::ZERO,
            ..input(&back, &[], &known)
        };
        assert_eq!(
            decide(started_again, at(1000)).back,
            known,
            "a source that is back is back at once"
        );
    }

    #[test]
    fn a_source_that_flaps_gets_one_alert_and_is_back_after_steady_contact() {
        let hold = AlertHold {
            firing: Duration::ZERO,
            clear: Duration::from_mins(2),
        };
        let mut alerts = Vec::new();
        let (mut raised, mut back) = (0, 0);
        let mut contact = 0;
        for now in (0..7200).step_by(60) {
            // One contact each seven minutes in the first hour, then one each ten seconds.
            contact = if now < 3600 { now - now % 420 } else { now };
            let sources = [record(1, contact, None)];
            let input = AlertInput {
                hold,
                ..input(&sources, &[], &alerts)
            };
            let decision = decide(input, at(now));
            raised += decision.newly_silent.len();
            back += decision.back.len();
            let changed = decision.returning.iter().chain(&decision.back);
            let changed: Vec<_> = changed.map(|alert| alert.source.clone()).collect();
            alerts.retain(|alert: &Alert| !changed.contains(&alert.source));
            alerts.extend(decision.returning.into_iter().chain(decision.newly_silent));
        }
        assert!(contact > 3600);
        assert_eq!((raised, back), (1, 1));
    }

    #[test]
    fn an_alert_waits_until_the_source_was_stale_for_the_hold() {
        let silent = [record(1, 0, None)];
        let input = AlertInput {
            hold: AlertHold {
                firing: Duration::from_mins(1),
                clear: Duration::ZERO,
            },
            ..input(&silent, &[], &[])
        };
        assert!(decide(input, at(359)).newly_silent.is_empty());
        assert_eq!(decide(input, at(360)).newly_silent.len(), 1);
    }

    #[test]
    fn a_longer_limit_does_not_clear_an_alert() {
        let silent = [record(1, 0, None)];
        let raised = decide(input(&silent, &[], &[]), at(300)).newly_silent;
        let patient = AlertInput {
            stale_after: Duration::from_hours(1),
            ..input(&silent, &[], &raised)
        };
        assert!(decide(patient, at(400)).back.is_empty());
    }

    #[test]
    fn a_clock_set_back_neither_raises_an_alert_nor_hides_a_contact() {
        let silent = [record(1, 5000, None)];
        let raised = decide(input(&silent, &[], &[]), at(5300)).newly_silent;
        let back = [record(1, 1410, None)];
        assert_eq!(decide(input(&back, &[], &raised), at(1420)).back, raised);
        assert!(decide(input(&silent, &[], &[]), at(1420)).newly_silent.is_empty());
    }

    proptest! {
        /// For any sequence of contacts: raising and clearing take turns, clearing needs a contact, and every source that
        /// is silent when the rule runs has an alert.
        #[test]
        fn raising_and_clearing_take_turns(
            steps in prop::collection::vec((1_i64..400, any::<[bool; 3]>()), 1..200),
        ) {
            let expected = [source(0), source(1), source(2)];
            let mut contacts: [Option<i64>; 3] = [None; 3];
            let mut alerts: Vec<Alert> = Vec::new();
            let mut now = 0;
            for (pause, contact_made) in steps {
                now += pause;
                for (last, made) in contacts.iter_mut().zip(contact_made) {
                    if made {
                        *last = Some(now);
                    }
                }
                let sources: Vec<_> = (0_u8..)
                    .zip(contacts)
                    .filter_map(|(number, last)| Some(record(number, last?, None)))
                    .collect();
                let decision = decide(input(&sources, &expected, &alerts), at(now));
                for alert in &decision.newly_silent {
                    prop_assert!(alerts.iter().all(|known| known.source != alert.source), "alerted twice");
                }
                for alert in &decision.back {
                    prop_assert!(alerts.contains(alert), "back without an alert");
                }
                alerts.retain(|alert| !decision.back.contains(alert));
                alerts.extend(decision.newly_silent);
                for (number, last) in (0_u8..).zip(contacts) {
                    let is_silent = last.is_none_or(|last| now - last >= 300);
                    let is_alerted = alerts.iter().any(|alert| alert.source == source(number));
                    prop_assert_eq!(is_silent, is_alerted);
                }
            }
        }
    }
}
