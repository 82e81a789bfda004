//! Tests of the commit on a simulated disk that loses unsynced bytes.
//!
//! A small model knows every line that was ever sent. Whatever fails, the spool must hold each acknowledged line once, in
//! order, and nothing else.

mod arrival;
mod failure_histories;
mod parts;
mod reports;
mod same_input;
mod stream_recovery;
mod tested;
mod times;
mod two_senders;
mod uploads;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{BatchSettings as Rules, FormatsByLog, NameTemplate, TimestampFormat, WindowLength};
use logferry_durable::{Disk, DiskFile, DiskOperation};
use logferry_invariants::{
    invariant_file_holds_the_ledgers_bytes, invariant_folder_follows_ledger,
    invariant_no_name_is_given_twice, invariant_row_exists_before_file,
};
use logferry_ledger::{Batch, BatchContents, BatchFilter, BatchState, FORGOTTEN_PARTS, Ledger, PARTS_MAX};
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineCounts, LineEnd, Receipt, StreamEnd};
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};
use logferry_spool::{FileForm, Spool};
use logferry_testkit::SimDisk;
use logferry_testkit::batches::new_batch;
use logferry_time_windows::BATCH_NAME_MAX;

use self::tested::{Tested, moment};
use crate::chunk::{ChunkReply, ReceivedChunk, WindowSplit, split_by_window};
use crate::commit::spool_recovery::seal_orphans;

pub(super) fn rules(max_bytes: u64) -> Rules {
    Rules {
        window: WindowLength::try_from(Duration::from_mins(1)).expect("divides an hour"),
        name: NameTemplate::parse("a_{yymmddHH}_{window}_{source}").expect("valid"),
        seal_after: Duration::from_mins(2),
        slack: Duration::from_secs(10),
        hold: Duration::from_mins(30),
        max_bytes,
        timestamp: TimestampFormat::Auto,
        formats: FormatsByLog::default(),
    }
}

/// The lines of a body by window, as the HTTP side reads them.
pub(super) fn split(body: &[u8], rules: &Rules) -> WindowSplit {
    let clock = rules.clock(&"access".parse().expect("valid"), now());
    split_by_window(body, clock, rules.window)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_227_700).expect("in range")
}

/// A committer on a simulated disk that can be restarted.
struct CommitterFixture {
    disk: SimDisk,
    ledger_dir: tempfile::TempDir,
    max_bytes: u64,
    committer: Option<Tested>,
}

impl CommitterFixture {
    fn new(max_bytes: u64) -> Self {
        let ledger_dir = tempfile::tempdir().expect("a folder");
        let mut fixture = Self {
            disk: SimDisk::new(),
            ledger_dir,
            max_bytes,
            committer: None,
        };
        fixture.restart();
        fixture
    }

    fn spool(&self) -> Spool<SimDisk> {
        Spool::new(self.disk.clone(), Path::new("/spool"))
    }

    /// Restarts as after a crash: only disk and ledger are left.
    fn restart(&mut self) {
        self.committer = None;
        let ledger = Ledger::open_or_create(self.ledger_dir.path()).expect("a ledger");
        let started = Tested::start("web-1", rules(self.max_bytes), self.spool(), ledger);
        self.committer = Some(started.expect("the disk works"));
    }

    fn committer(&mut self) -> &mut Tested {
        self.committer.as_mut().expect("started")
    }

    /// Seals the batches that are due at this time.
    fn seal_due(&mut self, at: Timestamp) -> Vec<Batch> {
        self.committer().seal_due(at).expect("the disk works")
    }

    fn send(&mut self, chunks: Vec<ReceivedChunk<Vec<u8>>>) -> BTreeMap<usize, ChunkReply> {
        self.committer()
            .group_commit(chunks.into_iter().zip(0..).collect(), now())
            .into_iter()
            .collect()
    }

    /// How far a stream is durable.
    fn committed(&self, number: u64) -> Offset {
        let (_, _, id) = stream(number);
        let source = "198.51.100.1".parse().expect("valid");
        let known = self.ledger().stream(&source, id).expect("a ledger");
        known.map_or(Offset::ZERO, |record| record.committed)
    }

    /// Makes the ledger refuse every commit with lines and every seal, or stops that.
    fn set_ledger_refuses(&self, refuses: bool) {
        let sqlite = rusqlite::Connection::open(self.ledger().path()).expect("a ledger");
        let change = if refuses {
            "CREATE TRIGGER IF NOT EXISTS refuse BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'refused'); END"
        } else {
            "DROP TRIGGER IF EXISTS refuse"
        };
        sqlite.execute_batch(change).expect("a trigger");
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(self.ledger_dir.path()).expect("a ledger")
    }

