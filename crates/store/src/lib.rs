//! The store of lines that the indexer writes, and the search in it.
//!
//! Lines are kept in frames of about 1 MiB, compressed with zstd; frames stand in segments, `<store_dir>/segments/`. Each
//! frame has a filter of its words, so a search opens only the frames that may have a hit, newest first.
//!
//! How the indexer uses it, so that after a crash numbers and store hold each line exactly once:
//! 1. [`StoreWriter::open`] with the [`StorePosition`] that stands in `index.db` beside the indexer's place. The store is cut
//!    back to it: what a crash left behind it is gone.
//! 2. [`StoreWriter::append`] for each line.
//! 3. About once a second [`StoreWriter::sync`]: all of it is durable. Its result goes into the transaction that has the
//!    place and the numbers.
//! 4. After the commit [`StoreWriter::recorded`]. If the transaction fails, drop the writer and begin at 1.
//!
//! Invariants:
//! - A search reads up to a recorded position and the spool from the place recorded with it, so it shows each line once.
//! - The writer is alone: the role holds a lock on the store's folder. Readers take no lock.

mod error;
mod filter;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod position;
mod query;
mod record;
mod search;
mod segment;
#[cfg(test)]
mod tests;
mod words;
mod writer;

pub use error::StoreError;
pub use position::{PositionError, StorePosition};
pub use query::{Query, QueryError};
pub use record::{LineOrigin, LineRecord};
pub use search::{
    CursorError, Hit, MatchedLine, ReadLines, SearchCursor, SearchEnd, SearchObserver, SearchPage,
    SearchProgress, Searcher, SpoolLines, UnindexedBatch,
};
pub use writer::{RemovedSegments, StoreLimits, StoreOpened, StoreWriter};
