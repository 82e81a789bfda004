//! The collector: turns what is not a file into durable capture files, which the sender ships.
//!
//! Every source makes [`record::Record`]s and appends them to its [`capture`]; when that has succeeded, they are on stable
//! storage, once, together with the source's new position. The sender reads the captures like any log
//! (`crates/captures`), so everything behind it holds for every source.
//!
//! Invariants:
//! - What was acknowledged to a client, or marked at a source, is on stable storage.
//! - A source that is down, and a disk that is full, cost the other sources nothing.

pub mod capture;
mod check;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod line_record;
pub mod record;
pub mod source;
mod state_file;
mod worker;

pub use check::check_files;
pub use error::CollectorError;
pub use source::mysql::{TableFound, probe as probe_table};
pub use state_file::{CollectedSource, CollectedState, CollectorState};
pub use worker::run;
