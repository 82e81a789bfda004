//! Generated histories of sends, repeats, crashes, power cuts, and temporary failures of disk and ledger.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use logferry_durable::DiskOperation;
use logferry_invariants::{invariant_acknowledged_is_durable, invariant_sealed_never_changes};
use logferry_ledger::{Batch, BatchFilter, BatchState};
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Offset;
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

/// The sender's side of the model: a stream's file, and how much of it is acknowledged.
#[derive(Default)]
struct SenderFile {
    bytes: Vec<u8>,
    acked: usize,
}

impl SenderFile {
    /// Sends the unacknowledged bytes in two chunks.
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

fn apply(
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
                    answer => assert_eq!(answer, Some(&receipt(file.acked, ChunkOutcome::Duplicate))),
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
            // An error leaves the rest to the next call.
            let _ = fixture.committer().seal_due(now() + Duration::from_hours(1));
        }
        HistoryEvent::Fault { operation, kind } => fixture.disk.fail_next(operation, kind),
        HistoryEvent::Full { bytes } => fixture.disk.set_free_bytes(bytes),
        HistoryEvent::SpaceAgain => fixture.disk.set_free_bytes(1 << 40),
        HistoryEvent::Ledger { refuses } => fixture.set_ledger_refuses(refuses),
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
        let mut fixture = CommitterFixture::new(400);
        let (mut files, mut sent) = (BTreeMap::<u64, SenderFile>::new(), 0);
        let mut before = Vec::new();
        for event in steps {
            apply(event, &mut fixture, &mut files, &mut sent);
            // Otherwise the next round recovers first.
            if !fixture.committer().needs_recovery {
                fixture.stored();
            }
            let now = fixture.ledger().batches(&BatchFilter::default()).expect("a ledger");
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
        fixture.disk.heal();
        fixture.disk.set_free_bytes(1 << 40);
        fixture.set_ledger_refuses(false);
        for (number, file) in &mut files {
            // The sender asks for its offset and continues there, as after every lost reply.
            let (_, _, id) = stream(*number);
            let source: SourceId = "198.51.100.1".parse().expect("valid");
            let known = fixture.ledger().stream(&source, id).expect("a ledger");
            let committed = known.map_or(Offset::ZERO, |record| record.committed);
            let acked = Offset::new(file.acked as u64);
            prop_assert_eq!(invariant_acknowledged_is_durable(acked, committed), Ok(()));
            file.acked = usize::try_from(committed.get()).expect("small");
            while file.acked < file.bytes.len() {
                file.ship(&mut fixture, *number, false);
            }
        }
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
