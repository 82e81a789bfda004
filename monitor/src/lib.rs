//! The monitor: mails about what is wrong and about each hour.
//!
//! It reads the ledger, by `logferry_inspection` where others show the same. [`run`] and [`once`] decide what is wrong and
//! which hours need a summary, send the mails, and sign off the delivered windows.
//!
//! Invariants:
//! - **A decision and its mail are one transaction.** The decision is made once, and its mail is sent even after a crash
//!   or a long failure of the mail server.
//! - **A mail leaves the outbox after the server took it** (its 250). Where the answer is missing, or a crash came between the
//!   count of the attempt and the record of the 250 in the ledger, the mail is sent again with the same `Message-ID`, by which
//!   mail systems drop duplicates. After three such attempts it leaves the outbox as presumed sent: SMTP cannot be asked whether
//!   a mail was taken (RFC 1047), and more copies help nobody. Three crashes just before the mail's first byte end it unsent.
//! - An hour is summed up once it really is over: by a trusted time, not by this host's clock alone (`summary`).
//! - One monitor at a time per data folder, by a lock: two would send each mail twice.
//! - `incidents` and `summary` decide without I/O, and so does what follows from a summary's facts; the time is an argument.

mod certificate_expiry;
mod channel_error;
mod channels;
mod daemon;
mod error;
mod gauges;
mod incident_look;
pub mod incidents;
mod mail;
mod requests;
pub mod rules;
mod sign_off;
mod summary;
mod summary_mail;
mod tick;
mod time;
mod upkeep;

pub use channel_error::ChannelError;
pub use channels::{probe_channel, probe_heartbeat, test_channel};
pub use daemon::{once, run, test_mail};
pub use error::{MonitorError, SendError};
pub use mail::probe::{ProbedRecipients, probe_mail, smtp_finding};
pub use summary::period::SummaryPeriod;
pub use summary_mail::request::{send_summary, summarize, summary_page};
pub use summary_mail::{ComposedSummary, TemplateError, built_in_templates, check_templates};

#[cfg(test)]
mod tests;
