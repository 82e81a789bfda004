//! Servers that stand in for the client's end: an SFTP drop and a mail server, embedded, on loopback.
//!
//! The demo and the tests use them; no daemon does. Both listen on a port the system chooses, keep to what a real
//! server does where logferry depends on it, and can be told by tests to misbehave.
//!
//! Invariants:
//! - They listen on 127.0.0.1 only.
//! - When `stop` returns, the port is closed, every connection is cut and no task of the server is left. A handle
//!   that is dropped stops its server too, without waiting.

mod acceptor;
mod folder;
mod mail;
mod script;
mod sftp;
mod sftp_session;

pub use mail::{MailRefusal, MailSink, ReceivedMail};
pub use script::{Deed, Extensions, Mishap, Request, Script};
pub use sftp::{SftpOptions, SftpServer, SftpStartError};
