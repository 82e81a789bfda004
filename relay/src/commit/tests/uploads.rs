//! Tests of legacy uploads, which come again when their response is lost.

use std::time::Duration;

use logferry_ledger::{Ledger, UploadedBody};
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::stream::Hash16;
use proptest::prelude::*;

use super::{CommitterFixture, chunk, line, moment, now, rules, split};
use crate::chunk::{ChunkReply, ReceivedChunk};
use crate::commit::committer::Committer;
use crate::legacy_upload::upload_chunk;

fn id(body: &[u8]) -> UploadedBody {
    UploadedBody {
        source: "198.51.100.1".parse().expect("valid"),
        lines: Hash16::of(body),
    }
}

fn upload(body: &[u8]) -> ReceivedChunk<Vec<u8>> {
    let split = split(body, &rules(0));
    let group = "web-1".parse().expect("valid");
    upload_chunk(&group, id(body), moment(now()), body.to_vec(), split)
}

/// Forgets acknowledged uploads in the ledger, as the commit thread does between rounds.
fn forget_acknowledged(fixture: &mut CommitterFixture) {
    let Committer { uploads, ledger, .. } = &mut **fixture.committer();
    uploads.forget_acknowledged(ledger).expect("a ledger");
}

/// The outcome of each body, in the order they were sent; `None`: the relay said to wait.
fn outcomes(fixture: &mut CommitterFixture, bodies: &[&[u8]]) -> Vec<Option<ChunkOutcome>> {
    let answers = fixture.send(bodies.iter().map(|body| upload(body)).collect());
    let outcome = |answer| match answer {
        ChunkReply::Receipt(receipt) => Some(receipt.outcome),
        ChunkReply::Wait(_) => None,
    };
    answers.into_values().map(outcome).collect()
}

#[test]
fn an_unacknowledged_body_that_comes_again_is_stored_once() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (a, b) = (line(20, "a"), line(20, "b"));
    assert_eq!(
        outcomes(&mut fixture, &[&a, &b, &a]),
        [
            Some(ChunkOutcome::Stored),
            Some(ChunkOutcome::Stored),
            Some(ChunkOutcome::Duplicate)
        ]
    );
    fixture.disk.power_loss(1);
    fixture.restart();
    assert_eq!(
        outcomes(&mut fixture, &[&b, &a]),
        [Some(ChunkOutcome::Duplicate), Some(ChunkOutcome::Duplicate)]
    );
    assert_eq!(fixture.stored(), [a, b].concat());
}

#[test]
fn a_repeated_body_whose_batches_are_sealed_opens_none() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let body = lines_of(0..3);
    assert_eq!(outcomes(&mut fixture, &[&body]), [Some(ChunkOutcome::Stored)]);
    fixture.committer().open.age_all(Duration::from_hours(1));
    while !fixture.seal_due(now()).is_empty() {}
    assert_eq!(fixture.committer().open.len(), 0);
    // A batch that is opened has a file.
    fixture.disk.fail_after(0);
    assert_eq!(outcomes(&mut fixture, &[&body]), [Some(ChunkOutcome::Duplicate)]);
}

#[test]
fn an_acknowledged_body_that_comes_again_is_new() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let a = line(20, "a");
    for _ in 0..3 {
        assert_eq!(outcomes(&mut fixture, &[&a]), [Some(ChunkOutcome::Stored)]);
        fixture.committer().uploads.acknowledged(id(&a));
    }
    forget_acknowledged(&mut fixture);
    fixture.restart();
    assert_eq!(outcomes(&mut fixture, &[&a]), [Some(ChunkOutcome::Stored)]);
    assert_eq!(fixture.stored(), a.repeat(4));
}

#[test]
fn a_body_that_could_not_be_stored_is_new_when_it_comes_again() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let a = line(20, "a");
    fixture.disk.fail_after(0);
    assert_eq!(outcomes(&mut fixture, &[&a]), [None]);
    fixture.disk.heal();
    assert_eq!(outcomes(&mut fixture, &[&a]), [Some(ChunkOutcome::Stored)]);
    assert_eq!(fixture.stored(), a);
}

/// Lines of these minutes after the epoch.
fn lines_of(minutes: std::ops::Range<u32>) -> Vec<u8> {
    let lines = minutes.map(|minute| format!("{} text\n", 1_700_000_000 + minute * 60));
    lines.collect::<Vec<_>>().concat().into_bytes()
}

/// A body waits at a limit as often as it comes, and is stored once when there is room.
fn assert_waits_and_is_stored_once(fixture: &mut CommitterFixture, body: &[u8]) {
    let before = fixture.stored().len();
    for _ in 0..2 {
        assert_eq!(outcomes(fixture, &[body]), [None]);
    }
    // A round of other lines, which is recorded, does not make it known.
    let mut other = upload(&line(20, "of another source"));
    other.source = "198.51.100.2".parse().expect("valid");
    fixture.send(vec![other]);
    let between = fixture.stored().len();
    assert!(between > before);
    assert_eq!(outcomes(fixture, &[body]), [None]);
    fixture.committer().open.age_all(Duration::from_hours(1));
    while !fixture.seal_due(now()).is_empty() {}
    assert_eq!(outcomes(fixture, &[body]), [Some(ChunkOutcome::Stored)]);
    assert_eq!(outcomes(fixture, &[body]), [Some(ChunkOutcome::Duplicate)]);
    assert_eq!(fixture.stored().len(), between + body.len());
}

