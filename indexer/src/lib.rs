//! The indexer: reads each durable line once, counts it (`crates/numbers`) and keeps it for the search (`crates/store`).
//!
//! It only reads the relay's ledger and spool, and writes only its own folder. Nothing on the path from log to destination
//! needs it: killed, full or slow, it costs that path nothing. If its folder is deleted, it reads anew what the spool has.
//!
//! A round (`round`): look into the ledger, read the new bytes of each batch block by block, then make all of it durable:
//!
//! 1. The store syncs the lines. A crash here: the next start cuts the store back to the position in `index.db`.
//! 2. One transaction of `index.db` has the numbers, the place in each batch, the gaps, and the store's position. A crash
//!    before its end: nothing of the round has happened. After it: all of it has.
//! 3. The store is told, and removes what only an older position needs.
//!
//! Invariants:
//! - **Each line is in numbers and store once**, or in a gap that both name: its batch was deleted before it was read.
//! - An error of ledger, store or numbers counts as a crash: everything is dropped and opened again. A file that cannot be read
//!   stops its batch only.
//! - Reads are bounded: a block of 1 MiB at a time, [`ROUND_BYTES`] a round, fewer if the lines are of very many minutes. Live batches come before old ones, and old ones
//!   in the order in which the housekeeper deletes them.
//!
//! `catalog`, `clock_check`, `log_formats` and `counting` decide, and do no I/O. `opensearch` is a second reader with places of its own, which
//! sends the lines on.

mod catalog;
mod clock_check;
mod counting;
mod error;
mod free_space;
mod ledger_file;
mod line_store;
mod log_formats;
mod opensearch;
mod reported_error;
mod round;
#[cfg(test)]
mod tests;
mod worker;

pub use error::IndexerError;
pub use round::ROUND_BYTES;
pub use worker::run;

/// The relay, the forwarder and people's commands come first (nice(2)).
const NICENESS: i32 = 10;
