//! The forwarder against real SFTP servers: OpenSSH's, and the embedded one for a second opinion.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]
#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on may panic like the tests"
)]

mod connecting;
mod delivering;
mod failing;
mod support;
