//! The monitor on a real ledger, a real spool and a mail server of its own.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod audits;
mod mails;
pub(crate) mod relay_host;
mod statuses;
mod wants;
