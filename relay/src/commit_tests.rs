//! The commit on a disk that forgets what was not synced.
//!
//! A small model knows every line that was ever offered; whatever is cut, lost or refused on the way, the spool
//! must hold each acknowledged line once, in order, and nothing else.

mod adoptions;
mod histories;
mod times;
mod uploads;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_config::{BatchSettings as Rules, NameTemplate, TimestampFormat, WindowLength};
use logferry_durable::DiskOperation;
use logferry_ledger::{Batch, BatchFilter, BatchState};
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{ByteRange, FileKey, Head, StreamId, Tail};
use logferry_testkit::SimDisk;

use super::committer::{Answer, Chunk, Committer};
use super::*;
use crate::split::split;
use jiff::Timestamp;
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineCounts, LineEnd, Receipt, StreamEnd};
use logferry_protocol::stream::Offset;

type Tested = Committer<SimDisk, Vec<u8>, usize>;

pub(super) fn rules(max_bytes: u64) -> Rules {
    Rules {
        window: WindowLength::try_from(Duration::from_mins(1)).expect("divides an hour"),
        name: NameTemplate::parse("a_{yymmddHH}_{window}_{source}").expect("valid"),
        seal_after: Duration::from_mins(2),
        slack: Duration::from_secs(10),
        hold: Duration::from_mins(30),
        max_bytes,
        timestamp: TimestampFormat::Auto,
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_227_700).expect("in range")
}

/// A committer on a simulated disk, and what is needed to start it again.
struct Bench {
    disk: SimDisk,
    ledger_dir: tempfile::TempDir,
    max_bytes: u64,
    committer: Option<Tested>,
}

impl Bench {
    fn new(max_bytes: u64) -> Self {
        let ledger_dir = tempfile::tempdir().expect("a folder");
        let mut bench = Self {
            disk: SimDisk::new(),
            ledger_dir,
            max_bytes,
            committer: None,
        };
        bench.restart();
        bench
    }

    fn spool(&self) -> Spool<SimDisk> {
        Spool::new(self.disk.clone(), Path::new("/spool"))
    }

    /// Starts anew as after a crash: only disk and ledger are left.
    fn restart(&mut self) {
        self.committer = None;
        let ledger = Ledger::open_or_create(self.ledger_dir.path()).expect("a ledger");
        let group = "web-1".parse().expect("valid");
        let started = Committer::start(group, rules(self.max_bytes), self.spool(), ledger);
        self.committer = Some(started.expect("the disk works"));
    }

    fn committer(&mut self) -> &mut Tested {
        self.committer.as_mut().expect("started")
    }

    fn send(&mut self, chunks: Vec<Chunk<Vec<u8>>>) -> BTreeMap<usize, Answer> {
        self.committer()
            .round(chunks.into_iter().zip(0..).collect(), now())
            .into_iter()
            .collect()
    }

    /// From now on the ledger refuses every commit with lines and every seal, or none any more.
    fn let_ledger_refuse(&self, is_so: bool) {
        let sqlite = rusqlite::Connection::open(self.ledger().path()).expect("a ledger");
        let change = if is_so {
            "CREATE TRIGGER IF NOT EXISTS refuse BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'refused'); END"
        } else {
            "DROP TRIGGER IF EXISTS refuse"
        };
        sqlite.execute_batch(change).expect("a trigger");
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(self.ledger_dir.path()).expect("a ledger")
    }

    /// Everything in the spool, file after file in the order of windows and parts, checked against the ledger.
    fn stored(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for batch in self.ledger().batches(&BatchFilter::default()).expect("a ledger") {
            let path = self.spool().path(&batch, batch.state);
            let contents = self.disk.contents(&path).unwrap_or_default();
            let length = u64::try_from(contents.len()).expect("small");
            assert_eq!(length, batch.contents.bytes, "length of {}", path.display());
            assert_eq!(
                crc32c::crc32c(&contents),
                batch.contents.crc32c,
                "checksum of {}",
                path.display()
            );
            let lines = memchr::memchr_iter(b'\n', &contents).count();
            assert_eq!(
                u64::try_from(lines).expect("small"),
                batch.contents.lines,
                "lines of {}",
                path.display()
            );
            all.extend_from_slice(&contents);
        }
        all
    }
}

fn stream(number: u64) -> (FileKey, Head, StreamId) {
    let file = FileKey {
        dev: 1,
        inode: number,
    };
    let head = Head::of(format!("{number}\n").as_bytes()).expect("a line");
    (file, head, StreamId::derive(file, head, 0))
}

pub(super) fn chunk(number: u64, start: u64, body: &[u8]) -> Chunk<Vec<u8>> {
    chunk_ending(number, start, body, LineEnd::Whole, StreamEnd::Live)
}

