//! The SFTP v3 client as a state machine without I/O.
//!
//! A [`SftpClient`] speaks SFTP version 3 (draft-ietf-secsh-filexfer-02, with the extensions of OpenSSH's PROTOCOL file)
//! over one channel of any kind. [`SftpClient::pump`] appends requests to a buffer that the caller sends,
//! [`SftpClient::feed`] takes the bytes from the server, and [`SftpClient::poll_event`] returns the events of the jobs. The
//! crate has no sockets, files or clocks. The caller keeps the time-outs: [`SftpClient::in_flight`] says whether a reply is
//! due.
//!
//! Invariants:
//! - Jobs are independent. Many are in flight at once; replies come in any order and are matched by request id.
//! - Requests and bytes in flight stay within [`ClientLimits`]; open files also within the server's limit.
//! - A job ends only when its handle is closed and the close is answered.
//! - An upload succeeds only if the server confirmed every write, the sync (if offered) and the close.
//! - No bytes from the server cause a panic. A reply that breaks the protocol is a [`ProtocolError`]; it ends the session,
//!   and its unfinished jobs must be repeated on a new one.

mod client;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod jobs;
mod packets;
mod status;

pub use client::{ClientLimits, InFlightCounts, SftpClient, UploadSource};
pub use error::{JobError, ProtocolError, RequestKind};
pub use jobs::{JobEvent, JobId, JobOutcome, SizeCheck};
pub use packets::extension::Extension;
pub use packets::reply::FileAttributes;
pub use packets::server::ServerCapabilities;
pub use packets::space::FreeSpace;
pub use status::{ServerStatus, ServerText, StatusCode};
