//! The sender: tails logs, cuts them into chunks, ships the chunks to the relay.
//!
//! | module | job | I/O |
//! | --- | --- | --- |
//! | `messages`, `error` | messages between the threads; why a request failed | none |
//! | `files` | find, open, read and watch log files, compressed ones too | yes |
//! | `chunks` | blocks of bytes to chunks: exclusion rules, buffers | none |
//! | `streams` | which stream a file is, and how far it is sent and acknowledged | files behind a trait |
//! | `tail` | which file to read next, rotations, losses, heartbeat | files behind a trait |
//! | `adopt` | the place of another shipper, as a checkpoint | yes |
//! | `backfill` | old files, shipped once | yes |
//! | `relay_client` | HTTP to the relay | yes |
//! | `relay_backoff`, `concurrency_window` | when to try again; how many chunks may be in flight | none |
//! | `clock` | the two clocks | none |
//! | `captures` | the collector's captures as logs | yes |
//! | `checkpoint` | the state file | yes |
//! | `sender_state` | the sender's account of itself, for `status` on its host | yes |
//! | `runner` | threads and tasks put together | yes |
//!
//! Invariants:
//! - The log on disk is the queue: bytes without an acknowledgement are read again, so memory is a fixed set of buffers.
//! - The relay's committed offset is the truth. It is asked at start, for each new file, and after each failure.
//! - A line counts as sent when the relay has it on disk.

mod adopt;
mod backfill;
mod captures;
mod checkpoint;
mod chunks;
mod clock;
mod concurrency_window;
mod error;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod messages;
mod relay_backoff;
mod relay_client;
mod runner;
mod sender_state;
mod streams;
mod tail;

pub use adopt::{AdoptError, AdoptRequest, FoundBy, Takeover, adopt};
pub use backfill::{
    BackfillError, BackfillEvent, BackfillPlan, BackfillPlanError, FileOutcome, FileRefusal, FileReport,
    backfill,
};
pub use captures::with_captures;
pub use files::claims::{DoubleMatch, double_matches};
pub use files::path_check::PathFinding;
pub use files::{log_findings, neighbours, watch_finding};
pub use relay_client::{RelayFound, RelayProbeError, credential_finding, probe_relay};
pub use runner::{SenderError, run};
pub use sender_state::{LogFileProgress, LogFileState, SenderState};
