//! One search for command and console: the store up to the indexer's position, the spool behind it, and the lines around a line.
//!
//! What a query can say and the order of hits are in `crates/store`; here is what is searched, and a hit as JSON.
//!
//! Invariant: it only reads, and takes no lock. So a search shows the state of a moment: open a scope anew for each page, since
//! the indexer removes files that belonged to an older position.

mod around;
mod around_in_store;
mod error;
mod hit_json;
mod indexed_batches;
mod line_id;
mod pages;
mod scope;
#[cfg(test)]
mod testing;

pub use around::lines_around;
pub use error::SearchError;
pub use hit_json::{GapJson, HitJson, time_text};
pub use indexed_batches::IndexedBatches;
pub use line_id::{LineId, LineIdError, LinesAround};
pub use pages::SearchPages;
pub use scope::{KeptIndex, LineSelection, SearchScope, SearchedHost, notes_of_logs};