    /// The contents of all files in the spool, in the order of windows and parts, checked against the ledger.
    fn stored(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let batches = self.ledger().batches(&BatchFilter::default()).expect("a ledger");
        assert_eq!(invariant_no_name_is_given_twice(&batches), Ok(()));
        for batch in &batches {
            let path = self.spool().path(batch, batch.state);
            let contents = self.disk.contents(&path).unwrap_or_default();
            let found = BatchContents {
                lines: memchr::memchr_iter(b'\n', &contents).count() as u64,
                bytes: contents.len() as u64,
                crc32c: crc32c::crc32c(&contents),
            };
            assert_eq!(invariant_file_holds_the_ledgers_bytes(batch, found), Ok(()));
            assert_eq!(found.lines, batch.contents.lines, "lines of {}", path.display());
            all.extend_from_slice(&contents);
        }
        all
    }

    /// At rest, each file has a row and is in the folder of its batch's state.
    fn check_folders(&self) {
        let batches = self.ledger().batches(&BatchFilter::default()).expect("a ledger");
        for state in BatchState::ALL {
            let folder = Path::new("/spool").join(state.as_str()).join("198.51.100.1");
            for name in self.disk.list(&folder).expect("a folder") {
                let row = batches.iter().find(|batch| batch.file_name() == name);
                assert_eq!(invariant_row_exists_before_file(&name, row), Ok(()));
                let in_folder = row.map(|batch| invariant_folder_follows_ledger(batch, state));
                assert_eq!(in_folder, Some(Ok(())));
            }
        }
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

pub(super) fn chunk(number: u64, start: u64, body: &[u8]) -> ReceivedChunk<Vec<u8>> {
    chunk_ending(number, start, body, LineEnd::Whole, StreamEnd::Live)
}

fn chunk_ending(
    number: u64,
    start: u64,
    body: &[u8],
    line_end: LineEnd,
    stream_end: StreamEnd,
) -> ReceivedChunk<Vec<u8>> {
    let (file, head, stream) = stream(number);
    let split = split(body, &rules(0));
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
    ReceivedChunk {
        source: "198.51.100.1".parse().expect("valid"),
        sender: None,
        header,
        upload: None,
        arrived: moment(now()),
        body: body.to_vec(),
        split,
    }
}

pub(super) fn line(minute: u32, text: &str) -> Vec<u8> {
    format!("[21/Nov/2026:08:{minute:02}:03 +0600] {text}\n").into_bytes()
}

fn receipt(committed: usize, outcome: ChunkOutcome) -> ChunkReply {
    let committed = Offset::new(u64::try_from(committed).expect("small"));
    ChunkReply::Receipt(Receipt::new(committed, outcome))
}

#[test]
fn an_acknowledged_line_survives_power_loss() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let body = [line(20, "a"), line(21, "b")].concat();
    let answers = fixture.send(vec![chunk(1, 0, &body)]);
    assert_eq!(answers.get(&0), Some(&receipt(body.len(), ChunkOutcome::Stored)));
    fixture.disk.power_loss(1);
    fixture.restart();
    assert_eq!(fixture.stored(), body);
    let again = fixture.send(vec![chunk(1, 0, &body)]);
    assert_eq!(again.get(&0), Some(&receipt(body.len(), ChunkOutcome::Duplicate)));
    assert_eq!(fixture.stored(), body);
}

#[test]
fn lines_of_another_file_with_the_id_of_a_stream_do_not_count_as_stored() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (body, other) = (line(20, "a"), line(20, "b"));
    fixture.send(vec![chunk(1, 0, &body)]);
    for _ in 0..2 {
        let answers = fixture.send(vec![chunk(1, 0, &other)]);
        let elsewhere = receipt(body.len(), ChunkOutcome::OffsetMismatch);
        assert_eq!(answers.get(&0), Some(&elsewhere));
        fixture.restart();
    }
    assert_eq!(fixture.stored(), body);
}

#[test]
fn chunks_that_overtake_each_other_are_stored_in_order() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    let start = u64::try_from(first.len()).expect("small");
    assert!(
        fixture.send(vec![chunk(1, start, &second)]).is_empty(),
        "it waits for its predecessor"
    );
    let answers = fixture.send(vec![chunk(1, 0, &first)]);
    assert_eq!(
        answers.len(),
        1,
        "replies are numbered from 0 in each round, so both are 0"
    );
    assert_eq!(fixture.stored(), [first, second].concat());
}

