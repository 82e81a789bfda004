use logferry_ledger::Delivery;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::schedule::plan::tests::{batches, delivery};

const START: i64 = 1_790_000_400;
const WAIT: Duration = Duration::from_mins(32);

const WINDOW: Window = Window {
    start: START,
    seconds: 1200,
    utc_offset: 21_600,
};

/// So many seconds after the window's end.
fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(WINDOW.end() + seconds).unwrap()
}

/// A batch in a state; delivered or not.
fn batch(number: usize, state: BatchState, is_delivered: bool, is_listed: bool) -> WindowBatch {
    let mut batch = batches(&[START; 10]).remove(number);
    batch.state = state;
    batch.contents.lines = 10;
    let delivery = Delivery {
        path: Some(format!("/in/{}", batch.file_name())),
        ..delivery(&batch, None, is_delivered.then(|| after(60)))
    };
    WindowBatch {
        batch,
        delivery: Some(delivery),
        is_listed,
    }
}

fn delivered(number: usize) -> WindowBatch {
    batch(number, BatchState::Sent, true, false)
}

/// A source that has reported, with nothing left, so long after the window's end.
fn reported(seconds: i64) -> WindowSource {
    WindowSource {
        source: "198.51.100.1".parse().unwrap(),
        group: Some("web-1".parse().unwrap()),
        reach: SourceReach {
            first_seen: Some(after(-100_000)),
            last_contact: Some(after(seconds)),
            reported_at: Some(after(seconds)),
            lag_bytes: Some(0),
            ..SourceReach::default()
        },
    }
}

/// The same with another reach.
fn with(source: &WindowSource, change: impl FnOnce(&mut SourceReach)) -> WindowSource {
    let mut source = source.clone();
    change(&mut source.reach);
    source
}

fn input<'a>(
    batches: &'a [WindowBatch],
    sources: &'a [WindowSource],
    previous: Option<(u32, &'a str)>,
) -> WindowInput<'a> {
    WindowInput {
        window: WINDOW,
        batches,
        sources,
        previous,
    }
}

fn decided(batches: &[WindowBatch], sources: &[WindowSource], now: Timestamp) -> Option<Value> {
    let manifest = due_manifest(input(batches, sources, None), WAIT, now);
    manifest.map(|new| serde_json::from_str(&new.content).unwrap())
}

fn states(said: &Value) -> Vec<&str> {
    let sources = said["sources"].as_array().unwrap();
    sources
        .iter()
        .map(|source| source["state"].as_str().unwrap())
        .collect()
}

#[test]
fn window_is_due_when_all_is_there_and_every_source_is_through() {
    let all = [delivered(0)];
    let said = decided(&all, &[reported(40)], after(60)).unwrap();
    assert_eq!((&said["whole"], states(&said)), (&true.into(), vec!["delivered"]));
    assert_eq!(said["window"]["label"], "20-39");
    assert_eq!(said["window"]["start"], "2026-09-21T20:20:00+06:00");
    assert_eq!(said["window"]["end"], "2026-09-21T20:40:00+06:00");
    let quiet = decided(&[], &[reported(40)], after(60)).unwrap();
    assert_eq!((&quiet["whole"], states(&quiet)), (&true.into(), vec!["quiet"]));
    assert_eq!(
        decided(&all, &[reported(10)], after(60)),
        None,
        "reported too early"
    );
    assert_eq!(decided(&all, &[reported(40)], after(20)), None, "too early");
    let behind = with(&reported(40), |reach| reach.lag_bytes = Some(1));
    assert_eq!(decided(&all, std::slice::from_ref(&behind), after(60)), None);
    let past = with(&behind, |reach| reach.reached = Some(WINDOW.end()));
    assert!(
        decided(&all, &[past], after(60)).is_some(),
        "its lines have gone past the window"
    );
}

