//! One sequence of inputs gives one result: a committer that stages ahead of up to two rounds, crashes anywhere, recovers and
//! gets the unanswered input again ends with the same names, bytes and ledger as one that never crashed and makes each input
//! durable before the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_ledger::{Batch, BatchContents, BatchFilter, BatchState, StreamRecord};
use logferry_protocol::chunk::{ChunkOutcome, LineEnd, StreamEnd};
use logferry_testkit::SimFile;
use proptest::prelude::*;

use super::{CommitterFixture, chunk_ending, line, now, stream};
use crate::chunk::{ChunkReply, Moment, ReceivedChunk};
use crate::commit::committer::StagedRound;
use crate::commit::spool_recovery::CommitError;

/// Small, so that windows have several parts.
const MAX_BYTES: u64 = 300;

#[derive(Debug, Clone)]
enum Input {
    /// Chunks of some streams arrive together: each is a stream and its lines.
    Round(Vec<(u64, Vec<TestLine>)>),
    /// It was decided to seal the parts of these windows: each bit is a minute.
    Seal(u8),
}

#[derive(Debug, Clone)]
enum TestLine {
    OfMinute(u32),
    WithoutTime,
    /// The beginning of a line; the rest comes with the next chunk. It ends its chunk.
    Begun,
}

/// How the second committer is disturbed at an input.
#[derive(Debug, Clone)]
enum Trouble {
    None,
    /// So many rounds are left on their way, and the last of them is synced or not.
    Ahead {
        rounds: usize,
        synced: bool,
    },
    /// It crashes after so many changes of the disk, with a power cut or without.
    Crash {
        after: u64,
        power_loss: Option<u64>,
    },
    /// It crashes when everything is done, before the replies are received.
    LostReplies,
}

fn input() -> impl Strategy<Value = Input> {
    let line = prop_oneof![
        6 => (20_u32..24).prop_map(TestLine::OfMinute),
        2 => Just(TestLine::WithoutTime),
        1 => Just(TestLine::Begun),
    ];
    let chunk = (1_u64..4, prop::collection::vec(line, 1..8));
    prop_oneof![
        5 => prop::collection::vec(chunk, 1..4).prop_map(Input::Round),
        1 => any::<u8>().prop_map(Input::Seal),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        1 => Just(Trouble::None),
        4 => (1_usize..3, any::<bool>()).prop_map(|(rounds, synced)| Trouble::Ahead { rounds, synced }),
        4 => (0_u64..14, prop::option::of(any::<u64>()))
            .prop_map(|(after, power_loss)| Trouble::Crash { after, power_loss }),
        1 => Just(Trouble::LostReplies),
    ]
}

/// The chunks of a round, and where each stream stands after it.
fn chunks_of(
    round: &[(u64, Vec<TestLine>)],
    sent: &BTreeMap<u64, u64>,
) -> (Vec<ReceivedChunk<Vec<u8>>>, BTreeMap<u64, u64>) {
    let mut after = sent.clone();
    let chunk = |(stream, lines): &(u64, Vec<TestLine>)| {
        let start = after.entry(*stream).or_default();
        let (mut body, mut line_end) = (Vec::new(), LineEnd::Whole);
        for (number, test_line) in lines.iter().enumerate() {
            let text = format!("stream {stream} at {start} line {number}");
            match test_line {
                TestLine::OfMinute(minute) => body.extend(line(*minute, &text)),
                TestLine::WithoutTime => body.extend(format!("no time, {text}\n").into_bytes()),
                TestLine::Begun => {
                    body.extend(text.into_bytes());
                    line_end = LineEnd::Open;
                    break;
                }
            }
        }
        let chunk = chunk_ending(*stream, *start, &body, line_end, StreamEnd::Live);
        *start += body.len() as u64;
        chunk
    };
    (round.iter().map(chunk).collect(), after)
}

/// Both clocks at a time of the test.
fn steady_moment(at: Timestamp) -> Moment {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Moment {
        wall: at,
        steady: *BEGAN + at.duration_since(now()).unsigned_abs(),
    }
}

