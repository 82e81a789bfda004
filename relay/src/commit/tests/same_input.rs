//! One sequence of inputs gives one result: a committer that crashes anywhere, recovers and gets the unanswered input again
//! ends with the same names, bytes and ledger as one that never crashed.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_ledger::{Batch, BatchContents, BatchFilter, BatchState, StreamRecord};
use logferry_protocol::chunk::{ChunkOutcome, LineEnd, StreamEnd};
use proptest::prelude::*;

use super::{CommitterFixture, chunk_ending, line, now, stream};
use crate::chunk::{ChunkReply, Moment, ReceivedChunk};

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
        2 => Just(Trouble::None),
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

/// Whether everything was done and answered.
fn apply(
    fixture: &mut CommitterFixture,
    input: &Input,
    chunks: &[ReceivedChunk<Vec<u8>>],
    at: Timestamp,
) -> bool {
    match input {
        Input::Round(_) => {
            let arrivals = chunks.iter().map(copy).zip(0..).collect();
            let committer = fixture.committer();
            let mut replies = committer.stage_at(arrivals, steady_moment(at));
            if let Some(round) = committer.take_round(at) {
                replies.extend(committer.write(round));
            }
            replies.iter().all(|(_, reply)| {
                matches!(reply, ChunkReply::Receipt(receipt) if receipt.outcome != ChunkOutcome::OffsetMismatch)
            })
        }
        Input::Seal(minutes) => {
            let now = steady_moment(at);
            let open = fixture.committer().open.activity(now);
            let is_of_minutes = |batch: &Batch| minutes >> (batch.window.start / 60 % 8) & 1 == 1;
            let due = open.map(|(batch, _)| batch).filter(|batch| is_of_minutes(batch));
            let mut due: Vec<_> = due.map(|batch| (batch.name(), batch.id)).collect();
            due.sort();
            let due = due.into_iter().map(|(_, id)| id).collect();
            fixture.committer().seal(due, now).is_ok()
        }
    }
}

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
        let mut steady = CommitterFixture::new(MAX_BYTES);
        let mut crashing = CommitterFixture::new(MAX_BYTES);
        let (mut sent, mut at) = (BTreeMap::new(), now());
        for (input, seconds, trouble) in inputs {
            at += Duration::from_secs(seconds);
            let (chunks, after) = match &input {
                Input::Round(round) => chunks_of(round, &sent),
                Input::Seal(_) => (Vec::new(), sent.clone()),
            };
            sent = after;
            prop_assert!(apply(&mut steady, &input, &chunks, at));
            let is_done = match trouble {
                Trouble::None => apply(&mut crashing, &input, &chunks, at),
                Trouble::LostReplies => {
                    apply(&mut crashing, &input, &chunks, at);
                    crashing.restart();
                    false
                }
                Trouble::Crash { after, power_loss } => {
                    crashing.disk.fail_after(after);
                    let is_done = apply(&mut crashing, &input, &chunks, at);
                    match power_loss {
                        Some(seed) => crashing.disk.power_loss(seed),
                        None => crashing.disk.heal(),
                    }
                    crashing.restart();
                    is_done
                }
            };
            if !is_done {
                prop_assert!(apply(&mut crashing, &input, &chunks, at));
            }
            prop_assert_eq!(outcome(&crashing), outcome(&steady));
        }
    }
}
