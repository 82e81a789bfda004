//! Examples of the machine's rules.

use super::*;
use crate::incidents::condition::Severity;
use crate::incidents::machine::histories::Remembered;

const HOLD: AlertHold = AlertHold {
    firing: Duration::ZERO,
    clear: Duration::from_mins(2),
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("in range")
}

pub(super) fn condition(subject: &str, severity: Severity) -> Condition {
    Condition {
        rule: "stale".to_owned(),
        subject: subject.to_owned(),
        severity,
        text: "it is silent".to_owned(),
        advice: "look at it".to_owned(),
        hold: None,
        channels: Vec::new(),
    }
}

fn seen(subjects: &[&str]) -> Observation {
    let conditions = subjects.iter().map(|it| condition(it, Severity::Critical));
    Observation {
        conditions: conditions.collect(),
        unjudged: Vec::new(),
    }
}

fn silence(subject: &str, until: i64) -> Silence {
    Silence {
        subject: subject.to_owned(),
        since: at(0),
        until: at(until),
        why: "maintenance".to_owned(),
    }
}

/// The subjects of a look's news, with their kinds.
fn told(outcome: &LookOutcome) -> Vec<(NewsKind, &str)> {
    let news = outcome.news.iter();
    news.map(|it| (it.kind, it.incident.subject.as_str())).collect()
}

#[test]
fn what_begins_and_ends_is_told_once_each_with_how_long_it_lasted() {
    let mut memory = Remembered::default();
    let begun = memory.look(&seen(&["a"]), HOLD, at(0));
    assert_eq!(told(&begun), [(NewsKind::Opened, "a")]);
    for minute in 1..5 {
        assert_eq!(told(&memory.look(&seen(&["a"]), HOLD, at(minute * 60))), []);
    }
    assert_eq!(told(&memory.look(&seen(&[]), HOLD, at(300))), []);
    assert_eq!(told(&memory.look(&seen(&[]), HOLD, at(419))), []);
    let over = memory.look(&seen(&[]), HOLD, at(420));
    assert_eq!(told(&over), [(NewsKind::Over, "a")]);
    assert_eq!(
        over.updates[0].entries[0].text, "over; it lasted 5 min",
        "until it was gone, not until that was believed"
    );
    assert_eq!(memory.look(&seen(&[]), HOLD, at(480)), LookOutcome::default());
}

#[test]
fn a_timeline_says_that_the_cause_is_gone_and_back() {
    let mut memory = Remembered::default();
    let mut noted = Vec::new();
    for (second, subjects) in [(0, &["a"][..]), (60, &[]), (90, &["a"])] {
        let outcome = memory.look(&seen(subjects), HOLD, at(second));
        let entries = outcome.updates.into_iter().flat_map(|update| update.entries);
        noted.extend(entries.map(|entry| entry.text));
    }
    let expected = [
        "the cause is gone; the incident is over if it stays away for 2 min",
        "the cause is back",
    ];
    assert_eq!(noted[1..], expected);
}

#[test]
fn a_source_that_flaps_ten_times_in_ten_minutes_makes_one_incident() {
    for clear in [0, 120] {
        let hold = AlertHold {
            firing: Duration::ZERO,
            clear: Duration::from_secs(clear),
        };
        let mut memory = Remembered::default();
        let mut news = Vec::new();
        for second in (0..4200).step_by(30) {
            let flaps = second < 600 && second % 60 == 0;
            let observed = seen(if flaps { &["a"] } else { &[] });
            news.extend(memory.look(&observed, hold, at(second)).news);
        }
        let alerts = news.iter().filter(|it| it.kind == NewsKind::Opened).count();
        // Without a hold the first end is told before anybody can know that it flaps.
        let expected = if clear == 0 { 2 } else { 1 };
        assert_eq!((alerts, news.len()), (expected, 2 * expected), "clear {clear}");
    }
}

#[test]
fn a_problem_shorter_than_the_hold_leaves_no_trace() {
    let hold = AlertHold {
        firing: Duration::from_mins(5),
        ..HOLD
    };
    let mut memory = Remembered::default();
    for second in [0, 299] {
        assert_eq!(told(&memory.look(&seen(&["a"]), hold, at(second))), []);
    }
    memory.look(&seen(&[]), hold, at(330));
    assert_eq!(memory.incidents, []);
    memory.look(&seen(&["a"]), hold, at(400));
    let lasts = memory.look(&seen(&["a"]), hold, at(700));
    assert_eq!(told(&lasts), [(NewsKind::Opened, "a")]);
}

