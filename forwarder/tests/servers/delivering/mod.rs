//! Deliveries that succeed: batches, what is beside them, several destinations, and reading back.

mod batches;
mod layouts;
mod manifests;
pub(crate) mod publishing;
mod resend;
mod several;
mod verifying;
