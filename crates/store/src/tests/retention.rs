//! Retention: each segment goes when its time is over, and none before, whatever a crash or damage left.

use std::path::Path;
use std::time::Duration;

use logferry_durable::Disk;
use logferry_testkit::SimDisk;

use super::fixture::{MIDNIGHT_MS, STORE, append, lines, open, random, store_of};
use crate::segment::{SegmentFile, StoreFolder};
use crate::{StoreLimits, StorePosition, StoreWriter};

const HOUR: StoreLimits = StoreLimits {
    age: Some(Duration::from_hours(1)),
    max_bytes: 1 << 40,
    min_free: 0,
};

/// Every segment was closed long before this.
const LATER_MS: i64 = MIDNIGHT_MS + 100_000_000;

/// The files of closed segments.
fn closed(disk: &SimDisk, position: StorePosition) -> Vec<String> {
    let names = disk.list(&Path::new(STORE).join("segments")).expect("listed");
    let is_closed = |name: &String| {
        SegmentFile::split(name)
            .is_some_and(|(number, kind)| number < position.segment && kind != SegmentFile::Tail)
    };
    names.into_iter().filter(is_closed).collect()
}

fn opened(disk: &SimDisk, position: StorePosition) -> StoreWriter<SimDisk> {
    open(disk, Some(position)).expect("opened").writer
}

#[test]
fn segment_closed_before_the_first_sync_of_an_opening_is_kept() {
    let lines = lines(&mut random(1), 400);
    let disk = SimDisk::new();
    let mut writer = open(&disk, None).expect("opened").writer;
    for line in &lines {
        append(&mut writer, line).expect("added");
    }
    let position = writer.sync(MIDNIGHT_MS + 1000).expect("synced");
    writer.recorded().expect("removed");
    assert!(position.segment > 1, "{position}");
    let freed = writer.remove_expired(HOUR, MIDNIGHT_MS + 1000).expect("removed");
    assert_eq!(freed.bytes, 0);
    writer.remove_expired(HOUR, LATER_MS).expect("removed");
    assert_eq!(closed(&disk, position), [""; 0]);
}

#[test]
fn retention_goes_on_after_a_crash_at_each_remove() {
    let lines = lines(&mut random(2), 900);
    let mut count = 0;
    for power_fails in [false, true] {
        for changes in 0.. {
            let (disk, position) = store_of(&lines);
            assert!(closed(&disk, position).len() > 4);
            let mut writer = opened(&disk, position);
            disk.fail_after(changes);
            let first = writer.remove_expired(HOUR, LATER_MS);
            if power_fails {
                disk.power_loss(changes);
            } else {
                disk.heal();
            }
            // The last segment that has lost its index goes once one behind it is closed.
            let mut writer = opened(&disk, position);
            for line in &lines[..300] {
                append(&mut writer, line).expect("added");
            }
            let segment = writer.sync(LATER_MS).expect("synced").segment;
            writer.recorded().expect("removed");
            assert!(segment > position.segment, "{segment}");
            writer.remove_expired(HOUR, LATER_MS).expect("no more faults");
            assert_eq!(closed(&disk, position), [""; 0], "after {changes} changes");
            count += 1;
            if first.is_ok() {
                break;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn segment_without_a_good_index_goes_with_the_next_one_that_has_one() {
    let lines = lines(&mut random(3), 900);
    let (disk, position) = store_of(&lines);
    assert!(position.segment > 3, "{position}");
    let index = |number| StoreFolder::new(Path::new(STORE)).file(number, SegmentFile::Index);
    disk.remove(&index(0)).expect("removed");
    logferry_testkit::batches::put_file(&disk, &index(1), b"no index");
    let mut writer = opened(&disk, position);
    let freed = writer.remove_expired(HOUR, MIDNIGHT_MS).expect("removed");
    assert_eq!(
        (freed.bytes, closed(&disk, position)[0].as_str()),
        (0, "0000000000.frames")
    );
    writer.remove_expired(HOUR, LATER_MS).expect("removed");
    assert_eq!(closed(&disk, position), [""; 0]);
}

#[test]
fn oldest_segments_go_while_the_disk_has_too_little_room() {
    let lines = lines(&mut random(4), 900);
    let (disk, position) = store_of(&lines);
    let mut writer = opened(&disk, position);
    let before = closed(&disk, position);
    let limits = |min_free| StoreLimits {
        age: None,
        min_free,
        ..HOUR
    };
    disk.set_free_bytes(1000);
    let removed = writer.remove_expired(limits(1000), LATER_MS).expect("removed");
    assert_eq!((removed.for_space, closed(&disk, position)), (0, before.clone()));
    let removed = writer.remove_expired(limits(1001), LATER_MS).expect("removed");
    assert_eq!(removed.for_space, 1, "one is enough");
    assert!(removed.bytes > 0);
    let left = closed(&disk, position);
    assert_eq!(left, before[before.len() - left.len()..], "the oldest goes");
    let removed = writer.remove_expired(limits(1 << 50), LATER_MS).expect("removed");
    assert!(removed.for_space > 1);
    assert_eq!(closed(&disk, position), [""; 0]);
}

#[test]
fn segment_of_many_short_sessions_is_closed_by_its_age() {
    let lines = lines(&mut random(5), 40);
    let disk = SimDisk::new();
    let hour = 3_600_000;
    let (mut position, mut closed_at) = (None, Vec::new());
    for (number, line) in lines.iter().enumerate() {
        let now_ms = LATER_MS + i64::try_from(number).expect("small") * hour / 4;
        let opened = crate::writer::open_with(
            disk.clone(),
            Path::new(STORE),
            position,
            now_ms,
            crate::writer::SegmentLimits::default(),
        );
        let mut writer = opened.expect("opened").writer;
        append(&mut writer, line).expect("added");
        let synced = writer.sync(now_ms).expect("synced");
        writer.recorded().expect("removed");
        if position.is_some_and(|before: StorePosition| before.segment < synced.segment) {
            closed_at.push(number);
        }
        position = Some(synced);
    }
    // The first knows only the times of its lines. Each other one lasts six hours.
    assert_eq!(closed_at.windows(2).map(|pair| pair[1] - pair[0]).max(), Some(24));
}

#[test]
fn quiet_store_is_due_once_without_new_lines() {
    let disk = SimDisk::new();
    let mut writer = open(&disk, None).expect("opened").writer;
    assert!(!writer.is_due(LATER_MS));
    append(&mut writer, &lines(&mut random(6), 1)[0]).expect("added");
    writer.sync(LATER_MS).expect("synced");
    assert!(!writer.is_due(LATER_MS + 3_599_999));
    assert!(writer.is_due(LATER_MS + 3_600_000));
    let segment = writer.sync(LATER_MS + 3_600_000).expect("synced").segment;
    assert_eq!(segment, 1);
    assert!(!writer.is_due(i64::MAX));
}
