//! The SFTP v3 client as a machine without I/O.
//!
//! A [`Client`] speaks SFTP version 3 (draft-ietf-secsh-filexfer-02, with the extensions of OpenSSH's PROTOCOL file)
//! over one channel, whatever carries it. [`Client::pump`] appends requests to a buffer the caller sends,
//! [`Client::feed`] takes the bytes the server sent, and [`Client::poll_event`] tells what came of the jobs. No
//! sockets, files or clocks are in here; time-outs are the driver's, who sees from [`Client::in_flight`] whether
//! the server owes an answer.
//!
//! Invariants:
//! - Jobs are independent machines; many are in flight at once, told apart by request id, replies in any order.
//! - Requests and bytes in flight never pass [`Limits`]; files open at a time pass neither ours nor the server's limit.
//! - A handle that was opened is closed before its job ends, and the close is awaited.
//! - An upload ends well only when the server confirmed every write, the sync (where offered) and the close.
//! - Bytes from the server never panic: a reply that breaks the protocol is a [`ProtocolError`], after which the
//!   session is over and its unfinished jobs are to be tried again on a new one.

mod client;
mod download;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod job;
mod reply;
mod server;
mod single;
mod space;
mod status;
mod upload;
mod wire;

pub use client::{Client, Content, InFlight, Limits};
pub use error::{JobError, ProtocolError, Step};
pub use job::{Event, JobId, Outcome, SizeCheck};
pub use reply::Attributes;
pub use server::{Extension, Server};
pub use space::FreeSpace;
pub use status::{ServerText, Status, StatusCode};
