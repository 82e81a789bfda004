//! Files of logs, as a host brings them forth.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn file(numbers: impl IntoIterator<Item = u64>, life: u64) -> BTreeMap<u64, i128> {
    let time = |number| i128::from(number * 10_000_000 + life);
    numbers.into_iter().map(|number| (number, time(number))).collect()
}

/// Captures a file, and returns what was new.
fn capture(logs: &mut EventLogs, records: &BTreeMap<u64, i128>) -> Vec<u64> {
    capture_at("live.evtx", logs, records)
}

fn capture_at(path: &str, logs: &mut EventLogs, records: &BTreeMap<u64, i128>) -> Vec<u64> {
    let file = ReadEvents::new(Path::new(path), records.clone());
    if logs.is_captured(&file) {
        logs.captured_whole(&file);
        return Vec::new();
    }
    if logs.open(&file, true) != OpenedLog::Opened {
        return Vec::new();
    }
    let new: Vec<u64> = records
        .keys()
        .copied()
        .filter(|number| logs.is_new(*number))
        .collect();
    for number in &new {
        logs.captured((*number, records[number]), new.last() == Some(number));
    }
    logs.captured_whole(&file);
    *logs = EventLogs::of_position(Some(&logs.position()));
    new
}

#[test]
fn live_file_and_its_archives_are_one_log() {
    let mut logs = EventLogs::default();
    assert_eq!(capture(&mut logs, &file(1..=100, 0)).len(), 100);
    // The live file went round, its beginning is gone; then it is archived under another name.
    assert_eq!(
        capture(&mut logs, &file(90..=130, 0)),
        (101..=130).collect::<Vec<_>>()
    );
    assert_eq!(capture(&mut logs, &file(1..=100, 0)), [0; 0]);
    assert_eq!(capture(&mut logs, &file(1..=130, 0)), [0; 0]);
}

#[test]
fn cleared_log_and_another_hosts_log_are_new_ones() {
    let mut logs = EventLogs::default();
    capture(&mut logs, &file(1..=100, 0));
    assert_eq!(capture(&mut logs, &file(1..=10, 5)).len(), 10);
    assert_eq!(capture(&mut logs, &file(1..=100, 7)).len(), 100);
    assert_eq!(capture(&mut logs, &file(1..=100, 0)), [0; 0]);
}

#[test]
fn file_of_two_lives_of_a_log_waits_until_it_is_copied_whole() {
    let mut logs = EventLogs::default();
    capture(&mut logs, &file(1..=100, 0));
    let before = logs.clone();
    let mut records = file(1..=100, 0);
    records.extend(file(1..=50, 7));
    let mixed = ReadEvents::new(Path::new("live.evtx"), records);
    assert_eq!(logs.open(&mixed, false), OpenedLog::Mixed);
    assert_eq!(logs, before);
    assert_eq!(capture(&mut logs, &file(1..=50, 7)).len(), 50);
}

#[test]
fn record_that_could_not_be_read_is_new_when_it_can() {
    let mut logs = EventLogs::default();
    capture(&mut logs, &file((1..=50).chain(60..=100), 0));
    assert_eq!(
        capture(&mut logs, &file(1..=100, 0)),
        (51..=59).collect::<Vec<_>>()
    );
}

#[test]
fn log_that_was_overwritten_whole_goes_on_with_a_named_gap() {
    let mut logs = EventLogs::default();
    capture(&mut logs, &file(1..=100, 0));
    let later = file(150..=200, 0);
    assert_eq!(capture(&mut logs, &later).len(), 51);
    assert_eq!(logs.missing_before(&later), [(101, 149)]);
    assert_eq!(logs.logs.len(), 1);
    // Cleared: its numbers begin anew, and later it is overwritten whole, too.
    assert_eq!(capture(&mut logs, &file(1..=20, 9_000_000_000)).len(), 20);
    let later = file(30..=40, 9_000_000_000);
    capture(&mut logs, &later);
    assert_eq!(
        (logs.missing_before(&later), logs.logs.len()),
        (vec![(21, 29)], 2)
    );
    // Numbers that go on, at another place or with earlier times, are another log's.
    capture_at("other.evtx", &mut logs, &file(300..=310, 0));
    capture(&mut logs, &file(300..=310, 5));
    assert_eq!(logs.logs.len(), 4);
}

