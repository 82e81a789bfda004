//! Tests of the monitor with a real ledger, a real spool and an embedded mail server.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod audit;
mod clock;
mod filters;
mod incidents;
mod mail_outcomes;
mod mails;
mod roles;
mod senders;
pub(crate) mod settings;
mod silences;
mod status;
