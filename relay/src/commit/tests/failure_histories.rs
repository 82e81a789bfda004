//! Generated histories of sends, repeats, crashes, power cuts, and temporary failures of disk and ledger, with a round
//! that waits to be recorded, one that is being synced, and one that is being staged.
#![allow(clippy::disallowed_methods, reason = "a test copies a ledger")]

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use logferry_durable::DiskOperation;
use logferry_invariants::{invariant_acknowledged_is_durable, invariant_sealed_never_changes};
use logferry_ledger::{Batch, BatchFilter, BatchState, FILE_NAME, Ledger};
use logferry_protocol::chunk::ChunkOutcome;
use logferry_testkit::SimFile;
use proptest::prelude::*;

use super::{CommitterFixture, chunk, line, moment, now};
use crate::chunk::{ChunkReply, ReceivedChunk};
use crate::commit::committer::{RecordOutcome, RoundRecorder, StagedRound};
use crate::commit::disk_scheduler::SharedDiskScheduler;
use crate::commit::spool_recovery::CommitError;

/// One event of a generated history.
#[derive(Debug, Clone)]
enum HistoryEvent {
    /// Lines of these minutes, by this stream, in chunks of so many lines, sent in this order.
    Send {
        stream: u64,
        minutes: Vec<u32>,
        reversed: bool,
    },
    /// The round that was handed over last is synced; the staged one is next.
    Sync,
    /// The oldest round is recorded, and synced if it is not.
    Record,
    /// An acknowledged chunk is sent again.
    Repeat { stream: u64 },
    /// The n-th change from now on fails, and the process crashes.
    Crash { after: u64, seed: u64 },
    /// A power cut.
    PowerLoss { seed: u64 },
    /// Time passes and batches are sealed.
    Seal,
    /// The next operation of that kind fails, and the relay continues.
    Fault {
        operation: DiskOperation,
        kind: ErrorKind,
    },
    /// The disk has only this much free space.
    Full { bytes: u64 },
    /// The disk has space again.
    SpaceAgain,
    /// The ledger refuses changes, or accepts them again.
    Ledger { refuses: bool },
}

fn event() -> impl Strategy<Value = HistoryEvent> {
    let stream = 1_u64..4;
    prop_oneof![
        6 => (stream.clone(), prop::collection::vec(0_u32..5, 1..8), any::<bool>())
            .prop_map(|(stream, minutes, reversed)| HistoryEvent::Send { stream, minutes, reversed }),
        4 => Just(HistoryEvent::Sync),
        3 => Just(HistoryEvent::Record),
        1 => stream.prop_map(|stream| HistoryEvent::Repeat { stream }),
        2 => (0_u64..12, any::<u64>()).prop_map(|(after, seed)| HistoryEvent::Crash { after, seed }),
        1 => any::<u64>().prop_map(|seed| HistoryEvent::PowerLoss { seed }),
        1 => Just(HistoryEvent::Seal),
        3 => (fault(), prop_oneof![Just(ErrorKind::StorageFull), Just(ErrorKind::Other)])
            .prop_map(|(operation, kind)| HistoryEvent::Fault { operation, kind }),
        1 => (0_u64..200).prop_map(|bytes| HistoryEvent::Full { bytes }),
        1 => Just(HistoryEvent::SpaceAgain),
        1 => any::<bool>().prop_map(|refuses| HistoryEvent::Ledger { refuses }),
    ]
}

fn fault() -> impl Strategy<Value = DiskOperation> {
    prop::sample::select(vec![
        DiskOperation::Append,
        DiskOperation::Sync,
        DiskOperation::Sync,
        DiskOperation::Rename,
        DiskOperation::Open,
        DiskOperation::CreateDir,
        DiskOperation::Truncate,
        DiskOperation::Read,
        DiskOperation::List,
        DiskOperation::Remove,
    ])
}

/// The sender's side of the model: a stream's file, how much of it is sent, and how much acknowledged.
#[derive(Default)]
struct SenderFile {
    bytes: Vec<u8>,
    sent: usize,
    acked: usize,
}

/// A stream's reply handle.
fn handle(stream: u64) -> usize {
    usize::try_from(stream).expect("small")
}

/// A round on its way, with the result of its sync.
type WrittenRound = (StagedRound<SimFile, usize>, Option<Result<(), CommitError>>);

/// The committer with the rounds that are being written, and the senders' files.
struct History {
    fixture: CommitterFixture,
    /// Staged completely, and not recorded yet. Oldest first.
    in_flight: VecDeque<WrittenRound>,
    files: BTreeMap<u64, SenderFile>,
    lines: usize,
}

impl History {
    fn new() -> Self {
        Self {
            fixture: CommitterFixture::new(400),
            in_flight: VecDeque::new(),
            files: BTreeMap::new(),
            lines: 0,
        }
    }

    fn write_line(&mut self, stream: u64, minute: u32) {
        self.lines += 1;
        let line = line(minute, &format!("stream {stream} line {:06}", self.lines));
        self.files.entry(stream).or_default().bytes.extend(line);
    }

