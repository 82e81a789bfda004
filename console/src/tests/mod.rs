//! The console from outside: a relay host with lines, a console on a port of its own, and requests over TCP.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod access;
mod document;
mod export;
mod hostile;
mod http;
mod live;
mod log_page;
mod overview;
mod relay_host;
mod requests;
mod tls;
mod windows;
