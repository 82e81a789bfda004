//! The text of the alert mails.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_ledger::{Alert, NewMail};
use logferry_text::{count_of, duration};

use super::alert_rule::AlertDecision;
use crate::time::{age, local_time};

/// Sources named in a subject. The text names all.
const SUBJECT_SOURCES_MAX: usize = 3;

/// One mail for all sources that are newly silent or missing.
pub(crate) fn silent_mail(
    decision: &AlertDecision,
    stale_after: Duration,
    zone: &TimeZone,
    now: Timestamp,
) -> NewMail {
    let (silent, watched) = (decision.silent, count_of(decision.watched as u64, "source"));
    let newly_silent = count_of(decision.newly_silent.len() as u64, "source");
    let mut lines = vec![format!(
        "No contact for {} or longer from {newly_silent}. Silent now: {silent} of {watched}.",
        duration(stale_after),
    )];
    if silent == decision.watched && silent > 1 {
        lines.push("All sources are silent: check the relay and its network first.".to_owned());
    }
    lines.push(String::new());
    for alert in &decision.newly_silent {
        let contact = match alert.since {
            Some(since) => {
                let (at, ago) = (local_time(since, zone), duration(age(since, now)));
                format!("last contact at {at} ({ago} ago)")
            }
            None => "expected, but never made contact".to_owned(),
        };
        lines.push(format!("{}: {}, {contact}", alert.source, alert.kind.as_str()));
    }
    let names = named(&decision.newly_silent);
    plain_mail(format!("silent: {names} ({silent} of {watched})"), &lines)
}

/// One silent source, as a sentence of the log.
pub(crate) fn silence(alert: &Alert, now: Timestamp) -> String {
    let source = &alert.source;
    match alert.since {
        Some(since) => format!(
            "source {source} is silent: its sender has sent nothing for {}",
            duration(age(since, now))
        ),
        None => format!("source {source} is missing: it is expected, and its sender has never made contact"),
    }
}

/// One mail for all sources that made contact again.
pub(crate) fn back_mail(decision: &AlertDecision, zone: &TimeZone) -> NewMail {
    let watched = count_of(decision.watched as u64, "source");
    let first = match decision.silent {
        0 => format!("No source is silent now ({watched} watched). These made contact again:"),
        silent => format!("These made contact again. Still silent: {silent} of {watched}."),
    };
    let mut lines = vec![first, String::new()];
    for alert in &decision.back {
        let (source, kind) = (&alert.source, alert.kind.as_str());
        let raised_at = local_time(alert.raised_at, zone);
        lines.push(format!("{source}: was {kind}, alert of {raised_at}"));
    }
    plain_mail(format!("back: {}", named(&decision.back)), &lines)
}

fn plain_mail(subject: String, lines: &[String]) -> NewMail {
    NewMail {
        subject,
        text: lines.join("\n") + "\n",
        html: None,
    }
}

fn named(alerts: &[Alert]) -> String {
    let names = alerts.iter().map(|alert| alert.source.as_str());
    let first: Vec<_> = names.take(SUBJECT_SOURCES_MAX).collect();
    match alerts.len().saturating_sub(SUBJECT_SOURCES_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;
    use logferry_ledger::AlertKind;

    use super::*;

    fn alert(number: u8, since: Option<&str>) -> Alert {
        Alert {
            source: format!("198.51.100.{number}").parse().expect("valid"),
            kind: since.map_or(AlertKind::Missing, |_| AlertKind::Stale),
            since: since.map(|at| at.parse().expect("a time")),
            raised_at: now(),
            back_since: None,
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T02:30:00Z".parse().expect("a time")
    }

    fn zone() -> TimeZone {
        TimeZone::fixed(Offset::constant(6))
    }

    #[test]
    fn an_alert_names_the_sources_their_last_contact_and_how_many_are_silent() {
        let decision = AlertDecision {
            newly_silent: vec![alert(1, Some("2026-11-21T02:20:03Z")), alert(2, None)],
            silent: 3,
            watched: 12,
            ..AlertDecision::default()
        };
        let mail = silent_mail(&decision, Duration::from_mins(5), &zone(), now());
        assert_eq!(
            mail.subject,
            "silent: 198.51.100.1, 198.51.100.2 (3 of 12 sources)"
        );
        assert_eq!(
            mail.text,
            "No contact for 5 min or longer from 2 sources. Silent now: 3 of 12 sources.\n\
             \n\
             198.51.100.1: stale, last contact at 2026-11-21 08:20:03 +06:00 (9 min 57 s ago)\n\
             198.51.100.2: missing, expected, but never made contact\n"
        );
    }

    #[test]
    fn when_all_sources_are_silent_one_mail_points_to_the_relay() {
        let silent = |number| alert(number, Some("2026-11-21T02:20:03Z"));
        let decision = AlertDecision {
            newly_silent: (1..=200).map(silent).collect(),
            silent: 200,
            watched: 200,
            ..AlertDecision::default()
        };
        let mail = silent_mail(&decision, Duration::from_mins(5), &zone(), now());
        assert_eq!(
            mail.subject,
            "silent: 198.51.100.1, 198.51.100.2, 198.51.100.3 and 197 more (200 of 200 sources)"
        );
        assert!(mail.text.contains("check the relay and its network first"));
        assert_eq!(mail.text.lines().count(), 203);
    }

    #[test]
    fn a_return_names_the_sources_and_how_many_are_still_silent() {
        let decision = AlertDecision {
            back: vec![alert(1, Some("2026-11-21T02:20:03Z"))],
            silent: 2,
            watched: 12,
            ..AlertDecision::default()
        };
        let mail = back_mail(&decision, &zone());
        assert_eq!(mail.subject, "back: 198.51.100.1");
        assert_eq!(
            mail.text,
            "These made contact again. Still silent: 2 of 12 sources.\n\
             \n\
             198.51.100.1: was stale, alert of 2026-11-21 08:30:00 +06:00\n"
        );
    }
}
