//! How a source is, and whom people must hear about: the alert rule, without I/O.
//!
//! Invariants:
//! - Between two alerts for a source there is always a word that it is back.
//! - Silence alone makes an alert. A log without new lines does not: its sender still reports in.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{Alert, AlertKind, SourceRecord};
use logferry_protocol::names::SourceId;
use serde::Serialize;

use crate::words::age;

/// How a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// New lines came within `stale_after`.
    Active,
    /// It reports in, but its log has no new lines.
    Quiet,
    /// It was heard of, but not for `stale_after`.
    Stale,
    /// It is expected, and was never heard of.
    Missing,
}

impl SourceState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quiet => "quiet",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }

    /// The state of a source of which the ledger has this record, or none.
    pub(crate) fn of(record: Option<&SourceRecord>, stale_after: Duration, now: Timestamp) -> Self {
        let is_fresh = |at| age(at, now) < stale_after;
        match record {
            None => Self::Missing,
            Some(record) if !is_fresh(record.last_contact) => Self::Stale,
            Some(record) if record.last_lines.is_some_and(is_fresh) => Self::Active,
            Some(_) => Self::Quiet,
        }
    }

    const fn silence(self) -> Option<AlertKind> {
        match self {
            Self::Active | Self::Quiet => None,
            Self::Stale => Some(AlertKind::Stale),
            Self::Missing => Some(AlertKind::Missing),
        }
    }
}

/// Every source that was ever heard of or is expected, with its record if it has one.
pub(crate) fn roster<'a>(
    sources: &'a [SourceRecord],
    expected: &'a [SourceId],
) -> BTreeMap<&'a SourceId, Option<&'a SourceRecord>> {
    let expected = expected.iter().map(|source| (source, None));
    let heard_of = sources.iter().map(|record| (&record.source, Some(record)));
    expected.chain(heard_of).collect()
}

/// What the rule judges by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// The sources that were ever heard of.
    pub(crate) sources: &'a [SourceRecord],
    /// The sources that must exist.
    pub(crate) expected: &'a [SourceId],
    /// The sources about which people have been told.
    pub(crate) alerts: &'a [Alert],
    /// Silence of this length is too long.
    pub(crate) stale_after: Duration,
}

/// What people must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Silent, and nobody knows yet.
    pub(crate) newly_silent: Vec<Alert>,
    /// Alerted, and heard of again; with the alert that ends.
    pub(crate) back: Vec<Alert>,
    /// How many sources are silent now, the alerted ones included.
    pub(crate) silent: usize,
    /// How many sources there are.
    pub(crate) watched: usize,
}

