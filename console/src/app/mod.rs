//! What handlers work with: the shared state, what was read a moment ago, and the work that takes several rooms (searches, the
//! present state, audits, requests to other roles).

mod asking;
mod auditing;
mod checked_request;
pub(crate) mod event_stream;
mod kept_audits;
pub(crate) mod kept_read;
pub(crate) mod lines;
mod present_status;
pub(crate) mod state;
