//! Tests of how many parts a window gets, whatever times its lines have, and of lines that have no end.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use logferry_config::{BatchSettings as Rules, WindowLength};
use logferry_durable::DiskOperation;
use logferry_ledger::{Batch, BatchFilter, BatchState};
use logferry_protocol::chunk::{LineEnd, StreamEnd};
use logferry_time_windows::{LineTime, Window, window_of};
use proptest::prelude::*;

use super::{CommitterFixture, Tested, chunk, chunk_ending, line, moment, now, rules};
use crate::chunk::ChunkReply;
use crate::commit::seal_rule::{BatchActivity, StreamActivity, is_due, plausible_line_time};
use crate::commit::spool_recovery::seal_orphans;

const START: i64 = 1_795_227_600;

/// Sends lines of these seconds after [`START`], one chunk each, and seals after each. Returns the parts of each window.
fn parts(seconds: impl IntoIterator<Item = i64>) -> BTreeMap<String, u32> {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (mut sent, mut all) = (0, Vec::new());
    for second in seconds {
        let body = format!("{} text\n", START + second).into_bytes();
        fixture.send(vec![chunk(1, sent, &body)]);
        sent += u64::try_from(body.len()).expect("small");
        all.push(body);
        fixture.seal_due(now());
    }
    assert_eq!(fixture.stored().len(), all.concat().len());
    let batches = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger");
    let mut parts = BTreeMap::new();
    for batch in batches {
        *parts.entry(batch.base_name).or_default() += 1;
    }
    parts
}

fn most_parts(seconds: impl IntoIterator<Item = i64>) -> u32 {
    parts(seconds).into_values().max().unwrap_or(0)
}

#[test]
fn one_line_from_the_future_makes_two_parts_at_most() {
    let lines = std::iter::once(1800).chain((0..30).map(|number| number * 2 / 5));
    assert!(most_parts(lines) <= 2);
}

#[test]
fn each_tenth_line_from_the_future_makes_two_parts_at_most() {
    let lines = (0..400).map(|number| number + if number % 10 == 0 { 1800 } else { 0 });
    assert!(most_parts(lines) <= 2);
}

#[test]
fn a_clock_that_steps_back_an_hour_makes_two_parts_at_most() {
    let lines = (0..300)
        .chain((0..300).map(|second| second - 3600 + 300))
        .chain(300..400);
    assert!(most_parts(lines) <= 2);
}

#[test]
fn a_source_an_hour_ahead_gets_one_part_for_each_window() {
    assert_eq!(most_parts((0..400).map(|second| second + 3500)), 1);
}

/// A relay with two streams of one source, by its seal rule alone, and its clock.
struct Model {
    rules: Rules,
    now: i64,
    /// Latest line, last chunk, and whether more is announced, of each stream.
    streams: [(Option<i64>, i64, bool); 2],
    open: BTreeMap<i64, OpenPart>,
    sealed: BTreeMap<i64, u32>,
    arrivals: BTreeMap<i64, (i64, i64)>,
}

struct OpenPart {
    window: Window,
    opened: i64,
    last_append: i64,
}

fn since(then: i64, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(now - then).expect("not before"))
}

