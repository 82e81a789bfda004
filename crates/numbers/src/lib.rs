//! What the indexer has counted, by minute and by hour, and how far it has read: `<store_dir>/index.db` (SQLite).
//!
//! The indexer writes it by [`IndexDb`]. Everybody else reads it by [`IndexReader`]: `logferry numbers`, `status`, the search,
//! the monitor and the console.
//!
//! Invariants:
//! - **The places of the indexer stand in the transaction of the numbers** ([`IndexDb::record`]), with the position of the
//!   store that belongs to them. So after a crash each line is counted once.
//! - A line counts in the minute and the hour of its own time. A late line corrects them.
//! - Space is bounded: see `docs/index/indexer.md` for the formula. Rows are removed by age, series are at most [`SERIES_MAX`], named
//!   counters as many as the configuration may have, and no row is later than a day from now.
//! - The file can be deleted with its folder: then the indexer reads anew what the spool has.

mod count_clock;
mod counts;
mod error;
mod histogram;
mod index_db;
mod index_reader;
mod query;
mod schema;
mod series_minutes;
mod sink;
mod state;
mod tally;
#[cfg(test)]
mod tests;

pub use count_clock::CountClock;
pub use counts::{CountedLine, CounterId, Counts};
pub use error::IndexError;
pub use histogram::REQUEST_TIME_BOUNDS;
pub use index_db::{FILE_NAME, IndexChange, IndexDb, NumbersKept, SERIES_MAX};
pub use index_reader::{IndexMoment, IndexReader};
pub use query::{NumbersDimension, NumbersQuery, NumbersRow, NumbersSpan};
pub use sink::{REFUSED_KEPT, RefusedDocument, SinkBatch, SinkChange, SinkState, SinkTotals};
pub use state::{FoundLogFormat, IndexGap, IndexLag, IndexState, IndexedBatch, LedgerLookup};
pub use tally::{SeriesKey, Tally};
