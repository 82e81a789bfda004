//! Captures: the durable file of a source's records, and the source's position in what it reads.
//!
//! A source holds a [`CaptureHandle`]. Its clones append to the same capture; one writer makes what they append durable, many
//! records a sync.
//!
//! Invariants:
//! - [`CaptureHandle::append_waiting`] succeeds only when the records and the position are on stable storage, both or neither.
//! - After a crash [`CaptureHandle::position`] is that of the last records that are kept: a source that goes on from it loses
//!   and doubles nothing.

mod commit_log;
mod error;
mod handle;
mod receipts;
mod recovery;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::CaptureError;
#[cfg(test)]
pub(crate) use handle::testing;
pub(crate) use handle::{Appended, CaptureReport};
pub use handle::{CaptureHandle, Position, Refused};
pub(crate) use receipts::{RequestKey, RequestReceipt};
pub(crate) use writer::{CaptureSettings, CaptureWriter};
