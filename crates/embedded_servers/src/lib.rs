//! Embedded servers for the demo and for tests: an SFTP server, a mail server, and one that answers as OpenSearch does, all on
//! loopback.
//!
//! No daemon uses them. Each listens on a port that the system chooses and behaves like a real server wherever
//! logferry depends on that behaviour. Tests can order faults.
//!
//! Invariants:
//! - The servers listen on 127.0.0.1 only.
//! - When `stop` returns, the port is closed, every connection is cut and no task of the server is left. Dropping a
//!   server stops it too, without waiting.

mod acceptor;
mod mail_script;
mod mail_sink;
mod search_server;
mod sftp;

pub use mail_script::MailScript;
pub use mail_sink::{MailRefusal, MailSink, ReceivedMail};
pub use search_server::{BulkFault, SearchScript, SearchServer};
pub use sftp::fault_script::{FaultAction, FaultScript, OfferedExtensions, ScriptedFault, SftpOperation};
pub use sftp::{SftpOptions, SftpServer, SftpStartError};