    /// Sends what a stream has not sent yet, in two chunks.
    fn ship(&mut self, stream: u64, reversed: bool) {
        let file = self.files.entry(stream).or_default();
        let start = file.sent;
        let unsent = &file.bytes[start..];
        let middle = memchr::memchr(b'\n', unsent).map_or(unsent.len(), |at| at + 1);
        let mut chunks = vec![chunk(stream, start as u64, &unsent[..middle])];
        if middle < unsent.len() {
            chunks.push(chunk(stream, (start + middle) as u64, &unsent[middle..]));
        }
        if reversed {
            chunks.reverse();
        }
        file.sent = file.bytes.len();
        self.stage(chunks.into_iter().map(|chunk| (chunk, handle(stream))).collect());
    }

    /// As the commit thread does it.
    fn stage(&mut self, chunks: Vec<(ReceivedChunk<Vec<u8>>, usize)>) {
        while self.fixture.committer().needs_recovery && !self.in_flight.is_empty() {
            self.record();
        }
        let replies = self.fixture.committer().stage_at(chunks, moment(now()));
        self.take_replies(replies);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        if self.in_flight.back().is_none_or(|(_, synced)| synced.is_some())
            && let Some(round) = self.fixture.committer().take_round(now())
        {
            self.in_flight.push_back((round, None));
        }
    }

    /// Syncs the round that was handed over last, unless that is done.
    fn sync(&mut self) {
        if let Some((round, synced @ None)) = self.in_flight.back_mut() {
            *synced = Some(self.fixture.committer().sync(round));
            self.hand_over();
        }
    }

    /// Records the oldest round.
    fn record(&mut self) {
        if self.in_flight.len() == 1 {
            self.sync();
        }
        if let Some((round, Some(synced))) = self.in_flight.pop_front() {
            let replies = self.fixture.committer().record(round, synced);
            self.take_replies(replies);
        }
        self.hand_over();
    }

    fn come_to_rest(&mut self) {
        while !self.fixture.committer().is_at_rest() {
            self.record();
        }
    }

    fn seal(&mut self) {
        self.come_to_rest();
        self.fixture.committer().open.age_all(Duration::from_hours(1));
        // An error leaves the rest to the next call.
        let _ = self.fixture.committer().seal_due(now() + Duration::from_hours(1));
    }

    fn take_replies(&mut self, replies: Vec<(usize, ChunkReply)>) {
        for (stream, reply) in replies {
            let file = self.files.get_mut(&(stream as u64)).expect("it has sent a chunk");
            match reply {
                ChunkReply::Receipt(receipt) => {
                    let durable = self.fixture.committed(stream as u64);
                    let held = invariant_acknowledged_is_durable(receipt.committed, durable);
                    assert_eq!(held, Ok(()));
                    let committed = usize::try_from(receipt.committed.get()).expect("small");
                    file.acked = file.acked.max(committed);
                    if receipt.outcome == ChunkOutcome::OffsetMismatch {
                        file.sent = committed;
                    }
                }
                ChunkReply::Wait(_) => file.sent = file.acked,
            }
        }
    }

    /// The process ends, and starts again.
    fn restart(&mut self) {
        self.in_flight.clear();
        self.fixture.restart();
        for file in self.files.values_mut() {
            file.sent = file.acked;
        }
    }

    fn apply(&mut self, event: HistoryEvent) {
        match event {
            HistoryEvent::Send {
                stream,
                minutes,
                reversed,
            } => {
                for minute in minutes {
                    self.write_line(stream, 20 + minute);
                }
                self.ship(stream, reversed);
            }
            HistoryEvent::Sync => self.sync(),
            HistoryEvent::Record => self.record(),
            HistoryEvent::Repeat { stream } => {
                let file = self.files.entry(stream).or_default();
                if file.acked > 0 {
                    let end = memchr::memchr(b'\n', &file.bytes).map_or(0, |at| at + 1);
                    let repeat = chunk(stream, 0, &file.bytes[..end]);
                    self.stage(vec![(repeat, handle(stream))]);
                }
            }
            HistoryEvent::Crash { after, seed } => {
                self.fixture.disk.fail_after(after);
                for stream in self.files.keys().copied().collect::<Vec<_>>() {
                    self.write_line(stream, 20);
                    self.ship(stream, false);
                }
                self.seal();
                if seed.is_multiple_of(2) {
                    self.fixture.disk.heal();
                } else {
                    self.fixture.disk.power_loss(seed);
                }
                self.restart();
            }
            HistoryEvent::PowerLoss { seed } => {
                self.fixture.disk.power_loss(seed);
                self.restart();
            }
            HistoryEvent::Seal => self.seal(),
            HistoryEvent::Fault { operation, kind } => self.fixture.disk.fail_next(operation, kind),
            HistoryEvent::Full { bytes } => self.fixture.disk.set_free_bytes(bytes),
            HistoryEvent::SpaceAgain => self.fixture.disk.set_free_bytes(1 << 40),
            HistoryEvent::Ledger { refuses } => self.fixture.set_ledger_refuses(refuses),
        }
    }