#[test]
fn after_the_wait_it_is_said_who_is_behind_or_missing() {
    let silent = |name: &str, contact: Option<i64>| WindowSource {
        source: name.parse().unwrap(),
        ..with(&reported(0), |reach| {
            reach.last_contact = contact.map(after);
            reach.first_seen = contact.map(|_| after(-100_000));
            reach.reported_at = None;
        })
    };
    let sources = [
        silent("a", Some(-1300)),
        silent("b", Some(-100)),
        silent("c", None),
        silent("d", Some(-700_000)),
    ];
    assert_eq!(decided(&[], &sources, after(1919)), None);
    let said = decided(&[], &sources, after(1920)).unwrap();
    assert_eq!(
        states(&said),
        ["missing", "behind", "missing"],
        "who is long gone is not named"
    );
    assert_eq!(said["whole"], false);
    let newcomer = with(&silent("e", Some(5)), |reach| {
        reach.first_seen = Some(after(0));
    });
    let said = decided(&[], &[newcomer], after(60)).unwrap();
    assert_eq!(states(&said), [""; 0], "who came later is not missing");
}

#[test]
fn a_window_is_not_whole_while_a_sender_has_files_that_it_cannot_read_or_has_not_resolved() {
    let hidden = with(&reported(2000), |reach| {
        reach.lag_bytes = None;
        reach.reached = Some(WINDOW.end());
    });
    let all = [delivered(0)];
    assert_eq!(
        decided(&all, std::slice::from_ref(&hidden), after(1919)),
        None,
        "its other logs have gone past the window, but nobody knows of this one"
    );
    let said = decided(&all, &[hidden], after(1920)).unwrap();
    assert_eq!((&said["whole"], states(&said)), (&false.into(), vec!["behind"]));
}

#[test]
fn what_was_sent_before_the_destination_was_there_is_neither_waited_for_nor_listed() {
    let old = WindowBatch {
        delivery: None,
        ..delivered(1)
    };
    let said = decided(&[delivered(0), old], &[], after(60)).unwrap();
    assert_eq!(said["totals"]["files"], 1);
}

#[test]
fn revisions_are_numbered_and_name_what_they_add() {
    let listed = batch(0, BatchState::Sent, true, true);
    let amended = |previous: (u32, &str)| {
        let batches = [listed.clone(), delivered(1)];
        due_manifest(input(&batches, &[], Some(previous)), WAIT, after(60)).unwrap()
    };
    let second = amended((1, "WINDOW_26092120_20-39.json"));
    assert_eq!(
        (second.revision, second.name.as_str()),
        (2, "WINDOW_26092120_20-39_r2.json")
    );
    let said: Value = serde_json::from_str(&second.content).unwrap();
    assert_eq!(said["added"].as_array().unwrap().len(), 1);
    assert_eq!(said["totals"]["files"], 2);
    let third = amended((2, &second.name));
    assert_eq!(
        (third.revision, third.name.as_str()),
        (3, "WINDOW_26092120_20-39_r3.json")
    );
    let input = input(std::slice::from_ref(&listed), &[], Some((1, "x.json")));
    assert_eq!(due_manifest(input, WAIT, after(100_000)), None, "nothing new");
}

proptest! {
    #[test]
    fn manifest_lists_all_that_is_there_and_is_never_due_while_something_is_on_its_way(
        given in prop::collection::vec(
            (prop::sample::select(&BatchState::ALL), any::<bool>(), any::<bool>()), 0..8),
        seconds in 0i64..5000,
        is_amended: bool,
    ) {
        let all: Vec<_> = given
            .iter()
            .enumerate()
            .map(|(number, (state, is_delivered, is_listed))| batch(number, *state, *is_delivered, *is_listed))
            .collect();
        let input = input(&all, &[], is_amended.then_some((1, "WINDOW_x.json")));
        let is_there = |it: &(BatchState, bool, bool)| it.0 != BatchState::Open && it.1;
        match due_manifest(input, WAIT, after(seconds)) {
            Some(new) => {
                prop_assert!(given.iter().all(is_there));
                prop_assert_eq!(new.batches.len(), given.len());
                prop_assert!(!is_amended || given.iter().any(|it| !it.2));
            }
            None => prop_assert!(
                seconds < 30 || !given.iter().all(is_there) || (is_amended && given.iter().all(|it| it.2))
            ),
        }
    }
}
