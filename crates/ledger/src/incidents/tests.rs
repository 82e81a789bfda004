//! Incidents and silences in a real ledger.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::*;
use crate::monitor::state::{IncidentMail, NewMail};
use crate::{FILE_NAME, Ledger};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("in range")
}

fn update(subject: &str) -> IncidentUpdate {
    IncidentUpdate {
        incident: Incident {
            id: None,
            rule: "stale".to_owned(),
            subject: subject.to_owned(),
            severity: Severity::Critical,
            text: "it is silent".to_owned(),
            advice: "look".to_owned(),
            channels: vec!["mail".to_owned(), "chat".to_owned()],
            clear_after: Duration::from_mins(2),
            since: at(0),
            opened_at: Some(at(1)),
            gone_since: None,
            closed_at: None,
            told: None,
            told_at: None,
            returns: 3,
            relapses: 1,
        },
        entries: vec![TimelineEntry {
            at: at(1),
            text: "critical: it is silent".to_owned(),
        }],
        is_dropped: false,
    }
}

fn mail(news: &str) -> IncidentMail {
    let mail = NewMail {
        subject: format!("critical: {news}"),
        text: "text".to_owned(),
        html: None,
    };
    IncidentMail {
        mail,
        news: news.to_owned(),
    }
}

#[test]
fn a_mail_takes_the_place_of_those_that_no_server_can_have_got() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut ledger = Ledger::open_or_create(dir.path())?;
    let record = |ledger: &mut Ledger, news: &str, second| {
        let mut told = Vec::new();
        let compose = |waiting: &[String]| {
            told = waiting.to_vec();
            Some(mail(news))
        };
        ledger
            .record_incidents(&[], compose, &[], at(second))
            .map(|()| told)
    };
    assert_eq!(record(&mut ledger, "a", 1)?, [""; 0]);
    let begun = ledger.due_mails(at(1))?[0].id;
    assert!(ledger.mail_announced(begun)?, "a server may have got it");
    assert_eq!(record(&mut ledger, "b", 2)?, [""; 0], "so it is told by itself");
    let second = ledger.due_mails(at(2))?[1].id;
    ledger.mail_failed(second, "no route", at(60), 0)?;
    ledger.record_incidents(&[], |_| None, &[], at(3))?;
    assert_eq!(ledger.due_mails(at(60))?.len(), 2, "nothing takes its place");
    assert_eq!(record(&mut ledger, "c", 9)?, ["b"]);
    let [first, merged] = &ledger.due_mails(at(9))?[..] else {
        panic!("two mails")
    };
    assert_eq!((first.id, &*merged.content.subject), (begun, "critical: c"));
    assert_eq!(
        (merged.created_at, merged.attempts),
        (at(2), 1),
        "as old, and tried as often"
    );
    assert!(merged.id != second, "a mail in flight must not be taken for it");
    assert!(
        !ledger.mail_announced(second)?,
        "it is not in the outbox any more"
    );
    assert_eq!(ledger.mail_backlog()?.last_error.as_deref(), Some("no route"));
    Ok(())
}

#[test]
fn an_incident_outlives_a_restart_and_its_mail_is_queued_with_it() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut ledger = Ledger::open_or_create(dir.path())?;
    let mail = mail("stale a");
    ledger.record_incidents(&[update("a")], |_| Some(mail), &[], at(1))?;
    drop(ledger);
    let mut ledger = Ledger::open(dir.path())?;
    let [stored] = &ledger.incidents(Timestamp::MAX)?[..] else {
        panic!("one")
    };
    let new = update("a").incident;
    let id = stored.id.ok_or("an id")?;
    assert_eq!(*stored, Incident { id: Some(id), ..new });
    assert_eq!(
        (ledger.due_mails(at(1))?.len(), ledger.timeline(id)?.len()),
        (1, 1)
    );

    // It ends, and begins again: two rows.
    let closed = IncidentUpdate {
        incident: Incident {
            gone_since: Some(at(5)),
            closed_at: Some(at(9)),
            ..stored.clone()
        },
        ..update("a")
    };
    ledger.record_incidents(&[closed], |_| None, &[], at(9))?;
    ledger.record_incidents(&[update("a")], |_| None, &[], at(10))?;
    assert_eq!(ledger.incidents(Timestamp::MAX)?.len(), 1);
    assert_eq!(ledger.incidents(at(9))?.len(), 2);
    assert!(
        ledger
            .record_incidents(&[update("a")], |_| None, &[], at(11))
            .is_err(),
        "one at a time"
    );
    assert_eq!(ledger.forget_incidents(at(10), 100, 10)?, 1);
    assert_eq!(ledger.timeline(id)?, [], "it goes with its incident");
    Ok(())
}

