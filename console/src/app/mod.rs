//! What handlers work with: the shared state, and the work that takes several rooms (searches, the present state, requests to
//! other roles).

mod asking;
pub(crate) mod event_stream;
pub(crate) mod lines;
pub(crate) mod new_request;
mod present_status;
pub(crate) mod state;
