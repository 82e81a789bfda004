//! A segment: frames one after the other in one file, and their filters in another.
//!
//! | file in `<store_dir>/segments/` | |
//! | --- | --- |
//! | `N.frames` | the frames of segment N, only ever appended |
//! | `N.words` | while it is written: for each frame its entry and its filter |
//! | `N.index` | once it is closed: the entries, and the filters block by block |
//! | `N.tail` | lines that are in no frame yet, as small frames; N counts tails, not segments |
//!
//! Invariant: `N.frames` alone has all lines. Without one of the other files a search reads more, and finds the same.

mod index;
mod layout;
mod read;
mod words_file;

pub(crate) use index::{ClosedSegment, build_index};
pub(crate) use layout::{SegmentFile, StoreFolder};
pub(crate) use read::{read_at, walk};
pub(crate) use words_file::{WORDS_RECORD, WordsRecord};
