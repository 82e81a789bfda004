//! The relay's ports from the client's side: TLS, certificates, tokens, limits, and bytes that are not a request. The relay
//! runs in the test's process; the requests are sent over loopback, byte by byte.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "tests lay out files, and fail by panicking"
)]

mod authority;
mod limits;
mod requests;
mod sender_ids;
mod smuggling;
mod test_relay;
mod tls;
mod tokens;
