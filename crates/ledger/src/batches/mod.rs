//! Batches: their types (`batch`), their table (`table`), lists of those in the spool (`spooled`), what pictures need
//! (`outline`), one pass over all of it (`scan`), and the signed records of their windows (`window_records`).
//!
//! This room uses only `row`; streams, deliveries and the rebuild build on it. A new query needs changes only here; a new
//! column needs a step of the schema too.

mod batch;
mod outline;
mod scan;
mod spooled;
mod table;
mod window_records;

pub use batch::{Batch, BatchContents, BatchFilter, BatchId, BatchKey, BatchState, NewBatch};
pub use outline::BatchOutline;
pub use scan::{Scanned, ScannedBatch, ScannedDelivery};
pub use spooled::{LiveBatches, SpooledSize};
pub use table::{FORGOTTEN_PARTS, PARTS_MAX, is_last_part};
pub(crate) use table::{by_id, grow, insert};
pub use window_records::{LAST_RECORD_FILE, SignedRecord, WindowPart};
