//! The client against a fake server over byte buffers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::naive_bytecount,
    reason = "tests fail by panicking; counts are tiny"
)]

mod fake;
mod jobs;
mod protocol;
mod session;
