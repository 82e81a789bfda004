//! Sources: each a folder or file beside this one, with a function `run(settings, context)` that goes on until the shutdown.
//!
//! A source that ends with an error is started again after a wait, for ever; it never stops the others. What several sources
//! use: `listener` (clients by TCP and TLS), `framing` (where a record ends) and `record_memory` (a bound for records in memory).

mod context;
pub(crate) mod framing;
pub mod http;
pub mod journal;
mod listener;
pub mod mysql;
mod read_problem;
mod record_memory;
pub mod syslog;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod windows_events;

pub(crate) use context::SourceReport;
pub use context::{SourceAccount, SourceContext, SourceError, SourcePhase};
pub(crate) use listener::wrong_certificate;
pub use record_memory::ClientMemory;
