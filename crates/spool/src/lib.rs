//! The spool: the folders in which the relay, the forwarder and the housekeeper keep batch files.
//!
//! This crate is the only place that knows where a batch's file is, and how to find, read, measure, compare and move
//! it. It never changes the ledger: its callers change the ledger first, and the files follow.
//!
//! Invariants:
//! - A batch's file is in one folder. A move is a rename, so it is never in none.
//! - The contents of a sealed batch's file never change; only its form does, from plain to compressed.
//! - Everything goes through a [`Disk`](logferry_durable::Disk), so tests can use a simulated disk.

mod compare;
mod find;
pub mod follow;
mod gzip;
mod layout;
mod measure;
mod reader;
mod role_locks;
mod scan;
#[cfg(test)]
mod tests;
mod transitions;

pub use compare::FileFault;
pub use find::OpenedFile;
pub use gzip::{CopyError, copy, copy_to_file, gzip_encoder};
pub use layout::{FileForm, Spool, SpoolFile};
pub use measure::{FileHash, Measure, MeasuredReader};
pub use reader::BatchReader;
pub use role_locks::{
    FORWARDER_LOCK, HOUSEKEEPER_DAEMON_LOCK, HOUSEKEEPER_LOCK, LEDGER_ROLES, MONITOR_LOCK, MOVING_ROLES,
    RELAY_LOCK, lock_roles,
};
pub use transitions::OpenFile;
