//! Whether a chunk may be taken now.
//!
//! Pure. A stream's bytes are taken in order and once: the only chunk that moves a stream on is the one that starts
//! exactly where it ends. Everything else is answered, and changes nothing.

use logferry_protocol::stream::{ByteRange, Offset};

/// How far a stream is in the commit that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Written to the batch files; durable when the commit succeeds.
    pub staged: Offset,
    /// Whether the sender said that the stream ends there.
    pub is_finished: bool,
}

/// What is to be done with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is next: store it.
    Take,
    /// All of it is there already: say so again, once it is durable.
    Duplicate,
    /// It begins further on: its predecessor may be under way on another connection.
    Early,
    /// It begins before the end and goes beyond it: chunks were cut differently last time.
    Elsewhere,
}

/// Judges the chunk `range`; `finishes` is whether it says that the stream ends with it.
pub(crate) fn judge(range: ByteRange, finishes: bool, progress: Progress) -> Verdict {
    let Progress { staged, is_finished } = progress;
    if range.start() > staged {
        return Verdict::Early;
    }
    if range.end() <= staged {
        // An empty chunk at the very end brings no bytes, but may bring the news that there are no more.
        let is_news = range.is_empty() && range.start() == staged && finishes && !is_finished;
        return if is_news {
            Verdict::Take
        } else {
            Verdict::Duplicate
        };
    }
    if range.start() == staged {
        Verdict::Take
    } else {
        Verdict::Elsewhere
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(Offset::new(start), Offset::new(end)).expect("forwards")
    }

    fn at(staged: u64, is_finished: bool) -> Progress {
        Progress {
            staged: Offset::new(staged),
            is_finished,
        }
    }

    #[test]
    fn only_the_next_chunk_is_taken() {
        assert_eq!(judge(range(100, 200), false, at(100, false)), Verdict::Take);
        assert_eq!(judge(range(0, 100), false, at(100, false)), Verdict::Duplicate);
        assert_eq!(judge(range(50, 80), false, at(100, false)), Verdict::Duplicate);
        assert_eq!(judge(range(150, 200), false, at(100, false)), Verdict::Early);
        assert_eq!(judge(range(50, 150), false, at(100, false)), Verdict::Elsewhere);
    }

    #[test]
    fn an_empty_chunk_finishes_a_stream_once() {
        assert_eq!(judge(range(100, 100), true, at(100, false)), Verdict::Take);
        assert_eq!(judge(range(100, 100), true, at(100, true)), Verdict::Duplicate);
        assert_eq!(judge(range(100, 100), false, at(100, false)), Verdict::Duplicate);
        assert_eq!(judge(range(100, 100), true, at(50, false)), Verdict::Early);
    }

    proptest! {
        /// However chunks are cut, repeated and mixed up, each byte is taken once and in order.
        #[test]
        fn each_byte_is_taken_once(chunks in prop::collection::vec((0_u64..50, 0_u64..20), 0..200)) {
            let mut staged = 0;
            for (start, len) in chunks {
                if judge(range(start, start + len), false, at(staged, false)) == Verdict::Take {
                    prop_assert_eq!(start, staged);
                    staged = start + len;
                }
            }
        }
    }
}
