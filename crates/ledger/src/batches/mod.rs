//! Batches: their types (`batch`), their table (`table`) and lists of those in the spool (`spooled`).
//!
//! This room uses only `row`; streams, deliveries and the rebuild build on it. A new query needs changes only here; a new
//! column needs a step of the schema too.

mod batch;
mod spooled;
mod table;

pub use batch::{Batch, BatchContents, BatchFilter, BatchId, BatchKey, BatchState, NewBatch};
pub use table::{FORGOTTEN_PARTS, PARTS_MAX, is_last_part};
pub(crate) use table::{by_id, grow, insert};
