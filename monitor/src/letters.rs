//! What the alert mails say.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_ledger::{Alert, NewMail};

use crate::judge::Verdict;
use crate::words::{age, counted, moment, span};

/// Sources named in a subject; the text names all.
const NAMED_MAX: usize = 3;

/// The mail for all sources newly silent or missing.
pub(crate) fn silent(verdict: &Verdict, stale_after: Duration, zone: &TimeZone, now: Timestamp) -> NewMail {
    let (silent, watched) = (verdict.silent, counted(verdict.watched, "source"));
    let mut lines = vec![format!(
        "Nothing was heard for {} or longer from {}. Silent now: {silent} of {watched}.",
        span(stale_after),
        counted(verdict.newly_silent.len(), "source"),
    )];
    if silent == verdict.watched && silent > 1 {
        lines.push("All of them are: look at the relay and its network first.".to_owned());
    }
    lines.push(String::new());
    for alert in &verdict.newly_silent {
        let when = match alert.since {
            Some(since) => format!(
                "last heard of at {} ({} ago)",
                moment(since, zone),
                span(age(since, now))
            ),
            None => "expected, but never heard of".to_owned(),
        };
        lines.push(format!("{}: {}, {when}", alert.source, alert.kind.as_str()));
    }
    NewMail {
        subject: format!("silent: {} ({silent} of {watched})", named(&verdict.newly_silent)),
        text: text_of(&lines),
        html: None,
    }
}

/// The mail for all sources that are heard of again.
pub(crate) fn back(verdict: &Verdict, zone: &TimeZone) -> NewMail {
    let watched = counted(verdict.watched, "source");
    let first = match verdict.silent {
        0 => format!("All {watched} are heard of now. These are back:"),
        silent => format!("These are back. Still silent: {silent} of {watched}."),
    };
    let mut lines = vec![first, String::new()];
    for alert in &verdict.back {
        lines.push(format!(
            "{}: {} since the alert of {}",
            alert.source,
            alert.kind.as_str(),
            moment(alert.raised_at, zone)
        ));
    }
    NewMail {
        subject: format!("back: {}", named(&verdict.back)),
        text: text_of(&lines),
        html: None,
    }
}

/// The mail of `test-mail`.
pub(crate) fn test() -> NewMail {
    NewMail {
        subject: "test mail".to_owned(),
        text:
            "This is the mail that logferry test-mail sends. Alerts and hourly summaries come the same way.\n"
                .to_owned(),
        html: None,
    }
}

fn text_of(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn named(alerts: &[Alert]) -> String {
    let first: Vec<_> = alerts
        .iter()
        .take(NAMED_MAX)
        .map(|alert| alert.source.as_str())
        .collect();
    match alerts.len().saturating_sub(NAMED_MAX) {
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
        let kind = if since.is_some() {
            AlertKind::Stale
        } else {
            AlertKind::Missing
        };
        Alert {
            source: format!("198.51.100.{number}").parse().expect("valid"),
            kind,
            since: since.map(|at| at.parse().expect("a time")),
            raised_at: "2026-11-21T02:30:00Z".parse().expect("a time"),
        }
    }

    fn zone() -> TimeZone {
        TimeZone::fixed(Offset::constant(6))
    }

    #[test]
    fn an_alert_names_who_since_when_and_how_many_of_how_many() {
        let verdict = Verdict {
            newly_silent: vec![alert(1, Some("2026-11-21T02:20:03Z")), alert(2, None)],
            back: vec![],
            silent: 3,
            watched: 12,
        };
        let now = "2026-11-21T02:30:00Z".parse().expect("a time");
        let mail = silent(&verdict, Duration::from_mins(5), &zone(), now);
        assert_eq!(
            mail.subject,
            "silent: 198.51.100.1, 198.51.100.2 (3 of 12 sources)"
        );
        assert_eq!(
            mail.text,
            "Nothing was heard for 5m or longer from 2 sources. Silent now: 3 of 12 sources.\n\
             \n\
             198.51.100.1: stale, last heard of at 2026-11-21 08:20:03 +06:00 (9m57s ago)\n\
             198.51.100.2: missing, expected, but never heard of\n"
        );
    }

    #[test]
    fn when_all_are_silent_one_mail_points_to_the_relay() {
        let verdict = Verdict {
            newly_silent: (1..=200)
                .map(|number| alert(number, Some("2026-11-21T02:20:03Z")))
                .collect(),
            back: vec![],
            silent: 200,
            watched: 200,
        };
        let now = "2026-11-21T02:30:00Z".parse().expect("a time");
        let mail = silent(&verdict, Duration::from_mins(5), &zone(), now);
        assert_eq!(
            mail.subject,
            "silent: 198.51.100.1, 198.51.100.2, 198.51.100.3 and 197 more (200 of 200 sources)"
        );
        assert!(mail.text.contains("look at the relay and its network first"));
        assert_eq!(mail.text.lines().count(), 203);
    }

    #[test]
    fn a_return_names_who_and_how_many_are_silent_still() {
        let verdict = Verdict {
            newly_silent: vec![],
            back: vec![alert(1, Some("2026-11-21T02:20:03Z"))],
            silent: 2,
            watched: 12,
        };
        let mail = back(&verdict, &zone());
        assert_eq!(mail.subject, "back: 198.51.100.1");
        assert_eq!(
            mail.text,
            "These are back. Still silent: 2 of 12 sources.\n\
             \n\
             198.51.100.1: stale since the alert of 2026-11-21 08:30:00 +06:00\n"
        );
    }
}