/// An input with its chunks and the time of their arrival.
struct TimedInput {
    input: Input,
    chunks: Vec<ReceivedChunk<Vec<u8>>>,
    at: Timestamp,
}

/// A round on its way, with the result of its sync.
type WrittenRound = (StagedRound<SimFile, usize>, Option<Result<(), CommitError>>);

/// A committer with its rounds on their way.
struct Replica {
    fixture: CommitterFixture,
    in_flight: VecDeque<WrittenRound>,
    /// The inputs that are not done and answered, by their numbers, each with its chunks without answer.
    unanswered: BTreeMap<usize, usize>,
}

impl Replica {
    fn new() -> Self {
        Self {
            fixture: CommitterFixture::new(MAX_BYTES),
            in_flight: VecDeque::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// Takes an input, and leaves at most so many rounds on their way.
    fn take(&mut self, number: usize, timed: &TimedInput, (rounds, synced): (usize, bool)) {
        match &timed.input {
            Input::Round(_) => {
                self.unanswered.insert(number, timed.chunks.len());
                let arrivals = timed.chunks.iter().map(|chunk| (copy(chunk), number)).collect();
                let replies = self
                    .fixture
                    .committer()
                    .stage_at(arrivals, steady_moment(timed.at));
                self.answered(replies);
                self.hand_over(timed.at);
                while self.in_flight.len() > rounds {
                    self.record(timed.at);
                }
                if synced {
                    self.sync();
                }
            }
            Input::Seal(minutes) => {
                self.unanswered.insert(number, 1);
                while !self.fixture.committer().is_at_rest() {
                    self.record(timed.at);
                }
                let now = steady_moment(timed.at);
                let open = self.fixture.committer().open.activity(now);
                let is_of_minutes = |batch: &Batch| minutes >> (batch.window.start / 60 % 8) & 1 == 1;
                let due = open.map(|(batch, _)| batch).filter(|batch| is_of_minutes(batch));
                let mut due: Vec<_> = due.map(|batch| (batch.name(), batch.id)).collect();
                due.sort();
                let due = due.into_iter().map(|(_, id)| id).collect();
                // Before it is sealed all must be durable. After an error nothing is.
                if self.unanswered.len() == 1 && self.fixture.committer().seal(due, now).is_ok() {
                    self.unanswered.clear();
                }
            }
        }
    }

    fn hand_over(&mut self, at: Timestamp) {
        if self.in_flight.back().is_none_or(|(_, synced)| synced.is_some())
            && let Some(round) = self.fixture.committer().take_round(at)
        {
            self.in_flight.push_back((round, None));
        }
    }

    fn sync(&mut self) {
        if let Some((round, synced @ None)) = self.in_flight.back_mut() {
            *synced = Some(self.fixture.committer().sync(round));
        }
    }

    /// Records the oldest round.
    fn record(&mut self, at: Timestamp) {
        self.sync();
        self.hand_over(at);
        if let Some((round, Some(synced))) = self.in_flight.pop_front() {
            let replies = self.fixture.committer().record(round, synced);
            self.answered(replies);
        }
        self.hand_over(at);
    }

    fn answered(&mut self, replies: Vec<(usize, ChunkReply)>) {
        for (number, reply) in replies {
            let is_stored = matches!(reply, ChunkReply::Receipt(receipt) if receipt.outcome != ChunkOutcome::OffsetMismatch);
            if let Some(left) = self.unanswered.get_mut(&number).filter(|_| is_stored) {
                *left -= 1;
            }
        }
        self.unanswered.retain(|_, left| *left > 0);
    }

    /// Whether all that it got is done and answered.
    fn is_done(&mut self) -> bool {
        self.unanswered.is_empty() && self.fixture.committer().is_at_rest()
    }

    fn crash(&mut self, power_loss: Option<u64>) {
        match power_loss {
            Some(seed) => self.fixture.disk.power_loss(seed),
            None => self.fixture.disk.heal(),
        }
        self.in_flight.clear();
        self.fixture.restart();
    }

    /// Gets what it has not answered again.
    fn repeat(&mut self, inputs: &[TimedInput]) {
        for number in std::mem::take(&mut self.unanswered).into_keys() {
            self.take(number, &inputs[number], NONE_AHEAD);
        }
    }
}

/// Each round is durable before the next input.
const NONE_AHEAD: (usize, bool) = (0, false);

fn copy(chunk: &ReceivedChunk<Vec<u8>>) -> ReceivedChunk<Vec<u8>> {
    ReceivedChunk {
        source: chunk.source.clone(),
        sender: chunk.sender,
        header: chunk.header.clone(),
        upload: None,
        arrived: chunk.arrived,
        body: chunk.body.clone(),
        split: chunk.split.clone(),
    }
}

/// A batch by its name, with its file: the ids of rows may differ.
type BatchOutcome = (
    String,
    BatchState,
    BatchContents,
    (Timestamp, Option<Timestamp>),
    Vec<u8>,
);

/// What must be the same: each batch and each stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    batches: Vec<BatchOutcome>,
    streams: Vec<Option<(StreamRecord, Option<String>)>>,
}

fn outcome(fixture: &CommitterFixture) -> Outcome {
    let ledger = fixture.ledger();
    let rows = ledger.batches(&BatchFilter::default()).expect("a ledger");
    let name_of = |id| rows.iter().find(|batch| batch.id == id).map(Batch::name);
    let stream_of = |number| {
        let (_, _, id) = stream(number);
        let source = "198.51.100.1".parse().expect("valid");
        let mut record = ledger.stream(&source, id).expect("a ledger")?;
        let open_line_in = record.open_line_in.take().and_then(name_of);
        Some((record, open_line_in))
    };
    let streams = (1..4).map(stream_of).collect();
    let mut batches: Vec<_> = rows
        .iter()
        .map(|batch| {
            let path = fixture.spool().path(batch, batch.state);
            let contents = fixture.disk.contents(&path).unwrap_or_default();
            let times = (batch.opened_at, batch.sealed_at);
            (batch.name(), batch.state, batch.contents, times, contents)
        })
        .collect();
    batches.sort_by(|one, other| one.0.cmp(&other.0));
    Outcome { batches, streams }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn crashes_change_no_name_no_byte_and_no_row(
        inputs in prop::collection::vec((input(), 0_u64..100, trouble()), 1..14),
    ) {
        let (mut steady, mut crashing) = (Replica::new(), Replica::new());
        let (mut sent, mut at, mut taken) = (BTreeMap::new(), now(), Vec::new());
        for (number, (input, seconds, trouble)) in inputs.into_iter().enumerate() {
            at += Duration::from_secs(seconds);
            let (chunks, after) = match &input {
                Input::Round(round) => chunks_of(round, &sent),
                Input::Seal(_) => (Vec::new(), sent.clone()),
            };
            sent = after;
            taken.push(TimedInput { input, chunks, at });
            let timed = &taken[number];
            steady.take(number, timed, NONE_AHEAD);
            prop_assert!(steady.is_done());
            match trouble {
                Trouble::None => crashing.take(number, timed, NONE_AHEAD),
                Trouble::Ahead { rounds, synced } => crashing.take(number, timed, (rounds, synced)),
                Trouble::LostReplies => {
                    crashing.take(number, timed, NONE_AHEAD);
                    crashing.unanswered.insert(number, 1);
                    crashing.crash(None);
                }
                Trouble::Crash { after, power_loss } => {
                    crashing.fixture.disk.fail_after(after);
                    crashing.take(number, timed, (1, false));
                    crashing.crash(power_loss);
                }
            }
            if crashing.in_flight.is_empty() {
                crashing.repeat(&taken);
                prop_assert!(crashing.is_done());
                prop_assert_eq!(outcome(&crashing.fixture), outcome(&steady.fixture));
            }
        }
        crashing.crash(None);
        crashing.repeat(&taken);
        prop_assert!(crashing.is_done());
        prop_assert_eq!(outcome(&crashing.fixture), outcome(&steady.fixture));
    }
}
