//! The indexer removes files while a search runs: what is removed is not searched, and is no damage.

use std::path::{Path, PathBuf};

use logferry_durable::Disk;
use logferry_testkit::SimDisk;

use super::fixture::{STORE, ids, lines, open, random, searcher, store_of};
use crate::segment::{SegmentFile, StoreFolder};
use crate::{Hit, Query, SearchObserver, SearchPage, SearchProgress};

/// Removes files when the search has begun.
struct RemovingObserver<'d> {
    disk: &'d SimDisk,
    files: Vec<PathBuf>,
    hits: Vec<Hit>,
}

impl SearchObserver for RemovingObserver<'_> {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.hits.push(hit.clone());
        true
    }

    fn progress(&mut self, _: &SearchProgress) -> bool {
        for file in self.files.drain(..) {
            self.disk.remove(&file).expect("removed");
        }
        true
    }
}

#[test]
fn files_that_the_indexer_removes_while_a_search_runs_are_no_damage() {
    let lines = lines(&mut random(7), 300);
    let file = |number, kind| StoreFolder::new(Path::new(STORE)).file(number, kind);
    for has_frames in [false, true] {
        let (disk, position) = store_of(&lines);
        assert!(
            position.segment > 1 && position.tail_len > position.tail_start,
            "{position}"
        );
        let mut files = vec![
            file(0, SegmentFile::Index),
            file(position.tail, SegmentFile::Tail),
        ];
        files.extend((!has_frames).then(|| file(0, SegmentFile::Frames)));
        let mut observer = RemovingObserver {
            disk: &disk,
            files,
            hits: Vec::new(),
        };
        let page = SearchPage {
            limit: 10_000,
            ..SearchPage::default()
        };
        let end = searcher(&disk, position).search(&Query::default(), &page, None, &mut observer);
        let end = end.expect("searched");
        assert!(end.damage.is_empty(), "{:?}", end.damage);
        let newest = lines.last().expect("lines").id();
        assert!(ids(&observer.hits).contains(&newest), "the tail is still read");
        assert_eq!(observer.hits.len() == lines.len(), has_frames);
    }
}

#[test]
fn tail_of_a_position_of_a_moment_ago_is_there_after_a_restart() {
    let lines = lines(&mut random(8), 300);
    let (disk, position) = store_of(&lines);
    assert!(position.tail > 0, "{position}");
    let tail = StoreFolder::new(Path::new(STORE)).file(position.tail - 1, SegmentFile::Tail);
    assert!(disk.len(&tail).expect("read").is_some());
    drop(open(&disk, Some(position)).expect("opened"));
    assert!(disk.len(&tail).expect("read").is_some());
}