fn chunk_ending(
    number: u64,
    start: u64,
    body: &[u8],
    line_end: LineEnd,
    stream_end: StreamEnd,
) -> Chunk<Vec<u8>> {
    let (file, head, stream) = stream(number);
    let split = split(body, TimestampFormat::Auto, rules(0).window);
    let end = start + u64::try_from(body.len()).expect("small");
    let header = ChunkHeader {
        stream,
        log: "access".parse::<LogName>().expect("valid"),
        file,
        head,
        range: ByteRange::new(Offset::new(start), Offset::new(end)).expect("forwards"),
        tail: Tail::of(body),
        lines: LineCounts {
            sent: split.lines(),
            excluded: 0,
        },
        line_end,
        stream_end,
        crc32c: crc32c::crc32c(body),
    };
    Chunk {
        source: "198.51.100.1".parse().expect("valid"),
        header,
        upload: None,
        body: body.to_vec(),
        split,
    }
}

pub(super) fn line(minute: u32, text: &str) -> Vec<u8> {
    format!("[21/Nov/2026:08:{minute:02}:03 +0600] {text}\n").into_bytes()
}

fn receipt(committed: usize, outcome: ChunkOutcome) -> Answer {
    let committed = Offset::new(u64::try_from(committed).expect("small"));
    Answer::Receipt(Receipt { committed, outcome })
}

#[test]
fn an_acknowledged_line_survives_power_loss() {
    let mut bench = Bench::new(1 << 30);
    let body = [line(20, "a"), line(21, "b")].concat();
    let answers = bench.send(vec![chunk(1, 0, &body)]);
    assert_eq!(answers.get(&0), Some(&receipt(body.len(), ChunkOutcome::Stored)));
    bench.disk.power_loss(1);
    bench.restart();
    assert_eq!(bench.stored(), body);
    let again = bench.send(vec![chunk(1, 0, &body)]);
    assert_eq!(again.get(&0), Some(&receipt(body.len(), ChunkOutcome::Duplicate)));
    assert_eq!(bench.stored(), body);
}

#[test]
fn chunks_that_overtake_each_other_are_stored_in_order() {
    let mut bench = Bench::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    let start = u64::try_from(first.len()).expect("small");
    assert!(
        bench.send(vec![chunk(1, start, &second)]).is_empty(),
        "it waits for its predecessor"
    );
    let answers = bench.send(vec![chunk(1, 0, &first)]);
    assert_eq!(
        answers.len(),
        1,
        "tickets are numbered anew each round, so both are 0"
    );
    assert_eq!(bench.stored(), [first, second].concat());
}

#[test]
fn whoever_waits_for_a_predecessor_is_turned_away_with_the_others() {
    let mut bench = Bench::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    let start = u64::try_from(first.len()).expect("small");
    assert!(bench.send(vec![chunk(1, start, &second)]).is_empty());
    let arrivals = vec![(chunk(1, 0, &first), 1)];
    let answers = bench.committer().turn_away(arrivals, "no room");
    let wait = Answer::Wait("no room".to_owned());
    assert_eq!(answers, [(1, wait.clone()), (0, wait)]);
    assert!(!bench.committer().has_parked());
    assert!(bench.stored().is_empty());
}

