//! What each measure makes of made-up minutes, over time too, and when a rule would have fired.

use std::path::Path;
use std::time::Duration;

use logferry_config::{AlertHold, RuleSettings, parse};
use logferry_fields::Level;
use logferry_numbers::{CountedLine, Counts, SeriesKey};

use crate::arrived_lines::ArrivedLines;
use crate::course::{CourseStep, course};
use crate::evaluate::{RuleState, evaluate, subject, text};
use crate::minute_sums::{CounterColumn, RuleNumbers};
use crate::replay::replay;

/// 2026-11-21T02:20:00Z.
const NOW: i64 = 1_795_227_600;

/// A rule with these settings beside its name, as the file has them.
fn rule(rule: &str) -> RuleSettings {
    let text = format!(
        "monitor:\n  smtp: {{host: h, from: a@example.com, to: [a@example.com]}}\n  rules: [{{name: r, {rule}}}]\nindexer: {{}}\n"
    );
    let config = parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
    config.monitor.expect("a section").rules.pop().expect("one")
}

/// `b` has no log.
fn key(source: &str) -> SeriesKey {
    SeriesKey {
        source: source.to_owned(),
        group: format!("group-{}", source.len()),
        log: (source != "b").then(|| "access".to_owned()),
    }
}

fn line(status: u16) -> CountedLine {
    CountedLine {
        bytes: 100,
        status: Some(status),
        level: Some(if status >= 500 { Level::Error } else { Level::Info }),
        is_parsed: true,
        request_micros: None,
    }
}

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// Minutes by their distance from now, each with a source, lines, and how many of them are 5xx. In order.
type Minutes<'a> = &'a [(i64, &'a str, u64, u64)];

fn numbers(settings: &str, minutes: Minutes<'_>) -> RuleNumbers {
    let rule = rule(settings);
    let column = CounterColumn::of(&rule.counter, &[]).expect("built in");
    let lately: Vec<_> = ["a", "b"].map(key).into();
    let mut numbers = RuleNumbers::new(&rule, &lately, minutes.first().map(|(at, ..)| NOW + at * MINUTE));
    for (at, source, lines, errors) in minutes {
        let mut counts = Counts::default();
        (0..*errors).for_each(|_| counts.count(&line(503)));
        (*errors..*lines).for_each(|_| counts.count(&line(200)));
        numbers.add(&rule, column, NOW + at * MINUTE, &key(source), &counts);
    }
    numbers
}

/// The texts of what fires now, by subject.
fn firing(settings: &str, minutes: Minutes<'_>) -> Vec<String> {
    let rule = rule(settings);
    let states = evaluate(&rule, &numbers(settings, minutes), NOW);
    let firing = states.iter().filter(|state| state.state == RuleState::Fires);
    firing
        .map(|state| format!("{}: {}", subject(&state.value), text(&rule, state)))
        .collect()
}

fn states(settings: &str, minutes: Minutes<'_>) -> Vec<RuleState> {
    let states = evaluate(&rule(settings), &numbers(settings, minutes), NOW);
    states.iter().map(|state| state.state).collect()
}

#[test]
fn each_measure_is_compared_with_its_limit() {
    let minutes: Minutes<'_> = &[
        (-20, "a", 1, 0),
        (-5, "a", 60, 3),
        (-1, "a", 40, 2),
        (-1, "b", 100, 0),
    ];
    for (settings, expected) in [
        (
            "counter: lines, above: 199",
            "all: lines: 200 in 5 min, above 199",
        ),
        (
            "counter: bytes, above: 10KiB",
            "all: bytes: 20,000 in 5 min, above 10240",
        ),
        (
            "counter: lines, measure: rate, above: 0.6",
            "all: lines: 0.67 a second over 5 min, above 0.6 a second",
        ),
        (
            "counter: status_5xx, measure: share, above: 2%",
            "all: status_5xx: 2.5% of 200 lines in 5 min, above 2%",
        ),
        (
            "counter: level_error, measure: share, above: 4.9%, by: source",
            "a: level_error: 5% of 100 lines in 5 min, above 4.9%",
        ),
        (
            "counter: lines, below: 101, source: a, by: log",
            "access: lines: 100 in 5 min, below 101",
        ),
        (
            "counter: status_5xx, absent: true, over: 3m, by: source",
            "b: no status_5xx in 3 min",
        ),
        (
            "counter: lines, above: 99, by: group, group: 'group-*', over: 1m",
            "group-1: lines: 140 in 1 min, above 99",
        ),
    ] {
        assert_eq!(firing(settings, minutes), [expected], "{settings}");
    }
    for settings in [
        "counter: lines, above: 200",
        "counter: lines, below: 200",
        "counter: lines, absent: true",
    ] {
        assert!(firing(settings, minutes).is_empty(), "{settings}");
    }
}

#[test]
fn ratios_compare_with_the_same_minutes_of_yesterday_or_of_a_week_ago() {
    let (day, week) = (-DAY / MINUTE, -7 * DAY / MINUTE);
    let minutes: Minutes<'_> = &[
        (week - 6, "a", 1, 0),
        (week - 5, "a", 100, 0),
        (day - 6, "a", 500, 0),
        (day - 5, "a", 60, 0),
        (day - 1, "a", 60, 0),
        (day, "a", 500, 0),
        (-5, "a", 50, 0),
    ];
    assert_eq!(
        firing("counter: lines, measure: ratio_to_yesterday, below: 50%", minutes),
        ["all: lines: 50 in 5 min, 41.67% of the 120 of yesterday, below 50%"]
    );
    assert_eq!(
        firing(
            "counter: lines, measure: ratio_to_last_week, below: 50.1%",
            minutes
        ),
        ["all: lines: 50 in 5 min, 50% of the 100 of a week ago, below 50.1%"]
    );
    let by_source = "counter: lines, measure: ratio_to_yesterday, below: 50%, by: source";
    assert_eq!(
        states(by_source, minutes),
        [RuleState::Fires, RuleState::Unknown],
        "b had none yesterday"
    );
}

