//! Mails as people get them.

use std::time::Duration;

use jiff::tz::Offset;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(6))
}

fn news(kind: NewsKind, rule: &str, subject: &str, severity: Severity) -> News {
    let is_over = kind == NewsKind::Over;
    News {
        kind,
        incident: Incident {
            id: None,
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            severity,
            text: format!("{subject} is {rule}"),
            advice: "look at `logferry status`".to_owned(),
            channels: Vec::new(),
            clear_after: Duration::from_mins(2),
            since: at("2026-11-21T02:20:03Z"),
            opened_at: Some(at("2026-11-21T02:20:03Z")),
            gone_since: is_over.then(|| at("2026-11-21T02:32:03Z")),
            closed_at: is_over.then(|| at("2026-11-21T02:34:03Z")),
            told: Some(severity),
            told_at: None,
            returns: 0,
            relapses: 0,
        },
    }
}

fn written(news: &[News]) -> NewMail {
    let open = OpenNow { open: 4, silenced: 1 };
    let mail = mail(news, &[], open, &zone(), at("2026-11-21T02:40:00Z"));
    mail.expect("a mail").mail
}

#[test]
fn one_mail_has_all_that_changed_the_worst_first_with_what_to_do() {
    let mail = written(&[
        news(NewsKind::Over, "late", "edw", Severity::Warning),
        news(NewsKind::Opened, "behind", "198.51.100.7", Severity::Warning),
        news(NewsKind::Opened, "stale", "198.51.100.1", Severity::Critical),
    ]);
    assert_eq!(mail.subject, "critical: stale 198.51.100.1, behind 198.51.100.7");
    assert_eq!(
        mail.text,
        "2 new, 1 over\n\
         \n\
         CRITICAL: stale 198.51.100.1\n\
         - 198.51.100.1 is stale\n\
         - since 2026-11-21 08:20:03 +06:00\n\
         - to do: look at `logferry status`\n\
         \n\
         WARNING: behind 198.51.100.7\n\
         - 198.51.100.7 is behind\n\
         - since 2026-11-21 08:20:03 +06:00\n\
         - to do: look at `logferry status`\n\
         \n\
         OVER: late edw\n\
         - it lasted 12 min, from 2026-11-21 08:20:03 +06:00 to 2026-11-21 08:32:03\n\
         \x20 +06:00\n\
         - it was: edw is late\n\
         \n\
         Open now: 4 incidents, 1 of them silenced. `logferry alerts` on the relay host\n\
         \x20 lists all with their timelines; `logferry alerts silence SUBJECT --for 2h\n\
         \x20 --why TEXT` mutes one.\n"
    );
}

#[test]
fn the_subject_of_many_stays_short_and_names_each_rule_once() {
    let many: Vec<_> = (0..300)
        .map(|number| {
            news(
                NewsKind::Opened,
                "stale",
                &format!("198.51.100.{number}"),
                Severity::Critical,
            )
        })
        .collect();
    let mail = written(&many);
    assert_eq!(
        mail.subject,
        "critical: stale 198.51.100.0, 198.51.100.1, 198.51.100.2 and 297 more"
    );
    assert!(mail.text.contains("And 200 more."), "{}", mail.text);
    let long = news(NewsKind::Opened, "held", &"/p".repeat(200), Severity::Warning);
    assert!(written(&[long]).subject.len() < 80);
}

#[test]
fn what_is_over_says_how_long_it_was_and_a_reminder_that_it_is_one() {
    let over = news(NewsKind::Over, "down", "edw", Severity::Critical);
    assert_eq!(written(&[over]).subject, "over: down edw after 12 min");
    let disk = news(NewsKind::Opened, "disk full", "disk", Severity::Critical);
    assert_eq!(written(&[disk]).subject, "critical: disk full");
    let open = news(NewsKind::StillOpen, "down", "edw", Severity::Critical);
    let mail = written(&[open]);
    assert_eq!(mail.subject, "still open, critical: down edw");
    assert!(
        mail.text.contains("CRITICAL, STILL OPEN: down edw"),
        "{}",
        mail.text
    );
}

#[test]
fn nothing_of_an_incident_becomes_markup() {
    let hostile = news(NewsKind::Opened, "held", "a:<img src=x>", Severity::Warning);
    let html = written(&[hostile]).html.expect("a twin");
    assert!(
        !html.contains("<img") && html.contains("&lt;img src=x&gt;"),
        "{html}"
    );
    assert!(html.contains("<code style=\"font-size:13px;\">logferry status</code>"));
}

