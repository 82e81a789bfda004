//! Sources: each a folder or file beside this one, with a function `run(settings, context)` that goes on until the shutdown.
//!
//! A source that ends with an error is started again after a wait, for ever; it never stops the others. What several sources
//! use: `listener` (clients by TCP and TLS) and `framing` (where a record ends).

mod context;
pub(crate) mod framing;
pub mod http;
pub mod journal;
mod listener;
pub mod mysql;
pub mod syslog;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod windows_events;

pub(crate) use context::SourceReport;
pub use context::{SourceAccount, SourceContext, SourceError, SourcePhase};