#[test]
fn lines_where_yesterday_had_none_are_not_too_few() {
    let ratio = "counter: lines, measure: ratio_to_yesterday, below: 50%";
    let long_ago = -2 * DAY / MINUTE;
    let minutes: Minutes<'_> = &[(long_ago, "a", 1, 0), (-1, "a", 10, 0)];
    assert_eq!(states(ratio, minutes), [RuleState::Well]);
    assert_eq!(states(ratio, &minutes[..1]), [RuleState::Unknown]);
}

#[test]
fn what_is_not_known_does_not_fire() {
    let share = "counter: status_5xx, measure: share, below: 1%";
    assert_eq!(
        states(share, &[(-60, "a", 10, 0)]),
        [RuleState::Unknown],
        "no lines"
    );
    let few = "counter: lines, below: 100, over: 5m";
    assert_eq!(
        states(few, &[(-4, "a", 10, 0)]),
        [RuleState::Unknown],
        "nobody counted the minute before"
    );
    assert_eq!(states(few, &[(-5, "a", 10, 0)]), [RuleState::Fires]);
    assert_eq!(
        states("counter: lines, above: 9", &[(-4, "a", 10, 0)]),
        [RuleState::Fires],
        "more cannot make it fewer"
    );
    let ratio = "counter: lines, measure: ratio_to_yesterday, above: 1%, over: 2m";
    let day = -DAY / MINUTE;
    assert_eq!(
        states(ratio, &[(day - 1, "a", 10, 0), (-1, "a", 10, 0)]),
        [RuleState::Unknown],
        "half of a baseline"
    );
    assert_eq!(states("counter: lines, absent: true", &[]), [RuleState::Unknown]);
}

#[test]
fn source_that_had_lines_lately_and_has_none_now_is_evaluated() {
    assert_eq!(
        firing(
            "counter: lines, absent: true, by: source",
            &[(-30, "a", 5, 0), (-1, "b", 5, 0)]
        ),
        ["a: no lines in 5 min"]
    );
}

/// In minutes.
fn hold(firing: u64, clear: u64) -> AlertHold {
    AlertHold {
        firing: Duration::from_mins(firing),
        clear: Duration::from_mins(clear),
    }
}