#[test]
fn a_body_that_waits_at_the_limit_of_open_batches_is_new_when_it_comes_again() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let stored = outcomes(&mut fixture, &[&lines_of(0..1000)]);
    assert_eq!(stored, [Some(ChunkOutcome::Stored)]);
    assert_waits_and_is_stored_once(&mut fixture, &lines_of(1000..1010));
}

#[test]
fn uploads_and_chunks_of_a_source_share_its_batches_and_are_counted_alike() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (a, b) = (line(20, "a"), line(20, "b"));
    fixture.send(vec![chunk(1, 0, &a), upload(&b)]);
    assert_eq!(fixture.stored().len(), a.len() + b.len());
    let totals = fixture.ledger().source_line_totals().expect("a ledger");
    assert_eq!((totals[0].lines_sent, totals[0].lines_batched), (2, 2));
}

/// How many transactions the ledger's write-ahead log has (<https://sqlite.org/fileformat2.html#walformat>).
fn transactions(ledger: &Ledger) -> usize {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let log = std::fs::read(ledger.path().with_extension("db-wal")).expect("a log");
    // The last frame of a transaction has the size of the file after it.
    let is_last = |frame: &&[u8]| frame[4..8] != [0; 4];
    log[HEADER..].chunks_exact(FRAME).filter(is_last).count()
}

#[test]
fn uploads_of_new_windows_open_their_batches_in_one_transaction() {
    let mut fixture = CommitterFixture::new(1 << 30);
    outcomes(&mut fixture, &[&line(20, "the source is known")]);
    let ledger = fixture.ledger();
    rusqlite::Connection::open(ledger.path())
        .and_then(|sql| sql.pragma_update(None, "wal_checkpoint", "TRUNCATE"))
        .expect("a ledger");
    let bodies = [lines_of(0..3), lines_of(2..6), lines_of(6..9)];
    let bodies = bodies.each_ref().map(Vec::as_slice);
    assert_eq!(outcomes(&mut fixture, &bodies), [Some(ChunkOutcome::Stored); 3]);
    assert_eq!(transactions(&ledger), 2, "that one, and the commit");
    assert_eq!(fixture.committer().open.len(), 10);
}

/// One event of a generated history of one shipper, which posts a body until it receives the response.
#[derive(Debug, Clone)]
enum UploadEvent {
    /// It posts a body; the response is received or not.
    Post { is_received: bool },
    /// The n-th change from now on fails while it posts, and the relay crashes.
    Crash { after: u64, seed: u64 },
    /// A power cut.
    PowerLoss { seed: u64 },
    /// Time passes and batches are sealed.
    Seal,
}

fn event() -> impl Strategy<Value = UploadEvent> {
    prop_oneof![
        6 => any::<bool>().prop_map(|is_received| UploadEvent::Post { is_received }),
        2 => (0_u64..10, any::<u64>()).prop_map(|(after, seed)| UploadEvent::Crash { after, seed }),
        1 => any::<u64>().prop_map(|seed| UploadEvent::PowerLoss { seed }),
        1 => Just(UploadEvent::Seal),
    ]
}

/// Posts a body. Returns whether the shipper received the response.
fn post(fixture: &mut CommitterFixture, body: &[u8], is_received: bool) -> bool {
    let is_stored = outcomes(fixture, &[body]) != [None];
    if is_stored && is_received {
        fixture.committer().uploads.acknowledged(id(body));
        forget_acknowledged(fixture);
    }
    is_stored && is_received
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// There are few different bodies, so equal ones also come as new data.
    #[test]
    fn each_body_is_stored_once_whatever_fails(
        steps in prop::collection::vec(event(), 1..30),
        bodies in prop::collection::vec(0_u32..3, 30),
    ) {
        let mut fixture = CommitterFixture::new(200);
        let mut bodies = bodies.into_iter().map(|number| line(20 + number, &format!("body {number}"))).peekable();
        let mut expected = Vec::new();
        for event in steps {
            let Some(body) = bodies.peek().cloned() else { break };
            let is_done = match event {
                UploadEvent::Post { is_received } => post(&mut fixture, &body, is_received),
                UploadEvent::Crash { after, seed } => {
                    fixture.disk.fail_after(after);
                    post(&mut fixture, &body, false);
                    if seed.is_multiple_of(2) {
                        fixture.disk.heal();
                    } else {
                        fixture.disk.power_loss(seed);
                    }
                    fixture.restart();
                    false
                }
                UploadEvent::PowerLoss { seed } => {
                    fixture.disk.power_loss(seed);
                    fixture.restart();
                    false
                }
                UploadEvent::Seal => {
                    fixture.committer().open.age_all(Duration::from_hours(1));
                    fixture.seal_due(now() + Duration::from_hours(1));
                    false
                }
            };
            if is_done {
                expected.push(body);
                bodies.next();
            }
        }
        if let Some(body) = bodies.next() {
            while !post(&mut fixture, &body, true) {}
            expected.push(body);
        }
        let stored = fixture.stored();
        let mut stored: Vec<_> = stored.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        stored.sort();
        expected.sort();
        prop_assert_eq!(stored, expected);
    }
}
