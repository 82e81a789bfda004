//! The relay's ports as a client sees them that may or may not send there: TLS, certificates, tokens, limits, and bytes
//! that are no request. In the test's own process, over loopback, byte by byte.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "tests lay out files, and fail by panicking"
)]

mod authority;
mod limits;
mod requests;
mod smuggling;
mod test_relay;
mod tls;
mod tokens;