#[test]
fn replay_says_when_people_would_have_been_told() {
    let settings = "counter: status_5xx, measure: share, above: 5%, over: 2m, by: source";
    let bad = |at: i64| (at, "a", 10, if at == -25 { 5 } else { 1 });
    let mut minutes = vec![(-60, "a", 10, 0)];
    minutes.extend((-30..-20).map(bad));
    minutes.extend((-20..-10).map(|at| (at, "a", 10, 0)));
    minutes.extend((-2..0).map(bad));
    let replayed = |hold| {
        let firings = replay(
            &rule(settings),
            &numbers(settings, &minutes),
            hold,
            NOW - 3600,
            NOW,
        );
        let minute = |at: jiff::Timestamp| (at.as_second() - NOW) / MINUTE;
        let shown = firings.iter().map(|it| (minute(it.from), it.until.map(minute)));
        (
            shown.collect::<Vec<_>>(),
            firings.first().map(|it| it.text.clone()),
        )
    };
    // The minute -30 ends at -29; the share of the two minutes until -19 is 5%, which is not above.
    let (shown, text) = replayed(hold(0, 0));
    assert_eq!(shown, [(-29, Some(-19)), (-1, None)]);
    assert_eq!(
        text.as_deref(),
        Some("status_5xx: 30% of 20 lines in 2 min, above 5%")
    );
    assert_eq!(replayed(hold(5, 0)).0, [(-24, Some(-19))]);
    assert_eq!(replayed(hold(9, 0)).0, [(-20, Some(-19))]);
    assert_eq!(replayed(hold(10, 0)).0, []);
    assert_eq!(replayed(hold(0, 9)).0, [(-29, Some(-10)), (-1, None)]);
    // From -8 to -2 there are no lines: a share of nothing is no end.
    assert_eq!(replayed(hold(0, 17)).0, [(-29, None)]);
}

#[test]
fn what_has_not_lasted_for_its_hold_begins_anew_after_a_time_with_nothing_to_measure() {
    let settings = "counter: status_5xx, measure: share, above: 5%, over: 1m, by: source";
    let minutes = [(-55, "a", 10, 0), (-50, "a", 10, 5), (-2, "a", 10, 5)];
    let hold = hold(10, 0);
    let firings = replay(
        &rule(settings),
        &numbers(settings, &minutes),
        hold,
        NOW - 3600,
        NOW,
    );
    assert_eq!(firings, []);
}

#[test]
fn course_has_the_worst_minute_of_each_step_and_nothing_where_nothing_is_known() {
    let errors = "counter: status_5xx, measure: share, above: 5%, over: 1m, by: source";
    let minutes: Minutes<'_> = &[(-9, "a", 10, 1), (-8, "a", 10, 4), (-2, "a", 10, 0)];
    let drawn = |settings: &str, value: &str| {
        let course = course(&rule(settings), &numbers(settings, minutes), value, (300, 3), NOW)?;
        assert_eq!((course.from, course.step_seconds), (NOW - 900, 300));
        let worst = course.worst(&rule(settings));
        let steps = course.steps.into_iter();
        let steps = steps.map(|CourseStep { measured, fires }| (measured, fires));
        Some((steps.collect::<Vec<_>>(), worst))
    };
    let steps = vec![(None, false), (Some(0.4), true), (Some(0.0), false)];
    assert_eq!(drawn(errors, "a"), Some((steps, Some(0.4))));
    assert_eq!(drawn(errors, "c"), None, "no such source");
    let few = "counter: lines, below: 10, over: 5m";
    // Five minutes that begin before the first counted one say nothing.
    let steps = vec![(None, false), (None, false), (Some(0.0), true)];
    assert_eq!(drawn(few, ""), Some((steps, Some(0.0))));
}

#[test]
fn too_few_lines_are_not_told_while_some_may_be_on_their_way() {
    use RuleState::{Fires, Waits, Well};

    let below = "counter: lines, below: 5, over: 5m";
    let minutes: Minutes<'_> = &[(-1000, "a", 1, 0), (-3, "b", 2, 0)];
    let state = |settings: &str, arrived: &[(&str, i64)]| {
        let arrived: Vec<_> = arrived.iter().map(|(source, ago)| (*source, NOW - ago)).collect();
        let numbers = numbers(settings, minutes).with_arrived(ArrivedLines::at(&arrived));
        let states = evaluate(&rule(settings), &numbers, NOW);
        states.into_iter().map(|state| state.state).collect::<Vec<_>>()
    };
    assert_eq!(state(below, &[]), [Fires], "clients that never report");
    assert_eq!(state(below, &[("a", 20), ("b", -10)]), [Fires]);
    assert_eq!(state(below, &[("a", 21), ("b", -10)]), [Waits]);
    // A host that was taken away keeps no rule from firing, but nobody says anything while all are silent.
    let day = 86_400;
    assert_eq!(state(below, &[("a", day), ("b", -10)]), [Fires]);
    assert_eq!(state(below, &[("a", day), ("b", day)]), [Waits]);
    let by = "counter: lines, absent: true, by: source";
    assert_eq!(state(by, &[("a", 900), ("b", 900)]), [Waits, Well]);
    assert_eq!(state(by, &[("b", 900)]), [Fires, Well]);
    // What is there already is enough to say that it is too much.
    assert_eq!(
        state("counter: lines, above: 1", &[("a", 900), ("b", 900)]),
        [Fires]
    );
}
