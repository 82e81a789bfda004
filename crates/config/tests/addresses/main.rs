//! The addresses that roles connect to and listen on.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod listen_addresses;
mod relay_endpoint;