#[test]
fn log_is_known_when_its_newest_part_cannot_be_read_and_after_many_readings() {
    let mut logs = EventLogs::default();
    for newest in 1000..3000 {
        capture(&mut logs, &file(newest - 900..=newest, 0));
    }
    assert_eq!(capture(&mut logs, &file(2200..=2800, 0)), [0; 0]);
    assert_eq!(capture(&mut logs, &file(2100..=2500, 0)), [0; 0]);
}

#[test]
fn archives_stay_known_while_their_log_goes_on() {
    let mut logs = EventLogs::default();
    let archive = |number: u64| file(number * 10_000 + 1..=number * 10_000 + 10_000, 0);
    for number in 0..100 {
        capture(&mut logs, &archive(number));
        assert_eq!(
            capture_at(&format!("Archive-{number}.evtx"), &mut logs, &archive(number)),
            [0; 0]
        );
    }
    for number in 0..100 {
        let path = format!("moved/Archive-{number}.evtx");
        assert_eq!(capture_at(&path, &mut logs, &archive(number)), [0; 0], "{number}");
    }
    assert_eq!(logs.logs.len(), 1);
}

#[test]
fn live_log_beside_its_archives_goes_on_at_its_own_path() {
    let mut logs = EventLogs::default();
    capture(&mut logs, &file(1..=20, 0));
    for round in 0..200 {
        let first = round * 100 + 1;
        // The archive has what was overwritten in the live file since it was read.
        let archive = file(first..=first + 39, 0);
        let path = format!("Archive-{round}.evtx");
        assert_eq!(capture_at(&path, &mut logs, &archive).len(), 20, "{round}");
        let live = file(first + 100..=first + 119, 0);
        assert_eq!(capture(&mut logs, &live).len(), 20, "{round}");
    }
    assert_eq!(logs.logs.len(), 1);
}

#[test]
fn log_that_is_cleared_often_is_read_on_and_logs_that_have_files_stay_known() {
    let mut logs = EventLogs::default();
    capture_at("other.evtx", &mut logs, &file(1..=9, 7000));
    for life in 0..200 {
        assert_eq!(
            capture_at("live.evtx", &mut logs, &file(1..=9, life)).len(),
            9,
            "{life}"
        );
    }
    assert_eq!(logs.logs.len(), LOGS_MAX);
    assert_eq!(capture_at("other.evtx", &mut logs, &file(1..=10, 7000)), [10]);
    // Those that were cleared last are known still.
    assert_eq!(capture_at("copy.evtx", &mut logs, &file(1..=9, 190)), [0; 0]);
}

#[test]
fn position_of_many_logs_fits() {
    let mut logs = EventLogs::default();
    for life in 0..1000 {
        let sparse = (1..30).map(|number| number * MARK_EVERY * 1_000_000);
        capture_at(&format!("{life}.evtx"), &mut logs, &file(sparse, life));
    }
    assert_eq!((logs.logs.len(), logs.files.len()), (LOGS_MAX, LOGS_MAX));
    for number in 0..1000_u64 {
        let known = ReadEvents::new(Path::new(&format!("x{number}")), file([number], 0));
        logs.captured_whole(&known);
    }
    let len = logs.position().to_string().len();
    assert!(len < 64 << 10, "{len}");
}

proptest! {
    /// A live file of a log that is read now and then, whatever parts cannot be read.
    #[test]
    fn each_record_is_new_once(reads in vec((0..60_u64, 0..60_u64, 0..3_u64), 1..20)) {
        let mut logs = EventLogs::default();
        let mut captured = Vec::new();
        let mut newest = 100;
        for (grows, keeps, hole) in reads {
            newest += grows;
            let oldest = newest - 40 - keeps;
            let readable = (oldest..=newest).filter(|number| hole == 0 || number % 17 != hole || *number == newest || *number == oldest);
            captured.extend(capture(&mut logs, &file(readable, 0)));
        }
        let count = captured.len();
        captured.sort_unstable();
        captured.dedup();
        prop_assert_eq!(captured.len(), count, "a record was new twice");
    }
}
