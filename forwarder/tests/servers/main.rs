//! The forwarder against real SFTP servers: OpenSSH's, and the embedded one for a second opinion.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]
#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on may panic like the tests"
)]

mod crashes;
mod delivery;
mod embedded;
mod layouts;
mod logins;
mod manifests;
mod misbehaving;
mod odd_servers;
mod publishing;
mod resend;
mod several;
mod support;
mod trust;
mod verifying;