#[test]
fn chunks_that_wait_for_a_predecessor_are_rejected_with_the_others() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    let start = u64::try_from(first.len()).expect("small");
    assert!(fixture.send(vec![chunk(1, start, &second)]).is_empty());
    fixture
        .disk
        .fail_next(DiskOperation::Append, ErrorKind::StorageFull);
    let arrivals = vec![(chunk(1, 0, &first), 1)];
    let answers = fixture.committer().group_commit(arrivals, now());
    let wait = ChunkReply::Wait("the relay's disk is full".to_owned());
    assert_eq!(answers, [(1, wait.clone()), (0, wait)]);
    assert!(fixture.committer().early.is_empty());
}

#[test]
fn a_chunk_cut_differently_is_answered_with_the_committed_offset() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    fixture.send(vec![chunk(1, 0, &first)]);
    let answers = fixture.send(vec![chunk(1, 0, &[first.clone(), second].concat())]);
    assert_eq!(
        answers.get(&0),
        Some(&receipt(first.len(), ChunkOutcome::OffsetMismatch))
    );
    assert_eq!(fixture.stored(), first);
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_the_next_round_starts_from_the_ledger() {
    for operation in [DiskOperation::Append, DiskOperation::Sync] {
        let mut fixture = CommitterFixture::new(1 << 30);
        let (first, second) = (line(20, "first"), line(20, "second"));
        fixture.send(vec![chunk(1, 0, &first)]);
        fixture.disk.fail_next(operation, ErrorKind::StorageFull);
        let start = u64::try_from(first.len()).expect("small");
        let answers = fixture.send(vec![chunk(1, start, &second)]);
        assert_eq!(
            answers.get(&0),
            Some(&ChunkReply::Wait("the relay's disk is full".to_owned()))
        );
        let answers = fixture.send(vec![chunk(1, start, &second)]);
        assert_eq!(
            answers.get(&0),
            Some(&receipt(first.len() + second.len(), ChunkOutcome::Stored))
        );
        fixture.disk.power_loss(7);
        fixture.restart();
        assert_eq!(fixture.stored(), [first, second].concat(), "{operation:?}");
    }
}

#[test]
fn a_sealed_batch_never_changes_and_late_lines_open_the_next_part() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (early, later, late) = (line(20, "early"), line(25, "later"), line(20, "late"));
    fixture.send(vec![chunk(1, 0, &[early.clone(), later.clone()].concat())]);
    let sealed = fixture.seal_due(now());
    assert_eq!(
        sealed.iter().map(Batch::name).collect::<Vec<_>>(),
        ["a_26112108_20-20_198-51-100-1"]
    );
    let start = u64::try_from(early.len() + later.len()).expect("small");
    fixture.send(vec![chunk(1, start, &late)]);
    assert_eq!(fixture.stored(), [early, late, later].concat());
    let ready = fixture.disk.contents(&PathBuf::from(
        "/spool/ready/198.51.100.1/a_26112108_20-20_198-51-100-1.log",
    ));
    assert_eq!(ready, Some(line(20, "early")));
    let open = fixture.disk.contents(&PathBuf::from(
        "/spool/open/198.51.100.1/a_26112108_20-20_198-51-100-1.2.log",
    ));
    assert_eq!(open, Some(line(20, "late")));
}

#[test]
fn a_line_in_pieces_stays_whole_beside_another_stream_of_the_same_batch() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (begin, end) = (
        b"[21/Nov/2026:08:20:03 +0600] long ".as_slice(),
        [b"end\n".as_slice(), &line(21, "x")].concat(),
    );
    fixture.send(vec![chunk_ending(1, 0, begin, LineEnd::Open, StreamEnd::Live)]);
    fixture.send(vec![chunk(2, 0, &line(20, "other"))]);
    fixture.restart();
    let start = u64::try_from(begin.len()).expect("small");
    fixture.send(vec![chunk(1, start, &end)]);
    assert_eq!(
        fixture.stored(),
        [begin, b"end\n".as_slice(), &line(20, "other"), &line(21, "x")].concat(),
        "the long line in part 1, the other stream's in part 2, then the next window"
    );
}

#[test]
fn a_stream_that_came_in_through_another_group_is_not_stored_twice() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    fixture.send(vec![chunk(1, 0, &first)]);
    // Another group's committer on the same ledger and spool takes the next chunk.
    let other = Tested::start("web-2", rules(1 << 30), fixture.spool(), fixture.ledger());
    let mut other = other.expect("the disk works");
    let start = u64::try_from(first.len()).expect("small");
    let both = first.len() + second.len();
    other.group_commit(vec![(chunk(1, start, &second), 0)], now());
    // The answer did not get through, and the sender comes back to the first group.
    let answers = fixture.send(vec![chunk(1, start, &second)]);
    assert!(
        matches!(answers.get(&0), Some(ChunkReply::Wait(_))),
        "{answers:?}"
    );
    let answers = fixture.send(vec![chunk(1, start, &second)]);
    assert_eq!(answers.get(&0), Some(&receipt(both, ChunkOutcome::Duplicate)));
    assert_eq!(fixture.stored(), [first, second].concat());
}

