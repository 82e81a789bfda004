//! Observe, judge, tell: alerts and hourly mails, the state of things, and the proof.
//!
//! Three uses, one source of facts, the ledger:
//! - [`run`] and [`once`] look who is silent and which hours are owed a summary, and mail it;
//! - [`status::status`] says how things are now;
//! - [`audit::audit`] adds everything up and compares ledger and spool.
//!
//! Invariants:
//! - **A decision and its mail are one transaction.** What was decided is told, over crashes and for as long as the
//!   mail server is away, and decided once.
//! - **A mail leaves the outbox only when the server has taken it** (its 250). A crash in the instant between the 250
//!   and the ledger's note of it sends the mail again, with the same `Message-ID`, by which mail systems drop doubles.
//!   Nothing can close that gap: SMTP has no way to ask whether a mail has been taken (RFC 1047).
//! - One monitor at a time per data folder, by a lock: two would send each mail twice.
//! - What decides (`judge`, `hours`, `summary`) does no I/O and is told the time.

pub mod audit;
mod daemon;
mod error;
mod hours;
mod html;
mod judge;
mod letters;
mod outbox;
mod owed;
mod postman;
mod round;
mod spool;
pub mod status;
mod summary;
mod words;

pub use daemon::{once, run, test_mail};
pub use error::{MonitorError, ReportError, SendError};
pub use judge::SourceState;

#[cfg(test)]
mod tests;
