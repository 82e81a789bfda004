//! Kills and power losses: the store holds each line exactly once, whatever a crash left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_durable::{Disk, DiskFile};
use logferry_testkit::SimDisk;
use rand::Rng;

use super::fixture::{
    MIDNIGHT_MS, STORE, TestLine, append, hits_of, ids, lines, open, random, searcher, store_of,
};
use crate::error::StoreError;
use crate::{Query, StoreLimits, StorePosition};

/// What stands in `index.db`.
#[derive(Debug, Clone, Copy, Default)]
struct Recorded {
    place: usize,
    position: Option<StorePosition>,
}

/// One life of the indexer. It ends with the first error, or at the end of the lines.
fn life(disk: &SimDisk, lines: &[TestLine], recorded: &mut Recorded) -> Result<(), StoreError> {
    let opened = open(disk, recorded.position)?;
    assert!(opened.lost.is_empty(), "{:?}", opened.lost);
    let mut writer = opened.writer;
    for (number, line) in lines.iter().enumerate().skip(recorded.place) {
        append(&mut writer, line)?;
        if number % 9 == 8 || number + 1 == lines.len() {
            let position = Some(writer.sync(line.time_ms)?);
            let place = number + 1;
            *recorded = Recorded { place, position };
            writer.recorded()?;
        }
    }
    Ok(())
}

fn sorted_ids(lines: &[TestLine]) -> Vec<String> {
    let mut ids: Vec<String> = lines.iter().map(TestLine::id).collect();
    ids.sort();
    ids
}

fn found(disk: &SimDisk, position: Option<StorePosition>, text: &str) -> Vec<String> {
    let query = Query::parse(text).expect("a query");
    let (hits, end) = hits_of(&searcher(disk, position.expect("recorded")), &query, 10_000, None);
    assert!(end.damage.is_empty(), "{:?}", end.damage);
    let mut found = ids(&hits);
    found.sort();
    found
}

