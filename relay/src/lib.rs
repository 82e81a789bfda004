//! The relay: receives chunks, assigns lines to windows, commits them, seals batches.
//!
//! The way of a request: `http` reads it, `auth` and `senders` decide whose it is, `chunk` assigns its lines to windows, `commit` makes
//! them durable and replies. Between rounds `commit` seals batches. `legacy_upload` does what only `POST /upload` needs,
//! `health` decides whether a group accepts lines. Folders depend on each other in one direction: `http` on all others,
//! `legacy_upload` on `commit`, `commit` on `chunk` and `health`.
//!
//! Invariants:
//! - A 200 means that every line of the chunk is on stable storage, once.
//! - Groups share only the ledger and the disk, where large rounds wait for small ones. Each has its own port, memory,
//!   request threads, commit thread and metrics.

mod auth;
mod chunk;
mod commit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod http;
mod ledger_check;
mod legacy_upload;
mod senders;
mod server;

pub use crate::auth::{CredentialCheck, CredentialFileError, check_files};
pub use crate::server::{RelayError, RelayServer, run};
