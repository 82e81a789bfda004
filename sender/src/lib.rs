//! The sender: tails logs, cuts them into chunks, ships them to the relay.
//!
//! | module | job | I/O |
//! | --- | --- | --- |
//! | `tail` | what to read next, what is in flight, rotations | files behind a trait |
//! | `identity` | which stream a file is | none |
//! | `scan` | which files belong to a log, and in which order | files behind a trait |
//! | `archive` | the text inside compressed files | files behind a trait |
//! | `chunker`, `exclude` | blocks to chunks | none |
//! | `retry` | when to try again | none |
//! | `backfill` | old files, shipped once | yes |
//! | `shell` | the tail's thread: clock, events, checkpoint | yes |
//! | `wire` | HTTP to the relay | yes |
//! | `watch` | inotify | yes |
//! | `writers` | who has a file open for writing | yes |
//! | `checkpoint`, `files` | the state folder; reading logs | yes |
//!
//! Invariants:
//! - The log on disk is the queue: what is not acknowledged is read again, so memory is a fixed set of buffers.
//! - The relay's committed offset is the truth. It is asked at start, for each new file, and after each failure.
//! - A line counts as sent when the relay has it on disk.

mod archive;
mod backfill;
mod buffers;
mod checkpoint;
mod chunker;
mod counters;
mod exclude;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod identity;
mod retry;
mod scan;
mod shell;
mod tail;
mod watch;
mod wire;
mod writers;

pub use backfill::{BackfillError, Fate, News, Plan, PlanError, Refusal, Report, backfill};
pub use counters::{Counters, Snapshot};
pub use shell::{SenderError, run};
