//! Sources: each a folder or file beside this one, with a function `run(settings, context)` that goes on until the shutdown.
//!
//! A source that ends with an error is started again after a wait, for ever; it never stops the others.

mod context;
mod framing;
pub mod http;
pub(crate) mod journal;
pub(crate) mod syslog;

pub(crate) use context::SourceReport;
pub use context::{SourceContext, SourceError, SourceState, SourceStatus};
