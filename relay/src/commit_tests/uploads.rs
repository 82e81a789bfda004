//! Uploads: bodies without a stream, which come again when their answer is lost.

use std::time::Duration;

use logferry_config::TimestampFormat;
use logferry_ledger::UploadedBody;
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::stream::Hash16;
use proptest::prelude::*;

use super::{Bench, chunk, line, now, rules};
use crate::committer::{Answer, Chunk};
use crate::split::split;
use crate::uploads;

fn id(body: &[u8]) -> UploadedBody {
    UploadedBody {
        source: "198.51.100.1".parse().expect("valid"),
        lines: Hash16::of(body),
    }
}

fn upload(body: &[u8]) -> Chunk<Vec<u8>> {
    let split = split(body, TimestampFormat::Auto, rules(0).window);
    uploads::chunk(&"web-1".parse().expect("valid"), id(body), body.to_vec(), split)
}

/// What became of each, in the order they were sent; `None`: the relay said to wait.
fn outcomes(bench: &mut Bench, bodies: &[&[u8]]) -> Vec<Option<ChunkOutcome>> {
    let answers = bench.send(bodies.iter().map(|body| upload(body)).collect());
    let outcome = |answer| match answer {
        Answer::Receipt(receipt) => Some(receipt.outcome),
        Answer::Wait(_) => None,
    };
    answers.into_values().map(outcome).collect()
}

#[test]
fn a_body_that_comes_again_unanswered_is_stored_once() {
    let mut bench = Bench::new(1 << 30);
    let (a, b) = (line(20, "a"), line(20, "b"));
    assert_eq!(
        outcomes(&mut bench, &[&a, &b, &a]),
        [
            Some(ChunkOutcome::Stored),
            Some(ChunkOutcome::Stored),
            Some(ChunkOutcome::Duplicate)
        ]
    );
    bench.disk.power_loss(1);
    bench.restart();
    assert_eq!(
        outcomes(&mut bench, &[&b, &a]),
        [Some(ChunkOutcome::Duplicate), Some(ChunkOutcome::Duplicate)]
    );
    assert_eq!(bench.stored(), [a, b].concat());
}

#[test]
fn a_body_that_comes_again_after_its_answer_is_new() {
    let mut bench = Bench::new(1 << 30);
    let a = line(20, "a");
    for _ in 0..3 {
        assert_eq!(outcomes(&mut bench, &[&a]), [Some(ChunkOutcome::Stored)]);
        bench.committer().upload_answered(id(&a));
    }
    bench.committer().forget_answered().expect("a ledger");
    bench.restart();
    assert_eq!(outcomes(&mut bench, &[&a]), [Some(ChunkOutcome::Stored)]);
    assert_eq!(bench.stored(), a.repeat(4));
}

#[test]
fn a_body_that_could_not_be_stored_is_new_when_it_comes_again() {
    let mut bench = Bench::new(1 << 30);
    let a = line(20, "a");
    bench.disk.fail_after(0);
    assert_eq!(outcomes(&mut bench, &[&a]), [None]);
    bench.disk.heal();
    assert_eq!(outcomes(&mut bench, &[&a]), [Some(ChunkOutcome::Stored)]);
    assert_eq!(bench.stored(), a);
}

#[test]
fn uploads_and_chunks_of_a_source_share_its_batches_and_are_counted_alike() {
    let mut bench = Bench::new(1 << 30);
    let (a, b) = (line(20, "a"), line(20, "b"));
    bench.send(vec![chunk(1, 0, &a), upload(&b)]);
    assert_eq!(bench.stored().len(), a.len() + b.len());
    let totals = bench.ledger().source_line_totals().expect("a ledger");
    assert_eq!((totals[0].lines_sent, totals[0].lines_batched), (2, 2));
}

/// One step of a generated history of one shipper, which posts a body until it has heard its answer.
#[derive(Debug, Clone)]
enum Step {
    /// It posts; the answer gets through or not.
    Post { is_answered: bool },
    /// The n-th change from here on fails while it posts, and the relay with it.
    Crash { after: u64, seed: u64 },
    /// The power goes now.
    PowerLoss { seed: u64 },
    /// Time passes and batches are sealed.
    Seal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|is_answered| Step::Post { is_answered }),
        2 => (0_u64..10, any::<u64>()).prop_map(|(after, seed)| Step::Crash { after, seed }),
        1 => any::<u64>().prop_map(|seed| Step::PowerLoss { seed }),
        1 => Just(Step::Seal),
    ]
}

/// Whether the shipper got an answer it heard.
fn post(bench: &mut Bench, body: &[u8], is_answered: bool) -> bool {
    let is_stored = outcomes(bench, &[body]) != [None];
    if is_stored && is_answered {
        bench.committer().upload_answered(id(body));
        bench.committer().forget_answered().expect("a ledger");
    }
    is_stored && is_answered
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Bodies are few, so that equal ones come as new data too.
    #[test]
    fn whatever_fails_each_body_is_stored_once(
        steps in prop::collection::vec(step(), 1..30),
        bodies in prop::collection::vec(0_u32..3, 30),
    ) {
        let mut bench = Bench::new(200);
        let mut bodies = bodies.into_iter().map(|number| line(20 + number, &format!("body {number}"))).peekable();
        let mut expected = Vec::new();
        for step in steps {
            let Some(body) = bodies.peek().cloned() else { break };
            let is_done = match step {
                Step::Post { is_answered } => post(&mut bench, &body, is_answered),
                Step::Crash { after, seed } => {
                    bench.disk.fail_after(after);
                    post(&mut bench, &body, false);
                    if seed.is_multiple_of(2) {
                        bench.disk.heal();
                    } else {
                        bench.disk.power_loss(seed);
                    }
                    bench.restart();
                    false
                }
                Step::PowerLoss { seed } => {
                    bench.disk.power_loss(seed);
                    bench.restart();
                    false
                }
                Step::Seal => {
                    bench.committer().open.age_all(Duration::from_hours(1));
                    bench.committer().seal_due(now() + Duration::from_hours(1)).expect("the disk works");
                    false
                }
            };
            if is_done {
                expected.push(body);
                bodies.next();
            }
        }
        if let Some(body) = bodies.next() {
            while !post(&mut bench, &body, true) {}
            expected.push(body);
        }
        let stored = bench.stored();
        let mut stored: Vec<_> = stored.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        stored.sort();
        expected.sort();
        prop_assert_eq!(stored, expected);
    }
}
