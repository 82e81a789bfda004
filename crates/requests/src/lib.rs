//! Requests: what people ask for in the console, and the roles of the relay host carry out.
//!
//! The console runs as a user who may not write the ledger. So it puts a request as a file into `<state_dir>/requests/`, where the
//! other roles may read; the forwarder carries out `retry` and `resend`, the monitor `silence`. Whoever carries one out writes its
//! effect and its outcome into the ledger, in one transaction. The console reads the outcome there, keeps it in its trail of
//! actions, and removes the file.
//!
//! Invariants:
//! - **A request is carried out once.** Its outcome in the ledger says that it was; both are there or neither, also after a crash.
//! - A request that is older than [`LIFETIME`] is not carried out any more: what somebody wanted yesterday may do harm today. An
//!   outcome is kept for longer than that, so a file that stays is never carried out twice.
//! - A file there is read with bounds, and never through a link: who writes it has fewer rights than who reads it.

mod carry_out;
mod folder;
mod request;

pub use carry_out::{CarryOutError, carry_out_all};
pub use folder::{RequestFolder, RequestFolderError};
pub use request::{ConsoleRequest, LIFETIME, RequestedAction};