    /// All faults end, and the senders send what is not acknowledged.
    fn finish(&mut self) {
        self.fixture.disk.heal();
        self.fixture.disk.set_free_bytes(1 << 40);
        self.fixture.set_ledger_refuses(false);
        self.come_to_rest();
        for stream in self.files.keys().copied().collect::<Vec<_>>() {
            while self.files[&stream].acked < self.files[&stream].bytes.len() {
                let file = self.files.get_mut(&stream).expect("it is there");
                file.sent = file.acked;
                self.ship(stream, false);
                self.come_to_rest();
            }
        }
    }
}

fn same_part(one: &Batch, other: &Batch) -> bool {
    one.name() == other.name()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_stored_once_and_in_order_whatever_fails(
        steps in prop::collection::vec(event(), 1..30),
        seed in any::<u64>(),
    ) {
        let mut history = History::new();
        let mut before = Vec::new();
        for event in steps {
            history.apply(event);
            // Otherwise files are ahead of the ledger, or the next round recovers first.
            let committer = history.fixture.committer();
            if committer.is_at_rest() && !committer.needs_recovery {
                history.fixture.stored();
            }
            let now = history.fixture.ledger().batches(&BatchFilter::default()).expect("a ledger");
            for batch in &before {
                if let Some(same) = now.iter().find(|other| same_part(other, batch)) {
                    prop_assert_eq!(invariant_sealed_never_changes(batch, same), Ok(()));
                } else {
                    // An open batch that never got a line is forgotten instead of sealed.
                    prop_assert_eq!((batch.state, batch.contents.bytes), (BatchState::Open, 0));
                }
            }
            before = now;
        }
        history.finish();
        let History { mut fixture, files, .. } = history;
        fixture.disk.power_loss(seed);
        fixture.restart();
        fixture.check_folders();
        let stored = fixture.stored();
        let mut stored: Vec<_> = stored.split_inclusive(|&byte| byte == b'\n').collect();
        let mut expected: Vec<_> =
            files.values().flat_map(|file| file.bytes.split_inclusive(|&byte| byte == b'\n')).collect();
        // Within a window a stream's lines keep their order; the numbers in them grow, so sorting by window and
        // stream must not move any.
        stored.sort_by_key(|line| (line[16], line[17], line[36]));
        expected.sort_by_key(|line| (line[16], line[17], line[36]));
        prop_assert_eq!(stored, expected);
    }
}

/// Copies a ledger as a crash would leave it: the file and its write-ahead log.
fn copy_ledger(from: &Path, to: &Path) {
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
        std::fs::copy(from.join(&name), to.join(&name)).expect("a copy");
    }
}

/// A commit whose flush fails may leave all its bytes in the write-ahead log. The test imitates this: a copy of the ledger takes
/// the round, and the log of the copy replaces that of the ledger without the knowledge of its connections.
#[test]
fn a_round_whose_commit_failed_in_its_flush_does_not_come_back_after_a_crash() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (first, second) = (line(20, "first"), line(20, "second"));
    fixture.send(vec![chunk(1, 0, &first)]);
    let arrivals = vec![(chunk(1, first.len() as u64, &second), 0)];
    assert!(fixture.committer().stage_at(arrivals, moment(now())).is_empty());
    let mut round = fixture.committer().take_round(now()).expect("a round");
    let synced = fixture.committer().sync(&mut round);
    let folder = || tempfile::tempdir().expect("a folder");
    let (copied, crashed) = (folder(), folder());
    copy_ledger(fixture.ledger_dir.path(), copied.path());
    let copy = Ledger::open(copied.path()).expect("a ledger");
    let running = SharedDiskScheduler::default().join().begin(0);
    // Its connection stays open: the last one that is closed removes the log.
    let mut recorder = RoundRecorder::new(copy);
    let written = recorder.record(&round, synced, &running);
    assert!(matches!(written, RecordOutcome::Durable), "{written:?}");
    let wal = |dir: &Path| dir.join(format!("{FILE_NAME}-wal"));
    let before = std::fs::read(wal(fixture.ledger_dir.path())).expect("a log");
    let after = std::fs::read(wal(copied.path())).expect("a log");
    assert!(after.starts_with(&before) && after.len() > before.len());
    std::fs::write(wal(fixture.ledger_dir.path()), after).expect("written");
    let error = Ledger::open(folder().path()).expect_err("there is none");
    let replies = fixture.committer().round_failed(round, error.into());
    assert!(matches!(replies[..], [(0, ChunkReply::Wait(_))]), "{replies:?}");
    fixture
        .committer()
        .recover(moment(now()))
        .expect("the disk works");
    copy_ledger(fixture.ledger_dir.path(), crashed.path());
    fixture.ledger_dir = crashed;
    fixture.disk.power_loss(1);
    fixture.restart();
    assert_eq!(fixture.committed(1).get(), first.len() as u64);
    assert_eq!(fixture.stored(), first);
    fixture.send(vec![chunk(1, first.len() as u64, &second)]);
    assert_eq!(fixture.stored(), [first, second].concat());
}