#[test]
fn a_chunk_cut_differently_is_answered_with_the_committed_offset() {
    let mut bench = Bench::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    bench.send(vec![chunk(1, 0, &first)]);
    let answers = bench.send(vec![chunk(1, 0, &[first.clone(), second].concat())]);
    assert_eq!(
        answers.get(&0),
        Some(&receipt(first.len(), ChunkOutcome::Elsewhere))
    );
    assert_eq!(bench.stored(), first);
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_the_next_round_starts_from_the_ledger() {
    for operation in [DiskOperation::Append, DiskOperation::Sync] {
        let mut bench = Bench::new(1 << 30);
        let (first, second) = (line(20, "first"), line(20, "second"));
        bench.send(vec![chunk(1, 0, &first)]);
        bench.disk.fail_next(operation, ErrorKind::StorageFull);
        let start = u64::try_from(first.len()).expect("small");
        let answers = bench.send(vec![chunk(1, start, &second)]);
        assert_eq!(
            answers.get(&0),
            Some(&Answer::Wait("the relay's disk is full".to_owned()))
        );
        let answers = bench.send(vec![chunk(1, start, &second)]);
        assert_eq!(
            answers.get(&0),
            Some(&receipt(first.len() + second.len(), ChunkOutcome::Stored))
        );
        bench.disk.power_loss(7);
        bench.restart();
        assert_eq!(bench.stored(), [first, second].concat(), "{operation:?}");
    }
}

#[test]
fn a_sealed_batch_never_changes_and_late_lines_open_the_next_part() {
    let mut bench = Bench::new(1 << 30);
    let (early, later, late) = (line(20, "early"), line(25, "later"), line(20, "late"));
    bench.send(vec![chunk(1, 0, &[early.clone(), later.clone()].concat())]);
    let sealed = bench.committer().seal_due(now()).expect("the disk works");
    assert_eq!(
        sealed.iter().map(Batch::name).collect::<Vec<_>>(),
        ["a_26112108_20-20_198-51-100-1"]
    );
    let start = u64::try_from(early.len() + later.len()).expect("small");
    bench.send(vec![chunk(1, start, &late)]);
    assert_eq!(bench.stored(), [early, late, later].concat());
    let ready = bench.disk.contents(&PathBuf::from(
        "/spool/ready/198.51.100.1/a_26112108_20-20_198-51-100-1.log",
    ));
    assert_eq!(ready, Some(line(20, "early")));
    let open = bench.disk.contents(&PathBuf::from(
        "/spool/open/198.51.100.1/a_26112108_20-20_198-51-100-1.2.log",
    ));
    assert_eq!(open, Some(line(20, "late")));
}

#[test]
fn a_line_in_pieces_stays_whole_beside_another_stream_of_the_same_batch() {
    let mut bench = Bench::new(1 << 30);
    let (begin, end) = (
        b"[21/Nov/2026:08:20:03 +0600] long ".as_slice(),
        [b"end\n".as_slice(), &line(21, "x")].concat(),
    );
    bench.send(vec![chunk_ending(1, 0, begin, LineEnd::Open, StreamEnd::Live)]);
    bench.send(vec![chunk(2, 0, &line(20, "other"))]);
    bench.restart();
    let start = u64::try_from(begin.len()).expect("small");
    bench.send(vec![chunk(1, start, &end)]);
    assert_eq!(
        bench.stored(),
        [begin, b"end\n".as_slice(), &line(20, "other"), &line(21, "x")].concat(),
        "the long line in part 1, the other stream's in part 2, then the next window"
    );
}

#[test]
fn a_stream_that_came_in_through_another_group_is_not_stored_twice() {
    let mut bench = Bench::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    bench.send(vec![chunk(1, 0, &first)]);
    // Another group's committer on the same ledger and spool takes the next chunk.
    let other = "web-2".parse().expect("valid");
    let mut other: Tested =
        Committer::start(other, rules(1 << 30), bench.spool(), bench.ledger()).expect("the disk works");
    let start = u64::try_from(first.len()).expect("small");
    let both = first.len() + second.len();
    other.round(vec![(chunk(1, start, &second), 0)], now());
    // The answer did not get through, and the sender comes back to the first group.
    let answers = bench.send(vec![chunk(1, start, &second)]);
    assert!(matches!(answers.get(&0), Some(Answer::Wait(_))), "{answers:?}");
    let answers = bench.send(vec![chunk(1, start, &second)]);
    assert_eq!(answers.get(&0), Some(&receipt(both, ChunkOutcome::Duplicate)));
    assert_eq!(bench.stored(), [first, second].concat());
}

#[test]
fn batches_of_a_group_that_is_gone_are_sealed() {
    let mut bench = Bench::new(1 << 30);
    bench.send(vec![chunk(1, 0, &line(20, "a"))]);
    let mut ledger = bench.ledger();
    bench
        .spool()
        .seal_orphans(&mut ledger, &["web-1".parse().expect("valid")], now())
        .expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [1, 0, 0, 0]);
    bench
        .spool()
        .seal_orphans(&mut ledger, &[], now())
        .expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [0, 1, 0, 0]);
    assert_eq!(bench.stored(), line(20, "a"));
}

#[test]
fn a_full_batch_goes_on_in_the_next_part_at_a_line_border() {
    let lines: Vec<_> = (0..10).map(|n| line(20, &format!("line {n}"))).collect();
    let length = lines[0].len();
    let mut bench = Bench::new(u64::try_from(3 * length + 5).expect("small"));
    bench.send(vec![chunk(1, 0, &lines.concat())]);
    assert_eq!(bench.stored(), lines.concat());
    let batches = bench.ledger().batches(&BatchFilter::default()).expect("a ledger");
    assert_eq!(
        batches
            .iter()
            .map(|batch| batch.contents.lines)
            .collect::<Vec<_>>(),
        [3, 3, 3, 1]
    );
    assert_eq!(
        bench.committer().seal_due(now()).expect("the disk works").len(),
        3
    );
}

#[test]
fn a_quiet_batch_is_sealed_and_an_empty_one_is_discarded() {
    let mut bench = Bench::new(1 << 30);
    bench.send(vec![chunk(1, 0, &line(20, "a"))]);
    bench.disk.fail_next(DiskOperation::Append, ErrorKind::Other);
    bench.send(vec![chunk(2, 0, &line(22, "never stored"))]);
    bench.restart();
    assert!(
        bench
            .committer()
            .seal_due(now())
            .expect("the disk works")
            .is_empty()
    );
    bench.committer().open.age_all(Duration::from_mins(3));
    bench.committer().streams.clear();
    let sealed = bench
        .committer()
        .seal_due(now() + Duration::from_mins(10))
        .expect("the disk works");
    assert_eq!(sealed.len(), 1);
    let states: Vec<_> = bench
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger")
        .iter()
        .map(|b| b.state)
        .collect();
    assert_eq!(states, [BatchState::Ready], "the empty batch is gone");
}