#[test]
fn what_becomes_worse_is_told_again_and_what_becomes_better_is_not() {
    let mut memory = Remembered::default();
    let mut look = |severity, second| {
        let conditions = vec![condition("a", severity)];
        let observed = Observation {
            conditions,
            unjudged: Vec::new(),
        };
        memory
            .look(&observed, HOLD, at(second))
            .news
            .iter()
            .map(|it| it.kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(look(Severity::Warning, 0), [NewsKind::Opened]);
    assert_eq!(look(Severity::Critical, 60), [NewsKind::Worse]);
    assert_eq!(look(Severity::Warning, 120), []);
    assert_eq!(look(Severity::Critical, 180), [], "they know that it was as bad");
}

#[test]
fn what_cannot_be_judged_stays_as_it_is() {
    let mut memory = Remembered::default();
    memory.look(&seen(&["a:/log"]), HOLD, at(0));
    let unknown = Observation {
        conditions: Vec::new(),
        unjudged: vec![Unjudged {
            rule: Some("stale".to_owned()),
            subject: Some("a".to_owned()),
        }],
    };
    for second in [60, 600, 6000] {
        assert_eq!(memory.look(&unknown, HOLD, at(second)), LookOutcome::default());
    }
    memory.look(&seen(&[]), HOLD, at(6060));
    assert_eq!(
        told(&memory.look(&seen(&[]), HOLD, at(6180))),
        [(NewsKind::Over, "a:/log")]
    );
}

#[test]
fn a_silenced_subject_is_told_when_the_silence_ends_if_it_still_is_so() {
    let mut memory = Remembered {
        silences: vec![silence("a", 3600)],
        ..Remembered::default()
    };
    let begun = memory.look(&seen(&["a", "b"]), HOLD, at(60));
    assert_eq!(told(&begun), [(NewsKind::Opened, "b")]);
    assert_eq!(told(&memory.look(&seen(&["a", "b"]), HOLD, at(3599))), []);
    let late = memory.look(&seen(&["a", "b"]), HOLD, at(3600));
    assert_eq!(told(&late), [(NewsKind::Opened, "a")]);
    assert_eq!(late.news[0].incident.since, at(60));
}

#[test]
fn who_was_told_of_the_beginning_is_told_of_the_end_though_it_is_silenced() {
    let mut memory = Remembered::default();
    memory.look(&seen(&["a"]), HOLD, at(0));
    memory.silences = vec![silence("a", 9000)];
    memory.look(&seen(&["b", "a:x"]), HOLD, at(60));
    let over = memory.look(&seen(&["b", "a:x"]), HOLD, at(180));
    assert_eq!(told(&over), [(NewsKind::Over, "a")]);
    memory.look(&seen(&["b"]), HOLD, at(240));
    assert_eq!(
        told(&memory.look(&seen(&["b"]), HOLD, at(400))),
        [],
        "nobody knew of a:x"
    );
}

#[test]
fn one_reminder_a_day_names_all_that_is_open() {
    let mut memory = Remembered::default();
    memory.look(&seen(&["a"]), HOLD, at(0));
    let mut reminders = Vec::new();
    for minute in 1..3 * 1440 {
        let subjects: &[&str] = if minute < 600 { &["a"] } else { &["a", "b"] };
        let outcome = memory.look(&seen(subjects), HOLD, at(minute * 60));
        let mut told = told(&outcome);
        told.retain(|(kind, _)| *kind == NewsKind::StillOpen);
        if !told.is_empty() {
            reminders.push((minute, told.len()));
        }
    }
    assert_eq!(reminders, [(1440, 2), (2880, 2)]);
}

#[test]
fn a_clock_that_is_set_back_neither_tells_twice_nor_keeps_an_incident_for_ever() {
    let mut memory = Remembered::default();
    memory.look(&seen(&["a"]), HOLD, at(90_000));
    memory.look(&seen(&[]), HOLD, at(90_060));
    assert_eq!(told(&memory.look(&seen(&[]), HOLD, at(0))), []);
    let over = memory.look(&seen(&[]), HOLD, at(120));
    assert_eq!(told(&over), [(NewsKind::Over, "a")]);
}

#[test]
fn of_two_conditions_with_one_name_the_worse_counts() {
    let observed = Observation {
        conditions: vec![
            condition("a", Severity::Critical),
            condition("a", Severity::Warning),
        ],
        unjudged: Vec::new(),
    };
    let outcome = Remembered::default().look(&observed, HOLD, at(0));
    assert_eq!(outcome.news.len(), 1);
    assert_eq!(outcome.news[0].incident.severity, Severity::Critical);
}
