//! Damaged files: a search goes on, finds nothing that is not there, and names what it could not read.

use std::collections::BTreeSet;

use logferry_durable::Disk;
use logferry_testkit::SimDisk;
use logferry_testkit::batches::put_file;
use rand::Rng;

use super::fixture::{TestLine, hits_of, ids, lines, open, random, searcher, store_of};
use crate::Query;

/// Changes one bit of the file.
fn flip(disk: &SimDisk, file: &std::path::Path, bit: usize) {
    let mut bytes = disk.contents(file).expect("a file");
    let at = bit / 8 % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    put_file(disk, file, &bytes);
}

#[test]
fn damaged_file_is_named_and_the_rest_is_found() {
    let lines = lines(&mut random(1), 120);
    let (disk, _) = store_of(&lines);
    let by_id = |id: &str| lines.iter().find(|line| line.id() == id);
    let all: BTreeSet<String> = lines.iter().map(TestLine::id).collect();
    let mut random = random(2);
    for file in disk.files().into_iter().filter(|file| !file.ends_with("gaps")) {
        for _ in 0..60 {
            let (disk, position) = store_of(&lines);
            if disk.len(&file).expect("read").is_none_or(|len| len == 0) {
                continue;
            }
            flip(&disk, &file, random.random_range(0..1 << 20));
            let (hits, end) = hits_of(&searcher(&disk, position), &Query::default(), 10_000, None);
            for hit in &hits {
                assert_eq!(Some(&hit.line), by_id(&hit.id()).map(|line| &line.bytes));
            }
            let found: BTreeSet<String> = ids(&hits).into_iter().collect();
            assert_eq!(found.len(), hits.len());
            let has_all = found == all;
            assert!(has_all || !end.damage.is_empty(), "{}", file.display());
            let name = file.to_string_lossy();
            assert!(
                has_all || !name.ends_with(".index") && !name.ends_with(".words"),
                "{name}"
            );
            // The writer goes on, and what it writes is found.
            open(&disk, Some(position)).expect("opened");
        }
    }
}

#[test]
fn segment_without_its_other_files_is_searched_as_a_whole() {
    let lines = lines(&mut random(3), 200);
    let (disk, position) = store_of(&lines);
    let query = Query::parse("error").expect("a query");
    let (before, _) = hits_of(&searcher(&disk, position), &query, 1000, None);
    for file in disk.files() {
        let is_filter = ["index", "words"].map(|kind| file.extension().is_some_and(|it| it == kind));
        if is_filter.contains(&true) {
            disk.remove(&file).expect("removed");
        }
    }
    let (hits, end) = hits_of(&searcher(&disk, position), &query, 1000, None);
    assert_eq!(ids(&hits), ids(&before));
    assert!(end.damage.is_empty(), "{:?}", end.damage);
    // The writer makes the filters of the segment that it goes on with anew.
    let opened = open(&disk, Some(position)).expect("opened");
    assert!(opened.lost.is_empty(), "{:?}", opened.lost);
    let (hits, _) = hits_of(&searcher(&disk, position), &query, 1000, None);
    assert_eq!(ids(&hits), ids(&before));
}

#[test]
fn missing_frames_of_a_segment_are_named() {
    let lines = lines(&mut random(4), 200);
    let (disk, position) = store_of(&lines);
    let first = disk
        .files()
        .into_iter()
        .find(|file| file.to_string_lossy().ends_with(".frames"));
    disk.remove(&first.expect("a segment")).expect("removed");
    let (hits, end) = hits_of(&searcher(&disk, position), &Query::default(), 1000, None);
    assert!(hits.len() < lines.len());
    assert_eq!(end.damage.len(), 1, "{:?}", end.damage);
}