#[test]
fn each_line_is_there_once_after_a_crash_at_every_change() {
    let lines = lines(&mut random(1), 150);
    let mut count = 0;
    for power_fails in [false, true] {
        let mut changes = 0;
        loop {
            let (disk, mut recorded) = (SimDisk::new(), Recorded::default());
            disk.fail_after(changes);
            let first = life(&disk, &lines, &mut recorded);
            if power_fails {
                disk.power_loss(changes);
            } else {
                disk.heal();
            }
            if recorded.position.is_some() {
                // What a search sees before the indexer has started again.
                assert_eq!(
                    found(&disk, recorded.position, ""),
                    sorted_ids(&lines[..recorded.place])
                );
            }
            life(&disk, &lines, &mut recorded).expect("no more faults");
            assert_eq!(
                found(&disk, recorded.position, ""),
                sorted_ids(&lines),
                "after {changes} changes"
            );
            count += 1;
            if first.is_ok() {
                break;
            }
            changes += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn each_line_is_there_once_after_many_crashes() {
    for seed in 0..20 {
        let mut random = random(seed);
        let lines = lines(&mut random, 400);
        let (disk, mut recorded) = (SimDisk::new(), Recorded::default());
        let mut is_done = false;
        while !is_done {
            disk.fail_after(random.random_range(3..60));
            is_done = life(&disk, &lines, &mut recorded).is_ok();
            if random.random_bool(0.5) {
                disk.power_loss(random.random());
            } else {
                disk.heal();
            }
        }
        assert_eq!(
            found(&disk, recorded.position, ""),
            sorted_ids(&lines),
            "seed {seed}"
        );
        let errors: Vec<_> = lines
            .iter()
            .filter(|line| line.level == Some("error"))
            .cloned()
            .collect();
        assert_eq!(
            found(&disk, recorded.position, "level:error"),
            sorted_ids(&errors)
        );
    }
}

/// Makes a file what a crash of another kind may leave: `len` bytes.
fn cut_file(disk: &SimDisk, path: &Path, len: u64) {
    let mut file = disk.open_append(path).expect("opened");
    file.truncate(len).expect("cut");
}

#[test]
fn store_cut_at_every_byte_is_opened_and_says_what_is_lost() {
    let lines = lines(&mut random(2), 60);
    let (disk, position) = store_of(&lines);
    let files: Vec<(PathBuf, u64)> = disk
        .files()
        .into_iter()
        .filter_map(|file| {
            let len = disk.len(&file).ok()??;
            let name = file.to_string_lossy();
            (name.ends_with(".frames") || name.ends_with(".tail")).then(|| (file.clone(), len))
        })
        .collect();
    let (live, all) = (format!("{:010}.frames", position.segment), sorted_ids(&lines));
    for (file, len) in files {
        let is_live = file.ends_with(&live) || file.ends_with(format!("{:010}.tail", position.tail));
        for cut in 0..len {
            let (disk, position) = store_of(&lines);
            cut_file(&disk, &file, cut);
            let opened = open(&disk, Some(position)).expect("opened");
            let is_needed = is_live && (!file.ends_with(&live) || position.frames_len > 0);
            let tail_is_needed = position.tail_len > position.tail_start || file.ends_with(&live);
            assert_eq!(
                !opened.lost.is_empty(),
                is_needed && tail_is_needed,
                "{} {cut}",
                file.display()
            );
            let mut writer = opened.writer;
            let position = writer.sync(MIDNIGHT_MS).expect("synced");
            let query = Query::default();
            let (hits, end) = hits_of(&searcher(&disk, position), &query, 10_000, None);
            let ids: BTreeSet<String> = ids(&hits).into_iter().collect();
            assert!(ids.len() == hits.len() && ids.iter().all(|id| all.contains(id)));
            assert!(
                is_live || !end.damage.is_empty(),
                "{} {cut}: {end:?}",
                file.display()
            );
        }
    }
}

#[test]
fn store_without_a_recorded_position_is_emptied() {
    let lines = lines(&mut random(3), 100);
    let (disk, _) = store_of(&lines);
    let mut recorded = Recorded::default();
    life(&disk, &lines, &mut recorded).expect("no faults");
    assert_eq!(found(&disk, recorded.position, ""), sorted_ids(&lines));
}

#[test]
fn oldest_segments_go_by_age_and_by_size() {
    let lines = lines(&mut random(4), 600);
    let (disk, position) = store_of(&lines);
    let mut writer = open(&disk, Some(position)).expect("opened").writer;
    let all = writer.bytes();
    let limits = |age, max_bytes| StoreLimits {
        age: Some(Duration::from_secs(age)),
        max_bytes,
        min_free: 0,
    };
    let newest = lines.last().expect("lines").time_ms;
    assert_eq!(
        writer
            .remove_expired(limits(86_400, 1 << 40), newest)
            .expect("removed")
            .bytes,
        0
    );
    let freed = writer
        .remove_expired(limits(86_400, all / 2), newest)
        .expect("removed")
        .bytes;
    assert!(
        writer.bytes() <= all / 2 && freed + writer.bytes() == all,
        "{freed} of {all}"
    );
    let left = found(&disk, Some(position), "");
    // The tail before the last is there for searches only.
    let live_tail = format!("{:010}.tail", position.tail);
    let files = disk.files().into_iter();
    let counted =
        files.filter(|file| file.ends_with(&live_tail) || file.extension() != Some("tail".as_ref()));
    let on_disk: u64 = counted.filter_map(|file| disk.len(&file).ok()?).sum();
    assert_eq!(on_disk, writer.bytes());
    // The newest are left.
    let (hits, _) = hits_of(&searcher(&disk, position), &Query::default(), 10_000, None);
    let last = lines.last().expect("lines");
    assert!(left.len() < lines.len() && left.contains(&last.id()) && !hits.is_empty());
    writer
        .remove_expired(limits(1, 1 << 40), newest + 60_000_000)
        .expect("removed");
    let mut files = disk.files().into_iter();
    assert!(!files.any(|file| file.to_string_lossy().ends_with(".index")));
    assert!(found(&disk, Some(position), "").contains(&last.id()));
}

#[test]
fn quiet_store_closes_its_segment_by_age() {
    let lines = lines(&mut random(5), 3);
    let (disk, position) = store_of(&lines);
    let mut writer = open(&disk, Some(position)).expect("opened").writer;
    let position = writer.sync(MIDNIGHT_MS).expect("synced");
    assert_eq!((position.segment, position.frames_len), (0, 0));
    let position = writer.sync(MIDNIGHT_MS + 3_600_000).expect("synced");
    assert_eq!((position.segment, position.tail_start), (1, position.tail_len));
    assert_eq!(found(&disk, Some(position), ""), sorted_ids(&lines));
    assert_eq!(writer.sync(MIDNIGHT_MS + 9_000_000).expect("synced"), position);
}

#[test]
fn file_of_gaps_of_an_older_store_is_removed() {
    let lines = lines(&mut random(6), 20);
    let (disk, position) = store_of(&lines);
    let gaps = Path::new(STORE).join("segments/gaps");
    disk.open_append(&gaps)
        .expect("made")
        .append(b"{}\n")
        .expect("written");
    let older = format!("{position}:3").parse().expect("a position");
    let opened = open(&disk, Some(older)).expect("opened");
    assert!(opened.lost.is_empty(), "{:?}", opened.lost);
    assert_eq!(disk.contents(&gaps), None);
    assert_eq!(found(&disk, Some(position), ""), sorted_ids(&lines));
}
