//! Generated histories of sends, repeats, crashes, power cuts, and of disks and ledgers that fail for a while.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use logferry_durable::Operation;
use logferry_protocol::chunk::Outcome;
use logferry_protocol::names::SourceId;
use proptest::prelude::*;

use super::{CommitterFixture, chunk, line, now, receipt, stream};
use crate::chunk::ChunkReply;

/// One event of a generated history.
#[derive(Debug, Clone)]
enum HistoryEvent {
    /// Lines of these minutes, by this stream, in chunks of so many lines, sent in this order.
    Send {
        stream: u64,
        minutes: Vec<u32>,
        reversed: bool,
    },
    /// What was acknowledged before is offered once more.
    Repeat { stream: u64 },
    /// The n-th change from here on fails, and the process with it.
    Crash { after: u64, seed: u64 },
    /// The power goes now.
    PowerLoss { seed: u64 },
    /// Time passes and batches are sealed.
    Seal,
    /// The next operation of that kind fails, whenever that is, and the relay goes on.
    Fault { operation: Operation, kind: ErrorKind },
    /// The disk has so little room, until it is made.
    Full { bytes: u64 },
    /// There is room again.
    Room,
    /// The ledger refuses what comes, or takes it again.
    Ledger { refuses: bool },
}

fn event() -> impl Strategy<Value = HistoryEvent> {
    let stream = 1_u64..4;
    prop_oneof![
        6 => (stream.clone(), prop::collection::vec(0_u32..5, 1..8), any::<bool>())
            .prop_map(|(stream, minutes, reversed)| HistoryEvent::Send { stream, minutes, reversed }),
        1 => stream.prop_map(|stream| HistoryEvent::Repeat { stream }),
        2 => (0_u64..12, any::<u64>()).prop_map(|(after, seed)| HistoryEvent::Crash { after, seed }),
        1 => any::<u64>().prop_map(|seed| HistoryEvent::PowerLoss { seed }),
        1 => Just(HistoryEvent::Seal),
        3 => (fault(), prop_oneof![Just(ErrorKind::StorageFull), Just(ErrorKind::Other)])
            .prop_map(|(operation, kind)| HistoryEvent::Fault { operation, kind }),
        1 => (0_u64..200).prop_map(|bytes| HistoryEvent::Full { bytes }),
        1 => Just(HistoryEvent::Room),
        1 => any::<bool>().prop_map(|refuses| HistoryEvent::Ledger { refuses }),
    ]
}

fn fault() -> impl Strategy<Value = Operation> {
    prop::sample::select(vec![
        Operation::Append,
        Operation::Sync,
        Operation::Sync,
        Operation::Rename,
        Operation::Open,
        Operation::CreateDir,
        Operation::Truncate,
        Operation::Read,
        Operation::List,
        Operation::Remove,
    ])
}

/// The sender's side of the model: everything a stream's file holds, and how much of it is acknowledged.
#[derive(Default)]
struct SenderFile {
    bytes: Vec<u8>,
    acked: usize,
}

impl SenderFile {
    /// Offers what is not acknowledged yet, in two chunks, until the relay has it or says to wait.
    fn ship(&mut self, fixture: &mut CommitterFixture, number: u64, reversed: bool) {
        let unsent = &self.bytes[self.acked..];
        let middle = memchr::memchr(b'\n', unsent).map_or(unsent.len(), |at| at + 1);
        let start = u64::try_from(self.acked).expect("small");
        let second = start + u64::try_from(middle).expect("small");
        let mut chunks = vec![chunk(number, start, &unsent[..middle])];
        if middle < unsent.len() {
            chunks.push(chunk(number, second, &unsent[middle..]));
        }
        if reversed {
            chunks.reverse();
        }
        for answer in fixture.send(chunks).into_values() {
            if let ChunkReply::Receipt(receipt) = answer {
                self.acked = self
                    .acked
                    .max(usize::try_from(receipt.committed.get()).expect("small"));
            }
        }
    }
}

fn take(
    event: HistoryEvent,
    fixture: &mut CommitterFixture,
    files: &mut BTreeMap<u64, SenderFile>,
    sent: &mut usize,
) {
    match event {
        HistoryEvent::Send {
            stream,
            minutes,
            reversed,
        } => {
            let file = files.entry(stream).or_default();
            for minute in minutes {
                *sent += 1;
                file.bytes
                    .extend(line(20 + minute, &format!("stream {stream} line {sent:06}")));
            }
            file.ship(fixture, stream, reversed);
        }
        HistoryEvent::Repeat { stream } => {
            let file = files.entry(stream).or_default();
            if file.acked > 0 {
                let end = memchr::memchr(b'\n', &file.bytes).map_or(0, |at| at + 1);
                let answers = fixture.send(vec![chunk(stream, 0, &file.bytes[..end])]);
                match answers.get(&0) {
                    Some(ChunkReply::Wait(_)) => {}
                    answer => assert_eq!(answer, Some(&receipt(file.acked, Outcome::Duplicate))),
                }
            }
        }
        HistoryEvent::Crash { after, seed } => {
            fixture.disk.fail_after(after);
            for (number, file) in files.iter_mut() {
                *sent += 1;
                file.bytes
                    .extend(line(20, &format!("stream {number} line {sent:06}")));
                file.ship(fixture, *number, false);
            }
            let _ = fixture.committer().seal_due(now() + Duration::from_hours(1));
            if seed.is_multiple_of(2) {
                fixture.disk.heal();
            } else {
                fixture.disk.power_loss(seed);
            }
            fixture.restart();
        }
        HistoryEvent::PowerLoss { seed } => {
            fixture.disk.power_loss(seed);
            fixture.restart();
        }
        HistoryEvent::Seal => {
            fixture.committer().open.age_all(Duration::from_hours(1));
            // What fails is left for the next call.
            let _ = fixture.committer().seal_due(now() + Duration::from_hours(1));
        }
        HistoryEvent::Fault { operation, kind } => fixture.disk.fail_next(operation, kind),
        HistoryEvent::Full { bytes } => fixture.disk.set_free_bytes(bytes),
        HistoryEvent::Room => fixture.disk.set_free_bytes(1 << 40),
        HistoryEvent::Ledger { refuses } => fixture.set_ledger_refuses(refuses),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_each_line_is_stored_once_and_in_order(
        steps in prop::collection::vec(event(), 1..30),
        seed in any::<u64>(),
    ) {
        let mut fixture = CommitterFixture::new(400);
        let (mut files, mut sent) = (BTreeMap::<u64, SenderFile>::new(), 0);
        for event in steps {
            take(event, &mut fixture, &mut files, &mut sent);
            // Else it is put right before anything else is done.
            if !fixture.committer().needs_recovery {
                fixture.stored();
            }
        }
        fixture.disk.heal();
        fixture.disk.set_free_bytes(1 << 40);
        fixture.set_ledger_refuses(false);
        for (number, file) in &mut files {
            // The sender asks where it is and goes on from there, as after every lost answer.
            let (_, _, id) = stream(*number);
            let source: SourceId = "198.51.100.1".parse().expect("valid");
            let known = fixture.ledger().stream(&source, id).expect("a ledger");
            let committed = known.map_or(0, |record| usize::try_from(record.committed.get()).expect("small"));
            prop_assert!(committed >= file.acked, "acknowledged bytes are durable");
            file.acked = committed;
            while file.acked < file.bytes.len() {
                file.ship(&mut fixture, *number, false);
            }
        }
        fixture.disk.power_loss(seed);
        fixture.restart();
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