/// The alert rule.
pub(crate) fn judge(evidence: Evidence<'_>, now: Timestamp) -> Verdict {
    let alerted: BTreeMap<_, _> = evidence
        .alerts
        .iter()
        .map(|alert| (&alert.source, alert))
        .collect();
    let roster = roster(evidence.sources, evidence.expected);
    let mut verdict = Verdict {
        newly_silent: Vec::new(),
        back: Vec::new(),
        silent: 0,
        watched: roster.len(),
    };
    for (source, record) in roster {
        let silence = SourceState::of(record, evidence.stale_after, now).silence();
        let last_contact = record.map(|record| record.last_contact);
        verdict.silent += usize::from(silence.is_some());
        match (silence, alerted.get(source)) {
            (Some(kind), None) => verdict.newly_silent.push(Alert {
                source: source.clone(),
                kind,
                since: last_contact,
                raised_at: now,
            }),
            // Only a contact that the alert did not know ends it: a longer `stale_after` does not, and a clock set
            // back does not hide one.
            (None, Some(alert)) if last_contact != alert.since => verdict.back.push((*alert).clone()),
            _ => {}
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STALE_AFTER: Duration = Duration::from_mins(5);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("in range")
    }

    fn source(number: u8) -> SourceId {
        format!("198.51.100.{number}").parse().expect("valid")
    }

    fn heard(number: u8, contact: i64, lines: Option<i64>) -> SourceRecord {
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

    fn evidence<'a>(
        sources: &'a [SourceRecord],
        expected: &'a [SourceId],
        alerts: &'a [Alert],
    ) -> Evidence<'a> {
        Evidence {
            sources,
            expected,
            alerts,
            stale_after: STALE_AFTER,
        }
    }

    #[test]
    fn a_source_that_reports_in_without_lines_is_quiet_and_no_alert() {
        let sources = [heard(1, 900, Some(0))];
        assert_eq!(
            SourceState::of(sources.first(), STALE_AFTER, at(1000)),
            SourceState::Quiet
        );
        let verdict = judge(evidence(&sources, &[], &[]), at(1000));
        assert_eq!((verdict.newly_silent, verdict.back), (vec![], vec![]));
    }

    #[test]
    fn silent_and_missing_sources_are_alerted_together() {
        let sources = [heard(1, 990, Some(990)), heard(2, 700, Some(700))];
        let expected = [source(1), source(3)];
        let verdict = judge(evidence(&sources, &expected, &[]), at(1000));
        let told: Vec<_> = verdict
            .newly_silent
            .iter()
            .map(|alert| (&alert.source, alert.kind, alert.since))
            .collect();
        assert_eq!(
            told,
            [
                (&source(2), AlertKind::Stale, Some(at(700))),
                (&source(3), AlertKind::Missing, None)
            ]
        );
        assert_eq!((verdict.silent, verdict.watched), (2, 3));
    }

    #[test]
    fn an_alerted_source_is_told_of_once_and_back_once() {
        let silent = [heard(1, 0, Some(0))];
        let raised = judge(evidence(&silent, &[], &[]), at(300)).newly_silent;
        assert_eq!(raised.len(), 1);
        assert!(
            judge(evidence(&silent, &[], &raised), at(400))
                .newly_silent
                .is_empty()
        );

        let back = [heard(1, 410, Some(0))];
        let verdict = judge(evidence(&back, &[], &raised), at(420));
        assert_eq!(verdict.back, raised);
        assert!(judge(evidence(&back, &[], &[]), at(430)).back.is_empty());
    }

    #[test]
    fn a_longer_limit_does_not_say_that_a_silent_source_is_back() {
        let silent = [heard(1, 0, None)];
        let raised = judge(evidence(&silent, &[], &[]), at(300)).newly_silent;
        let patient = Evidence {
            stale_after: Duration::from_hours(1),
            ..evidence(&silent, &[], &raised)
        };
        assert!(judge(patient, at(400)).back.is_empty());
    }

    #[test]
    fn a_clock_set_back_neither_alerts_nor_hides_that_a_source_is_back() {
        let silent = [heard(1, 5000, None)];
        let raised = judge(evidence(&silent, &[], &[]), at(5300)).newly_silent;
        let back = [heard(1, 1410, None)];
        assert_eq!(judge(evidence(&back, &[], &raised), at(1420)).back, raised);
        assert!(
            judge(evidence(&silent, &[], &[]), at(1420))
                .newly_silent
                .is_empty()
        );
    }

    proptest! {
        /// Whatever the sources do: alert and return take turns, a return needs a contact, and whoever is silent
        /// when the rule looks has been told of.
        #[test]
        fn alert_and_return_take_turns(
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
                    .filter_map(|(number, last)| Some(heard(number, last?, None)))
                    .collect();
                let verdict = judge(evidence(&sources, &expected, &alerts), at(now));
                for alert in &verdict.newly_silent {
                    prop_assert!(alerts.iter().all(|known| known.source != alert.source), "told twice");
                }
                for alert in &verdict.back {
                    prop_assert!(alerts.contains(alert), "back, but was never away");
                }
                alerts.retain(|alert| !verdict.back.contains(alert));
                alerts.extend(verdict.newly_silent);
                for (number, last) in (0_u8..).zip(contacts) {
                    let is_silent = last.is_none_or(|last| now - last >= 300);
                    let is_alerted = alerts.iter().any(|alert| alert.source == source(number));
                    prop_assert_eq!(is_silent, is_alerted);
                }
            }
        }
    }
}