#[test]
fn batches_of_a_group_that_is_gone_are_sealed() {
    let mut fixture = CommitterFixture::new(1 << 30);
    fixture.send(vec![chunk(1, 0, &line(20, "a"))]);
    let mut ledger = fixture.ledger();
    let configured = ["web-1".parse().expect("valid")];
    seal_orphans(&fixture.spool(), &mut ledger, &configured, now()).expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [1, 0, 0, 0]);
    seal_orphans(&fixture.spool(), &mut ledger, &[], now()).expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [0, 1, 0, 0]);
    assert_eq!(fixture.stored(), line(20, "a"));
}

#[test]
fn a_batch_of_a_group_that_is_gone_whose_lines_are_missing_is_told() {
    let mut fixture = CommitterFixture::new(1 << 30);
    fixture.send(vec![chunk(1, 0, &line(20, "a"))]);
    let mut ledger = fixture.ledger();
    let batches = ledger.batches_in(BatchState::Open).expect("a ledger");
    let path = fixture.spool().path(&batches[0], BatchState::Open);
    let mut file = fixture.disk.open_append(&path).expect("a file");
    file.truncate(1).expect("cut");
    let told = logferry_telemetry::journal_messages(|| {
        seal_orphans(&fixture.spool(), &mut ledger, &[], now()).expect("the disk works");
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("shorter than the ledger says"), "{told:?}");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [1, 0, 0, 0]);
}

#[test]
fn an_empty_batch_of_a_group_that_is_gone_is_discarded() {
    let fixture = CommitterFixture::new(1 << 30);
    let mut ledger = fixture.ledger();
    let batch = new_batch("198.51.100.1", "a_26112100_01-01_198-51-100-1");
    // The relay was killed between this and the commit of its first line.
    ledger.open_batch(&batch, now()).expect("a ledger");
    let configured = ["web-1".parse().expect("valid")];
    seal_orphans(&fixture.spool(), &mut ledger, &configured, now()).expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [1, 0, 0, 0]);
    seal_orphans(&fixture.spool(), &mut ledger, &[], now()).expect("the disk works");
    assert_eq!(ledger.count_by_state().expect("a ledger"), [0, 0, 0, 0]);
}

#[test]
fn the_longest_name_in_the_spool_is_one_that_a_file_can_have() {
    let part = format!(".{}", FORGOTTEN_PARTS + PARTS_MAX);
    let longest = FileForm::SENT.into_iter().map(|form| form.suffix().len()).max();
    assert_eq!(BATCH_NAME_MAX + part.len() + longest.unwrap_or_default(), 255);
}

#[test]
fn a_full_batch_continues_in_the_next_part_at_a_line_end() {
    let lines: Vec<_> = (0..10).map(|n| line(20, &format!("line {n}"))).collect();
    let length = lines[0].len();
    let mut fixture = CommitterFixture::new(u64::try_from(3 * length + 5).expect("small"));
    fixture.send(vec![chunk(1, 0, &lines.concat())]);
    assert_eq!(fixture.stored(), lines.concat());
    let batches = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger");
    assert_eq!(
        batches
            .iter()
            .map(|batch| batch.contents.lines)
            .collect::<Vec<_>>(),
        [3, 3, 3, 1]
    );
    assert_eq!(fixture.seal_due(now()).len(), 3);
}

#[test]
fn a_quiet_batch_is_sealed_and_an_empty_one_is_discarded() {
    let mut fixture = CommitterFixture::new(1 << 30);
    fixture.send(vec![chunk(1, 0, &line(20, "a"))]);
    fixture.disk.fail_next(DiskOperation::Append, ErrorKind::Other);
    fixture.send(vec![chunk(2, 0, &line(22, "never stored"))]);
    fixture.restart();
    assert!(fixture.seal_due(now()).is_empty());
    fixture.committer().open.age_all(Duration::from_mins(3));
    fixture.committer().streams.clear();
    let sealed = fixture.seal_due(now() + Duration::from_mins(10));
    assert_eq!(sealed.len(), 1);
    let states: Vec<_> = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger")
        .iter()
        .map(|b| b.state)
        .collect();
    assert_eq!(states, [BatchState::Ready], "the empty batch is gone");
}
