//! Whether a chunk is the next one of its stream.
//!
//! Pure. The bytes of a stream are stored in order and once: only the chunk that starts at the stream's end advances it.
//! Every other chunk gets a reply and changes nothing.

use logferry_protocol::stream::{ByteRange, Offset, Tail};

/// The relation of a chunk to the end of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetCheck {
    /// It is the next one and is stored.
    Next,
    /// It is stored already, completely. The reply says so once it is durable.
    Duplicate,
    /// It starts after the end. Its predecessor may be in flight on another connection.
    Gap,
    /// It starts before the end and extends beyond it: the chunks were cut differently last time.
    Overlap,
}

/// Checks the chunk `range`. `finishes` says whether the stream ends with it. The stream is written to the batch files up
/// to `staged`; `is_finished` says whether its sender said that it ends there.
pub(crate) fn check_offset(
    range: ByteRange,
    finishes: bool,
    staged: Offset,
    is_finished: bool,
) -> OffsetCheck {
    if range.start() > staged {
        return OffsetCheck::Gap;
    }
    if range.end() <= staged {
        // An empty chunk at the end brings no bytes, but it may say that the stream ends there.
        let ends_stream = range.is_empty() && range.start() == staged && finishes && !is_finished;
        return if ends_stream {
            OffsetCheck::Next
        } else {
            OffsetCheck::Duplicate
        };
    }
    if range.start() == staged {
        OffsetCheck::Next
    } else {
        OffsetCheck::Overlap
    }
}

/// Checks whether a chunk that ends where the stream ends has the stream's bytes. `tail` is the one of the chunk, `stored` that of
/// the stream.
///
/// Otherwise it is of another file that has the same id, and its lines are not stored. The sender has to ask.
pub(crate) fn check_tail(check: OffsetCheck, ends_there: bool, tail: Tail, stored: Tail) -> OffsetCheck {
    match check {
        OffsetCheck::Duplicate if ends_there && tail != stored => OffsetCheck::Overlap,
        known => known,
    }
}

/// Checks whether the sender of a chunk may rely on its idea of the stream. `is_writer` says whether it wrote the stream's
/// last bytes, `knows_end` whether the chunk starts at the end and the sender was told that end.
///
/// Two senders can believe that one stream is theirs: the disk of one was copied to the other. Their bytes are the same
/// only up to the copy. So a range that another sender stored says nothing about this one's bytes, and counts neither as a
/// repeat nor as a predecessor. The sender has to ask, and compares the stream's end with its file.
pub(crate) fn check_writer(check: OffsetCheck, is_writer: bool, knows_end: bool) -> OffsetCheck {
    match check {
        OffsetCheck::Gap => OffsetCheck::Gap,
        known if is_writer || knows_end => known,
        OffsetCheck::Next | OffsetCheck::Duplicate | OffsetCheck::Overlap => OffsetCheck::Overlap,
    }
}

#[cfg(test)]
mod tests {
    use logferry_invariants::invariant_chunk_starts_at_committed_offset;
    use logferry_protocol::chunk::ChunkOutcome;
    use proptest::prelude::*;

    use super::*;

    fn check(start: u64, end: u64, finishes: bool, staged: u64, is_finished: bool) -> OffsetCheck {
        let range = ByteRange::new(Offset::new(start), Offset::new(end)).expect("forwards");
        check_offset(range, finishes, Offset::new(staged), is_finished)
    }

    #[test]
    fn only_the_next_chunk_is_stored() {
        for ((start, end), expected) in [
            ((100, 200), OffsetCheck::Next),
            ((0, 100), OffsetCheck::Duplicate),
            ((50, 80), OffsetCheck::Duplicate),
            ((150, 200), OffsetCheck::Gap),
            ((50, 150), OffsetCheck::Overlap),
        ] {
            assert_eq!(check(start, end, false, 100, false), expected, "{start}-{end}");
        }
    }

    #[test]
    fn an_empty_chunk_finishes_a_stream_once() {
        assert_eq!(check(100, 100, true, 100, false), OffsetCheck::Next);
        assert_eq!(check(100, 100, true, 100, true), OffsetCheck::Duplicate);
        assert_eq!(check(100, 100, false, 100, false), OffsetCheck::Duplicate);
        assert_eq!(check(100, 100, true, 50, false), OffsetCheck::Gap);
    }

    proptest! {
        /// However chunks are cut, repeated and reordered, each byte is stored once and in order.
        #[test]
        fn each_byte_is_stored_once(chunks in prop::collection::vec((0_u64..50, 0_u64..20), 0..200)) {
            let mut staged = 0;
            for (start, len) in chunks {
                let outcome = match check(start, start + len, false, staged, false) {
                    OffsetCheck::Next => ChunkOutcome::Stored,
                    OffsetCheck::Duplicate => ChunkOutcome::Duplicate,
                    OffsetCheck::Gap | OffsetCheck::Overlap => ChunkOutcome::OffsetMismatch,
                };
                let chunk = ByteRange::new(Offset::new(start), Offset::new(start + len)).expect("forwards");
                let held = invariant_chunk_starts_at_committed_offset(Offset::new(staged), chunk, outcome);
                prop_assert_eq!(held, Ok(()));
                if outcome == ChunkOutcome::Stored {
                    prop_assert_eq!(start, staged);
                    staged = start + len;
                }
            }
        }
    }
}