#[test]
fn what_another_channel_tells_is_not_mailed() {
    let mut chat = news(NewsKind::Opened, "orders", "shop", Severity::Warning);
    chat.incident.channels = vec!["chat".to_owned()];
    let now = at("2026-11-21T02:40:00Z");
    let mail = mail(&[chat], &["[]".to_owned()], OpenNow::default(), &zone(), now);
    assert_eq!(mail, None, "nor is a waiting mail written anew for it");
}

/// The mails of these looks, if none of them was sent.
fn unsent(looks: &[Vec<News>]) -> IncidentMail {
    let (mut waiting, mut last) = (Vec::new(), None);
    let (open, now) = (OpenNow::default(), at("2026-11-21T02:40:00Z"));
    for look in looks {
        if let Some(next) = mail(look, &waiting, open, &zone(), now) {
            waiting = vec![next.news.clone()];
            last = Some(next);
        }
    }
    last.expect("news")
}

#[test]
fn what_began_and_ended_before_the_mail_was_sent_is_told_once_with_both_times() {
    let of = |kind| news(kind, "stale", "198.51.100.1", Severity::Critical);
    let other = news(NewsKind::Opened, "behind", "198.51.100.7", Severity::Warning);
    let mail = unsent(&[vec![of(NewsKind::Opened), other], vec![of(NewsKind::Over)]]).mail;
    assert_eq!(mail.subject, "warning: behind 198.51.100.7");
    assert!(mail.text.starts_with("1 new, 1 over\n"), "{}", mail.text);
    let times = "it lasted 12 min, from 2026-11-21 08:20:03 +06:00 to 2026-11-21 08:32:03";
    assert!(mail.text.contains(times), "{}", mail.text);
    assert_eq!(
        mail.text.matches("stale 198.51.100.1").count(),
        1,
        "{}",
        mail.text
    );
}

#[test]
fn what_began_and_became_worse_is_told_as_new_and_as_bad_as_it_is() {
    let of = |kind, severity| news(kind, "disk", "disk", severity);
    let mail = unsent(&[
        vec![of(NewsKind::Opened, Severity::Warning)],
        vec![of(NewsKind::Worse, Severity::Critical)],
    ]);
    assert_eq!(mail.mail.subject, "critical: disk");
    assert!(
        !mail.mail.text.contains("WORSE"),
        "nobody knew of it: {}",
        mail.mail.text
    );
}

proptest! {
    #[test]
    fn each_incident_is_in_the_last_mail_once_and_none_is_lost(
        // Of up to six incidents: in which look each begins, becomes worse and ends.
        incidents in proptest::collection::vec((0..8_usize, proptest::option::of(0..4_usize), proptest::option::of(0..6_usize)), 1..6),
    ) {
        let mut looks = vec![Vec::new(); 20];
        for (number, (begin, worse, end)) in incidents.iter().enumerate() {
            let of = |kind| news(kind, "stale", &number.to_string(), Severity::Critical);
            looks[*begin].push(of(NewsKind::Opened));
            let worse = worse.map_or(*begin, |after| begin + 1 + after);
            if worse > *begin {
                looks[worse].push(of(NewsKind::Worse));
            }
            if let Some(after) = end {
                looks[worse + 1 + after].push(of(NewsKind::Over));
            }
        }
        looks.retain(|look| !look.is_empty());
        let told = waiting_news::together(&[unsent(&looks).news], Vec::new());
        prop_assert_eq!(told.len(), incidents.len());
        for (number, (_, _, end)) in incidents.iter().enumerate() {
            let of: Vec<_> = told.iter().filter(|it| it.incident.subject == number.to_string()).collect();
            let expected = if end.is_some() { NewsKind::Over } else { NewsKind::Opened };
            prop_assert_eq!(of.iter().map(|it| it.kind).collect::<Vec<_>>(), vec![expected]);
            prop_assert_eq!(of[0].incident.since, at("2026-11-21T02:20:03Z"), "the original time");
        }
    }
}

#[test]
fn news_of_another_version_are_left_out() {
    let now = vec![news(NewsKind::Opened, "stale", "a", Severity::Critical)];
    let waiting = ["{}".to_owned(), "[{\"kind\":\"odd\"}]".to_owned(), String::new()];
    assert_eq!(waiting_news::together(&waiting, now).len(), 1);
}
