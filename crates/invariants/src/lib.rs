//! The ten invariants of ARCHITECTURE.md, as functions.
//!
//! `fsck` calls the ones that a stopped relay host can show. Property tests and tests on the simulated disk call all of
//! them after each step. A function gets what was observed and compares; it reads nothing itself.
//!
//! The functions stand in the order of ARCHITECTURE.md. A new invariant gets a function here, a paragraph there, and a
//! call in the test that would break it.

use logferry_ledger::{Batch, BatchContents, BatchState};
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::stream::{ByteRange, Offset};

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} of ARCHITECTURE.md does not hold: {detail}")]
pub struct Violation {
    /// The invariant's number in ARCHITECTURE.md.
    pub number: u8,
    /// What was observed.
    pub detail: String,
}

/// Whether an invariant holds.
pub type Held = Result<(), Violation>;

fn check(number: u8, holds: bool, detail: impl FnOnce() -> String) -> Held {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            number,
            detail: detail(),
        })
    }
}

/// 1. A (source, stream, offset) names one byte for ever.
///
/// `known`: the stream's bytes from its first, as far as they were seen. `bytes`: seen now, from `start` on.
pub fn invariant_offset_names_one_byte(known: &[u8], start: Offset, bytes: &[u8]) -> Held {
    let before = usize::try_from(start.get())
        .ok()
        .and_then(|start| known.get(start..));
    let mut pairs = before.unwrap_or_default().iter().zip(bytes);
    let differs = pairs.position(|(known, now)| known != now);
    check(1, differs.is_none(), || {
        let at = start.get().saturating_add(differs.unwrap_or(0) as u64);
        format!("the byte at offset {at} is another one than before")
    })
}

/// 2. A chunk is stored only if it starts at its stream's committed offset, and is a duplicate only if all of it is
///    committed.
pub fn invariant_chunk_starts_at_committed_offset(
    committed: Offset,
    chunk: ByteRange,
    outcome: ChunkOutcome,
) -> Held {
    let holds = match outcome {
        ChunkOutcome::Stored => chunk.start() == committed,
        ChunkOutcome::Duplicate => chunk.end() <= committed,
        ChunkOutcome::OffsetMismatch => chunk.start() != committed,
    };
    check(2, holds, || {
        format!("{outcome:?} for the chunk {chunk:?} at the committed offset {committed:?}")
    })
}

/// 3. The relay's ledger is the truth: after a question, a sender goes on at the ledger's offset, whatever its
///    checkpoint says.
pub fn invariant_sender_follows_ledger(committed: Offset, next_chunk: ByteRange) -> Held {
    check(3, next_chunk.start() == committed, || {
        format!("the ledger has {committed:?}, and the sender went on with {next_chunk:?}")
    })
}

/// 4. Acknowledged means durable, for a stream: no committed offset is before one that was acknowledged.
pub fn invariant_acknowledged_is_durable(acknowledged: Offset, committed: Offset) -> Held {
    check(4, committed >= acknowledged, || {
        format!("{acknowledged:?} was acknowledged, and the ledger has {committed:?}")
    })
}

/// 4. Acknowledged means durable, for a batch: its file holds the bytes of the ledger's row.
///
/// `found`: of an open batch's file, the part up to the ledger's length.
pub fn invariant_file_holds_the_ledgers_bytes(batch: &Batch, found: BatchContents) -> Held {
    let expected = batch.contents;
    check(4, found.has_same_bytes(expected), || {
        format!(
            "the ledger has {expected:?} for {}, and its file {found:?}",
            batch.name()
        )
    })
}

/// 5. The ledger decides, the folder follows: a file that is at rest is in the folder of its batch's state.
pub fn invariant_folder_follows_ledger(batch: &Batch, folder: BatchState) -> Held {
    check(5, batch.state == folder, || {
        format!(
            "{} is {} in the ledger and its file in {folder}/",
            batch.name(),
            batch.state
        )
    })
}

/// 6. A batch's row exists before its file: a file of the spool has a row.
pub fn invariant_row_exists_before_file(file_name: &str, row: Option<&Batch>) -> Held {
    check(6, row.is_some(), || {
        format!("the ledger does not know {file_name}")
    })
}

/// 7. A sealed batch never changes.
pub fn invariant_sealed_never_changes(before: &Batch, after: &Batch) -> Held {
    let is_sealed = before.state != BatchState::Open;
    let same =
        before.contents == after.contents && before.window == after.window && after.state != BatchState::Open;
    check(7, !is_sealed || same, || {
        format!("{} was {before:?} and is {after:?}", before.name())
    })
}

/// 7. No name is given twice.
pub fn invariant_no_name_is_given_twice<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Held {
    let mut names = std::collections::BTreeSet::new();
    let twice = batches
        .into_iter()
        .map(Batch::name)
        .find(|name| !names.insert(name.clone()));
    check(7, twice.is_none(), || {
        format!("{} is the name of two batches", twice.unwrap_or_default())
    })
}