#[test]
fn a_timeline_and_the_closed_incidents_have_a_bound() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut ledger = Ledger::open_or_create(dir.path())?;
    let mut many = update("a");
    let entry = |second| TimelineEntry {
        at: at(second),
        text: "again".to_owned(),
    };
    many.entries = (0..250).map(entry).collect();
    ledger.record_incidents(&[many], |_| None, &[], at(0))?;
    let id = ledger.incidents(at(0))?[0].id.ok_or("an id")?;
    let timeline = ledger.timeline(id)?;
    assert_eq!((timeline.len(), timeline[0].at), (TIMELINE_MAX as usize, at(150)));
    for number in 0..20 {
        let mut closed = update("b");
        closed.incident.closed_at = Some(at(number));
        ledger.record_incidents(&[closed], |_| None, &[], at(number))?;
    }
    assert_eq!(ledger.forget_incidents(at(-1), 5, 100)?, 15);
    let kept = ledger.incidents(at(0))?;
    let oldest = kept.iter().filter_map(|it| it.closed_at).min();
    assert_eq!((kept.len(), oldest), (6, Some(at(15))));
    Ok(())
}

#[test]
fn a_silence_is_noted_on_what_it_mutes_and_ends_by_itself() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut ledger = Ledger::open_or_create(dir.path())?;
    ledger.record_incidents(&[update("a:/log"), update("b")], |_| None, &[], at(1))?;
    let silence = Silence {
        subject: "a".to_owned(),
        since: at(10),
        until: at(70),
        why: "moving".to_owned(),
    };
    let outcome = ledger.silence(&silence)?;
    assert_eq!(outcome, SilenceOutcome::Silenced { muted: 1 });
    assert_eq!(ledger.silences(at(69))?, std::slice::from_ref(&silence));
    assert_eq!(ledger.silences(at(70))?, []);
    let id = ledger.incidents(at(1))?[0].id.ok_or("an id")?;
    let text = &ledger.timeline(id)?[1].text;
    assert!(
        text.starts_with("silenced until ") && text.ends_with(": moving"),
        "{text}"
    );
    assert!(ledger.end_silence("a", at(20))? && !ledger.end_silence("a", at(20))?);
    Ok(())
}

/// A ledger of the version before incidents, with each kind of alert that it had.
#[test]
fn the_alerts_of_an_older_version_become_incidents_that_people_know() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let sqlite = Connection::open(dir.path().join(FILE_NAME))?;
    crate::schema::before(&sqlite, INCIDENTS_STEP)?;
    sqlite.execute_batch(
        "INSERT INTO alerts (source, kind, since, raised_at, back_since) VALUES
            ('198.51.100.1', 'stale', 1000, 2000, NULL), ('198.51.100.2', 'missing', NULL, 2000, 2500);
         INSERT INTO log_alerts (source, path, reason, since, raised_at, gone_since) VALUES
            ('198.51.100.3', '/log/a', 'no such file', 1000, 2000, NULL),
            ('198.51.100.3', '/log/b', 'not told yet', 1000, NULL, NULL),
            ('198.51.100.3', 'state_dir', 'it cannot be written', 1000, 2000, 2500),
            ('role.forwarder', 'key_file /k does not exist', '', 1000, 2000, NULL);",
    )?;
    drop(sqlite);
    let ledger = Ledger::open(dir.path())?;
    let incidents = ledger.incidents(Timestamp::MAX)?;
    let shown: Vec<_> = incidents
        .iter()
        .map(|it| (it.rule.as_str(), it.subject.as_str(), it.gone_since.is_some()))
        .collect();
    let expected = [
        ("stale", "198.51.100.1", false),
        ("missing", "198.51.100.2", true),
        ("files", "forwarder:key_file /k does not exist", false),
        ("checkpoint", "198.51.100.3", true),
        ("held", "198.51.100.3:/log/a", false),
    ];
    assert_eq!(shown, expected);
    assert!(incidents.iter().all(|it| it.is_open() && it.told.is_some()));
    Ok(())
}
