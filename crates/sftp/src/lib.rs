//! The SFTP v3 client as a machine without I/O.
//!
//! A [`SftpClient`] speaks SFTP version 3 (draft-ietf-secsh-filexfer-02, with the extensions of OpenSSH's PROTOCOL file)
//! over one channel, whatever carries it. [`SftpClient::pump`] appends requests to a buffer the caller sends,
//! [`SftpClient::feed`] takes the bytes the server sent, and [`SftpClient::poll_event`] tells what came of the jobs. No
//! sockets, files or clocks are in here; time-outs are the driver's, who sees from [`SftpClient::in_flight`] whether
//! the server owes an answer.
//!
//! Invariants:
//! - Jobs are independent machines; many are in flight at once, told apart by request id, replies in any order.
//! - Requests and bytes in flight never pass [`ClientLimits`]; files open at a time pass neither ours nor the server's limit.
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

pub use client::{ClientLimits, InFlightCounts, SftpClient, UploadSource};
pub use error::{JobError, ProtocolError, RequestKind};
pub use job::{JobEvent, JobId, JobOutcome, SizeCheck};
pub use reply::FileAttributes;
pub use server::{Extension, ServerCapabilities};
pub use space::FreeSpace;
pub use status::{ServerStatus, ServerText, StatusCode};