impl Model {
    fn new() -> Self {
        let window = WindowLength::try_from(Duration::from_mins(20)).expect("divides an hour");
        Self {
            rules: Rules {
                window,
                ..rules(1 << 30)
            },
            now: START,
            streams: [(None, START, false); 2],
            open: BTreeMap::new(),
            sealed: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }

    /// Time passes, and batches are sealed every second.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now += 1;
            let streams = self
                .streams
                .map(|(latest_line, last_chunk, has_unread)| StreamActivity {
                    latest_line,
                    idle: since(last_chunk, self.now),
                    has_unread,
                });
            let is_due = |part: &OpenPart| {
                let activity = BatchActivity {
                    window: part.window,
                    quiet: since(part.last_append, self.now),
                    age: since(part.opened, self.now),
                    late_parts: self.sealed.get(&part.window.start).copied().unwrap_or(0),
                    is_full: false,
                    is_crowded: false,
                    has_open_line: false,
                };
                is_due(activity, &streams, &self.rules, self.now)
            };
            let due: Vec<_> = self
                .open
                .values()
                .filter(|part| is_due(part))
                .map(|part| part.window.start)
                .collect();
            for start in due {
                self.open.remove(&start);
                *self.sealed.entry(start).or_default() += 1;
            }
        }
    }

    fn line(&mut self, stream: usize, ahead: i64, has_unread: bool) {
        let time = self.now + ahead;
        let (latest, last_chunk, unread) = &mut self.streams[stream];
        *latest = plausible_line_time(Some(time), self.now).or(plausible_line_time(*latest, self.now));
        (*last_chunk, *unread) = (self.now, has_unread);
        let window = window_of(
            LineTime {
                unix: time,
                utc_offset: 0,
            },
            self.rules.window,
        );
        let now = self.now;
        let part = self.open.entry(window.start).or_insert(OpenPart {
            window,
            opened: now,
            last_append: now,
        });
        part.last_append = now;
        self.arrivals.entry(window.start).or_insert((now, now)).1 = now;
    }

    /// No part is open for longer than `hold` after its window, or after its opening.
    fn check_open(&self) {
        let hold = i64::try_from(self.rules.hold.as_secs()).expect("small");
        for part in self.open.values() {
            let until = part.window.end().max(part.opened) + hold;
            assert!(
                self.now <= until,
                "{:?} is open {} s too long",
                part.window,
                self.now - until
            );
        }
    }

    fn check_parts(&self) {
        for (start, parts) in &self.sealed {
            let (first, last) = self.arrivals[start];
            // At first after twice the quiet each time, from two minutes to half an hour, then after half an hour.
            let most = 6 + (last - first) / 1800;
            assert!(
                i64::from(*parts) <= most,
                "{parts} parts of a window whose lines came within {} s",
                last - first
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn parts_are_few_and_sealed_in_time_whatever_times_the_lines_have(
        lines in prop::collection::vec(
            (
                prop_oneof![6 => 0_u32..3, 3 => 0_u32..200, 1 => 0_u32..2000],
                0_usize..2,
                prop_oneof![
                    4 => Just(0_i64), 1 => Just(1800), 1 => Just(-3600), 1 => Just(3540), 1 => Just(7200),
                    1 => Just(86_400), 1 => -100_000_i64..100_000, 2 => -60_i64..60,
                ],
                any::<bool>(),
            ),
            1..200,
        ),
    ) {
        let mut model = Model::new();
        for (gap, stream, ahead, has_unread) in lines {
            model.pass(gap);
            model.check_open();
            model.line(stream, ahead, has_unread);
        }
        model.pass(5400);
        model.check_open();
        model.check_parts();
    }
}

const HALF: &[u8] = b"[21/Nov/2026:08:20:03 +0600] a long line that ";

/// Every batch that left `open/` ends with a newline, and the ledger has counted it, for the batch and for the audit.
fn check_ends(fixture: &CommitterFixture, lines: u64) {
    fixture.stored();
    let batches = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger");
    for batch in batches.iter().filter(|batch| batch.state != BatchState::Open) {
        let file = fixture.disk.contents(&fixture.spool().path(batch, batch.state));
        assert!(file.expect("a file").ends_with(b"\n"), "{}", batch.name());
    }
    let stored: u64 = batches.iter().map(|batch: &Batch| batch.contents.lines).sum();
    assert_eq!(stored, lines);
    let source = "198.51.100.1".parse().expect("valid");
    let streams = [1, 2].map(|number| {
        fixture
            .ledger()
            .stream(&source, super::stream(number).2)
            .expect("a ledger")
    });
    let sent: u64 = streams
        .into_iter()
        .flatten()
        .map(|stream| stream.lines.sent)
        .sum();
    assert_eq!(sent, lines, "the audit counts the same lines");
}

fn send_half(fixture: &mut CommitterFixture) {
    fixture.send(vec![chunk_ending(1, 0, HALF, LineEnd::Open, StreamEnd::Live)]);
}

#[test]
fn half_a_line_of_a_group_that_is_gone_gets_its_newline() {
    let mut fixture = CommitterFixture::new(1 << 30);
    send_half(&mut fixture);
    let mut ledger = fixture.ledger();
    seal_orphans(&fixture.spool(), &mut ledger, &[], now()).expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [0, 1, 0, 0]);
    check_ends(&fixture, 1);
    // The rest comes through a group with a new name.
    let renamed = Tested::start("web-2", rules(1 << 30), fixture.spool(), ledger);
    let mut renamed = renamed.expect("the disk works");
    let rest = [b"has an end\n".to_vec(), line(20, "next")].concat();
    renamed.group_commit(vec![(chunk(1, HALF.len() as u64, &rest), 0)], now());
    check_ends(&fixture, 3);
}

#[test]
fn half_a_line_whose_stream_went_on_in_another_group_gets_its_newline_and_nothing_else() {
    let mut fixture = CommitterFixture::new(1 << 30);
    send_half(&mut fixture);
    let other = Tested::start("web-2", rules(1 << 30), fixture.spool(), fixture.ledger());
    let mut other = other.expect("the disk works");
    other.group_commit(vec![(chunk(1, HALF.len() as u64, b"has an end\n"), 0)], now());
    // Neither before nor after a restart is another stream's line added to the half.
    for number in 0..2 {
        let other_line = line(20, "other");
        let start = number * other_line.len() as u64;
        fixture.send(vec![chunk(2, start, &other_line)]);
        fixture.restart();
    }
    fixture.committer().open.age_all(Duration::from_hours(1));
    while !fixture.seal_due(now() + Duration::from_hours(1)).is_empty() {}
    check_ends(&fixture, 4);
    let stored = fixture.stored();
    let half = stored
        .split(|byte| *byte == b'\n')
        .find(|line| line.starts_with(HALF));
    assert_eq!(half, Some(HALF));
}

#[test]
fn half_a_line_of_a_stream_that_is_long_forgotten_is_counted() {
    let mut fixture = CommitterFixture::new(1 << 30);
    send_half(&mut fixture);
    fixture.committer().streams.clear();
    fixture.committer().open.age_all(Duration::from_hours(1));
    assert_eq!(fixture.seal_due(now()).len(), 1);
    check_ends(&fixture, 1);
}

/// The parts that have lines, with these.
fn lines_of_parts(fixture: &CommitterFixture) -> Vec<(u32, String)> {
    let batches = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger");
    let lines = |batch: &Batch| {
        let file = fixture.disk.contents(&fixture.spool().path(batch, batch.state));
        (
            batch.part,
            String::from_utf8(file.expect("a file")).expect("text"),
        )
    };
    batches.iter().map(lines).collect()
}

#[test]
fn an_earlier_part_gets_the_rest_of_its_line_and_no_other_after_a_restart() {
    let mut fixture = CommitterFixture::new(1 << 30);
    send_half(&mut fixture);
    let (first, second) = (line(20, "first"), line(20, "second"));
    fixture.send(vec![chunk(2, 0, &first)]);
    let seal_after = fixture.committer().rules.seal_after;
    fixture.committer().open.age_all(seal_after);
    let sealed: Vec<_> = fixture.seal_due(now()).iter().map(|batch| batch.part).collect();
    assert_eq!(sealed, [2], "the first may get the rest of its line");
    fixture.restart();
    fixture.send(vec![chunk(1, HALF.len() as u64, b"has an end\n")]);
    fixture.send(vec![chunk(2, first.len() as u64, &second)]);
    let whole = format!("{}has an end\n", String::from_utf8_lossy(HALF));
    let text = |line: Vec<u8>| String::from_utf8(line).expect("text");
    let expected = [(1, whole), (2, text(first)), (3, text(second))];
    assert_eq!(lines_of_parts(&fixture), expected);
}

#[test]
fn a_chunk_that_comes_early_opens_no_batch() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let lines = [line(20, "first"), line(21, "second"), line(22, "third")];
    let [first, second, third] = &lines;
    let after = (first.len() + second.len()) as u64;
    fixture.send(vec![chunk(1, 0, first)]);
    // To discard a batch is to remove its file.
    fixture.disk.fail_next(DiskOperation::Remove, ErrorKind::Other);
    let staged = fixture
        .committer()
        .stage_at(vec![(chunk(1, after, third), 0)], moment(now()));
    assert!(staged.is_empty(), "{staged:?}");
    let replies = fixture.send(vec![chunk(1, first.len() as u64, second)]);
    assert!(
        replies
            .values()
            .all(|reply| matches!(reply, ChunkReply::Receipt(_))),
        "{replies:?}"
    );
    assert_eq!(fixture.stored(), lines.concat());
}

