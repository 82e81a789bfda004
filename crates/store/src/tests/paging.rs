//! Very many hits: a page costs what is shown on it, not what was shown before it. By what is read, never by time.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::RealDisk;
use logferry_fields::Format;
use logferry_ledger::{BatchState, Ledger};
use logferry_protocol::names::{GroupName, SourceId};
use logferry_spool::Spool;
use logferry_testkit::SimDisk;
use logferry_testkit::batches::{add_batch, new_batch, put_file};

use super::fixture::{Collector, CursorForm, MIDNIGHT_MS, STORE, pages_of};
use crate::writer::{SegmentLimits, open_with};
use crate::{LineOrigin, LineRecord, Query, SearchEnd, SearchPage, Searcher, SpoolLines, UnindexedBatch};

const LINES: u64 = 200_000;
const BATCHES: u64 = 20;
const PAGE: usize = 500;

/// Frames of a few hundred lines.
const LIMITS: SegmentLimits = SegmentLimits {
    frame_bytes: 16 << 10,
    bytes: 1 << 20,
    frames: 64,
    age: Duration::from_hours(1),
    tail_bytes: 64 << 10,
};

/// A store of short lines, each a hit for `page`: the batch and the second of each line by its number.
fn store_of(place: impl Fn(u64) -> (u64, u64)) -> Searcher<SimDisk> {
    let disk = SimDisk::new();
    let mut writer = open_with(disk.clone(), Path::new(STORE), None, MIDNIGHT_MS, LIMITS)
        .expect("opened")
        .writer;
    let source: SourceId = "10.0.0.1".parse().expect("a source");
    let group: GroupName = "web-1".parse().expect("a group");
    let batches: Vec<String> = (0..BATCHES).map(|batch| format!("b{batch:02}")).collect();
    let mut offsets = vec![0; batches.len()];
    for number in 0..LINES {
        let (batch, second) = place(number);
        let batch = usize::try_from(batch).expect("small");
        let line = format!("page {number:07}");
        let record = LineRecord {
            origin: LineOrigin {
                source: &source,
                group: &group,
                log: None,
                batch: &batches[batch],
                format: "text",
            },
            offset: offsets[batch],
            time_ms: MIDNIGHT_MS + i64::try_from(second).expect("small") * 1000,
            level: None,
            status: None,
            line: line.as_bytes(),
        };
        offsets[batch] += line.len() as u64 + 1;
        writer.append(&record).expect("added");
    }
    let position = writer.sync(MIDNIGHT_MS).expect("synced");
    Searcher::new(disk, Path::new(STORE), Some(position))
}

/// Searches everything page by page, and checks that each line was found once. The ends of the pages.
fn search_all(searcher: &Searcher<SimDisk>, form: CursorForm) -> Vec<SearchEnd> {
    let query = Query::parse("page").expect("a query");
    let (hits, ends) = pages_of(searcher, None, &query, (PAGE, None), form);
    assert!(hits.is_sorted_by(|a, b| (a.time_ms, &a.batch, a.offset) > (b.time_ms, &b.batch, b.offset)));
    assert_eq!(hits.len() as u64, LINES);
    ends
}

/// The most frames that one of these pages has read.
fn most_frames(ends: &[SearchEnd], pages: Range<usize>) -> u64 {
    let pages = ends[pages].iter().map(|end| end.progress.frames);
    pages.max().expect("pages")
}

fn all_frames(searcher: &Searcher<SimDisk>) -> u64 {
    let page = SearchPage {
        only_count: true,
        ..SearchPage::default()
    };
    let end = searcher.search(&Query::default(), &page, None, &mut Collector::default());
    end.expect("searched").progress.frames
}

#[test]
fn last_page_of_very_many_hits_reads_as_few_frames_as_the_first() {
    let searcher = store_of(|number| (number % BATCHES, number / 100));
    for form in [CursorForm::Kept, CursorForm::Text] {
        let ends = search_all(&searcher, form);
        assert!(ends.len() >= 400);
        assert!(most_frames(&ends, 0..ends.len()) <= 4, "{form:?}");
    }
}

#[test]
fn lines_of_one_time_are_read_about_once() {
    // One batch after the other, as of a log without times.
    let searcher = store_of(|number| (number / (LINES / BATCHES), 0));
    let ends = search_all(&searcher, CursorForm::Kept);
    let all = all_frames(&searcher);
    assert!(all > 100);
    assert_eq!(
        ends[0].progress.frames, all,
        "only when all are read the newest is known"
    );
    let most = most_frames(&ends, 1..ends.len());
    assert!(most <= 4, "{most} frames on a page, of {all}");
}

#[test]
fn batches_of_one_window_that_were_indexed_one_after_the_other_cost_a_frame_each() {
    let each = LINES / BATCHES;
    let searcher = store_of(|number| (number / each, number % each / 50));
    let ends = search_all(&searcher, CursorForm::Kept);
    let most = most_frames(&ends, 1..ends.len());
    assert!(most <= 2 * BATCHES, "{most} frames on a page");
    assert!(all_frames(&searcher) > 5 * BATCHES);
}

#[test]
fn lines_of_the_spool_are_read_again_only_around_those_that_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open_or_create(folder.path()).expect("a ledger");
    let spool = Spool::new(RealDisk, folder.path());
    let mut batches = Vec::new();
    let mut bytes = 0;
    for number in 0..3 {
        let line = |at: u64| {
            let (minute, second) = (20 + at / 60 / 50, at / 50 % 60);
            format!(
                "192.0.2.7 - - [21/Nov/2026:02:{minute:02}:{second:02} +0000] \"GET /page/{at:05} HTTP/1.1\" 200 5 \"-\" \"-\"\n"
            )
        };
        let text: String = (0..50_000).map(line).collect();
        let new = new_batch(&format!("10.0.0.{number}"), &format!("b{number}"));
        let batch = add_batch(
            &mut ledger,
            &new,
            text.as_bytes(),
            BatchState::Open,
            Timestamp::UNIX_EPOCH,
        );
        put_file(&RealDisk, &spool.path(&batch, BatchState::Open), text.as_bytes());
        bytes += text.len() as u64;
        batches.push(UnindexedBatch { batch, indexed: 0 });
    }
    let lines = SpoolLines {
        spool: &spool,
        batches,
        format_of: &|_| Format::default(),
    };
    let searcher = Searcher::new(RealDisk, folder.path(), None);
    let query = Query::parse("page").expect("a query");
    let (hits, ends) = pages_of(&searcher, Some(&lines), &query, (5000, None), CursorForm::Kept);
    let ids: HashSet<String> = hits.iter().map(crate::Hit::id).collect();
    assert_eq!((hits.len(), ids.len()), (150_000, 150_000));
    assert_eq!(ends[0].progress.scanned_bytes, bytes);
    // Of each of the three batches a piece of 1 MiB, or two of them.
    let most = ends[1..].iter().map(|end| end.progress.scanned_bytes).max();
    assert!(most.is_some_and(|most| most <= 6 << 20), "{most:?} of {bytes}");
}

#[test]
fn count_that_was_stopped_is_not_complete_and_cannot_go_on() {
    let searcher = store_of(|number| (number % BATCHES, number / 100));
    let page = SearchPage {
        only_count: true,
        ..SearchPage::default()
    };
    let mut collector = Collector {
        stop: Some(5),
        ..Collector::default()
    };
    let end = searcher.search(&Query::default(), &page, None, &mut collector);
    let end = end.expect("searched");
    assert!(end.progress.hits > 0 && end.progress.hits < LINES);
    assert_eq!((end.is_complete, end.next), (false, None));
}
