//! Packets: requests are written and replies are read here.
//!
//! A change of the wire format stays in this folder. A new request also needs a job that makes it.

pub(crate) mod extension;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod space;
