//! What the ledger and the spool say about the pipeline, for everybody who shows it or judges it:
//! - [`status::status`] is the present state;
//! - [`audit::audit`] adds everything up and compares the ledger with the spool;
//! - [`sign_off`] signs what is delivered, so that a later change is noticed.
//!
//! Invariants:
//! - Status and audit only read, and may run while the roles run.
//! - [`sign_off::sign_windows`] writes records of windows and the key, nothing else. The monitor alone calls it.
//! - The time is an argument.

pub mod audit;
mod error;
mod expected_deliveries;
mod gap;
pub mod sign_off;
pub mod status;
pub mod time;

pub use error::InspectionError;
pub use gap::GapReport;