/// 8. A published file is never overwritten. The receiver may take it away.
pub fn invariant_published_is_never_overwritten(path: &str, before: &[u8], now: Option<&[u8]>) -> Held {
    check(8, now.is_none_or(|now| now == before), || {
        format!("the published file {path} has other bytes than when it was published")
    })
}

/// 9. Only a batch that every destination has that wants it is compressed or deleted.
///
/// `undelivered`: the destinations that want it and do not have it.
pub fn invariant_only_delivered_is_compressed_or_deleted(batch: &Batch, undelivered: &[String]) -> Held {
    let is_touched = batch.compressed_at.is_some() || batch.expired_at.is_some();
    let is_free = batch.state == BatchState::Sent && undelivered.is_empty();
    check(9, !is_touched || is_free, || {
        format!(
            "{} is {} and was compressed or deleted; not at {undelivered:?}",
            batch.name(),
            batch.state
        )
    })
}

/// 10. Everything that can grow has a bound.
pub fn invariant_growth_is_bounded(resource: &str, used: usize, bound: usize) -> Held {
    check(10, used <= bound, || {
        format!("{resource}: {used} in use, {bound} allowed")
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use logferry_ledger::{Ledger, NewBatch, Window};

    use super::*;

    /// Only a ledger makes batches.
    fn batch() -> Batch {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let new = NewBatch {
            source: "198.51.100.1".parse().expect("an address"),
            group: "web-1".parse().expect("a name"),
            log: None,
            window: Window {
                start: 1_795_227_600,
                seconds: 1200,
                utc_offset: 0,
            },
            base_name: "a".to_owned(),
        };
        let batch = ledger.open_batch(&new, Timestamp::UNIX_EPOCH).expect("a batch");
        Batch {
            state: BatchState::Ready,
            ..batch
        }
    }

    fn offset(at: u64) -> Offset {
        Offset::new(at)
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(offset(start), offset(end)).expect("forwards")
    }

    /// Of each pair, the first holds and the second is a breach; the breaches' numbers.
    fn breaches<const N: usize>(pairs: [(Held, Held); N]) -> [u8; N] {
        pairs.map(|(held, broken)| {
            assert_eq!(held, Ok(()));
            broken.expect_err("a breach").number
        })
    }

    #[test]
    fn breach_in_a_stream_is_told_from_the_rule() {
        let chunk = invariant_chunk_starts_at_committed_offset;
        let follows = invariant_sender_follows_ledger;
        let durable = invariant_acknowledged_is_durable;
        let numbers = breaches([
            (
                invariant_offset_names_one_byte(b"abc", offset(1), b"bcd"),
                invariant_offset_names_one_byte(b"abc", offset(1), b"bd"),
            ),
            (
                chunk(offset(5), range(5, 9), ChunkOutcome::Stored),
                chunk(offset(5), range(4, 9), ChunkOutcome::Stored),
            ),
            (
                chunk(offset(5), range(1, 5), ChunkOutcome::Duplicate),
                chunk(offset(5), range(5, 6), ChunkOutcome::Duplicate),
            ),
            (follows(offset(5), range(5, 6)), follows(offset(5), range(6, 7))),
            (durable(offset(5), offset(5)), durable(offset(6), offset(5))),
            (
                invariant_growth_is_bounded("bytes in flight", 8, 8),
                invariant_growth_is_bounded("bytes in flight", 9, 8),
            ),
        ]);
        assert_eq!(numbers, [1, 2, 2, 3, 4, 10]);
    }

    #[test]
    fn breach_by_a_batch_is_told_from_the_rule() {
        let sealed = batch();
        let longer = BatchContents {
            bytes: 1,
            ..BatchContents::default()
        };
        let grown = Batch {
            contents: longer,
            ..batch()
        };
        let open = Batch {
            state: BatchState::Open,
            ..batch()
        };
        let deleted = Batch {
            state: BatchState::Sent,
            expired_at: Some(Timestamp::UNIX_EPOCH),
            ..batch()
        };
        let holds = invariant_file_holds_the_ledgers_bytes;
        let folder = invariant_folder_follows_ledger;
        let row = invariant_row_exists_before_file;
        let sealed_once = invariant_sealed_never_changes;
        let published = invariant_published_is_never_overwritten;
        let delivered = invariant_only_delivered_is_compressed_or_deleted;
        let numbers = breaches([
            (holds(&sealed, sealed.contents), holds(&sealed, longer)),
            (
                folder(&sealed, BatchState::Ready),
                folder(&sealed, BatchState::Sent),
            ),
            (row("a.log", Some(&sealed)), row("a.log", None)),
            (sealed_once(&open, &grown), sealed_once(&sealed, &grown)),
            (
                invariant_no_name_is_given_twice([&sealed]),
                invariant_no_name_is_given_twice([&sealed, &open]),
            ),
            (published("a", b"a", None), published("a", b"a", Some(b"b"))),
            (delivered(&deleted, &[]), delivered(&deleted, &["edw".to_owned()])),
        ]);
        assert_eq!(numbers, [4, 5, 6, 7, 7, 8, 9]);
    }
}