/// Sends one line of each of these minutes before [`START`], in one chunk. Returns the reply and the number of bytes.
fn send_minutes(
    fixture: &mut CommitterFixture,
    at: u64,
    minutes: std::ops::Range<i64>,
) -> (Option<ChunkReply>, u64) {
    let lines = minutes.map(|minute| format!("{} text\n", START - minute * 60));
    let body = lines.collect::<Vec<_>>().concat();
    let mut replies = fixture.send(vec![chunk(1, at, body.as_bytes())]);
    (replies.remove(&0), body.len() as u64)
}

#[test]
fn a_source_with_wild_times_waits_at_a_limit_of_open_batches_until_some_are_sealed() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let mut sent = 0;
    for first in (0..1000).step_by(100) {
        let (reply, bytes) = send_minutes(&mut fixture, sent, first..first + 100);
        assert!(matches!(reply, Some(ChunkReply::Receipt(_))), "{reply:?}");
        sent += bytes;
    }
    assert_eq!(fixture.committer().open.len(), 1000);
    let (reply, bytes) = send_minutes(&mut fixture, sent, 1000..1100);
    assert!(
        matches!(&reply, Some(ChunkReply::Wait(reason)) if reason.contains("1000 open batches")),
        "{reply:?}"
    );
    assert!(!fixture.committer().needs_recovery, "it is no fault");
    // Its next chunk waits too, another source's does not, and lines of the open windows do not.
    let (reply, _) = send_minutes(&mut fixture, sent + bytes, 1100..1200);
    assert_eq!(reply, None, "it waits for its predecessor");
    let (reply, in_open) = send_minutes(&mut fixture, sent, 0..10);
    assert!(matches!(reply, Some(ChunkReply::Receipt(_))), "{reply:?}");
    sent += in_open;
    let mut other = chunk(2, 0, format!("{} text\n", START - 5000 * 60).as_bytes());
    other.source = "198.51.100.2".parse().expect("valid");
    let replies = fixture.send(vec![other]);
    assert!(
        matches!(replies.get(&0), Some(ChunkReply::Receipt(_))),
        "{replies:?}"
    );
    let reason = fixture
        .committer()
        .waiting_reason(moment(now()))
        .expect("a source waits");
    assert!(reason.starts_with("lines of 198.51.100.1 wait"), "{reason}");
    // Though the sender announces more lines, quiet batches are sealed.
    fixture.committer().open.age_all(Duration::from_mins(3));
    while !fixture.seal_due(now()).is_empty() {}
    let (reply, _) = send_minutes(&mut fixture, sent, 1000..1100);
    assert!(matches!(reply, Some(ChunkReply::Receipt(_))), "{reply:?}");
    fixture.stored();
}

#[test]
fn one_chunk_with_more_windows_than_the_limit_is_taken() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (reply, sent) = send_minutes(&mut fixture, 0, 0..1500);
    assert!(matches!(reply, Some(ChunkReply::Receipt(_))), "{reply:?}");
    let (reply, _) = send_minutes(&mut fixture, sent, 1500..1501);
    assert!(matches!(reply, Some(ChunkReply::Wait(_))), "{reply:?}");
}

#[test]
fn a_window_with_all_its_parts_takes_no_more_lines_and_other_windows_do() {
    let each = line(20, "x");
    let mut fixture = CommitterFixture::new(each.len() as u64);
    let (lines, later) = (each.repeat(2000), line(21, "y"));
    let (all, length) = (lines.len() as u64, each.len() as u64);
    let replies = fixture.send(vec![chunk(1, 0, &lines)]);
    assert!(
        matches!(replies.get(&0), Some(ChunkReply::Receipt(_))),
        "a chunk is taken whole: {replies:?}"
    );
    let replies = fixture.send(vec![chunk(1, all, &each), chunk(1, all + length, &each)]);
    for reply in replies.values() {
        assert!(
            matches!(reply, ChunkReply::Wait(reason) if reason.contains("999 parts")),
            "{reply:?}"
        );
    }
    assert_eq!(replies.len(), 2, "the chunk after it waits too");
    while !fixture.seal_due(now()).is_empty() {}
    fixture.restart();
    let replies = fixture.send(vec![chunk(1, all, &each), chunk(2, 0, &later)]);
    assert!(
        matches!(replies.get(&0), Some(ChunkReply::Wait(_))),
        "{replies:?}"
    );
    assert!(
        matches!(replies.get(&1), Some(ChunkReply::Receipt(_))),
        "{replies:?}"
    );
    let batches = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger");
    assert_eq!(batches.len(), 1000);
    assert_eq!(batches.iter().map(|batch| batch.part).max(), Some(999));
    assert_eq!(fixture.stored(), [lines, later].concat());
}

#[test]
fn lines_without_a_time_wait_too_once_the_window_of_their_arrival_has_all_its_parts() {
    let each = b"no time\n";
    let mut fixture = CommitterFixture::new(each.len() as u64);
    fixture.send(vec![chunk(1, 0, &each.repeat(1200))]);
    // As an old shipper sends, each body is a stream of its own.
    let replies = fixture.send(vec![chunk(2, 0, each)]);
    assert!(
        matches!(replies.get(&0), Some(ChunkReply::Wait(reason)) if reason.contains("999 parts")),
        "{replies:?}"
    );
    assert_eq!(fixture.stored(), each.repeat(1200));
    let empty = chunk_ending(
        1,
        1200 * each.len() as u64,
        b"",
        LineEnd::Whole,
        StreamEnd::Finished,
    );
    let replies = fixture.send(vec![empty]);
    assert!(
        matches!(replies.get(&0), Some(ChunkReply::Receipt(_))),
        "it needs no batch: {replies:?}"
    );
}
