//! `logferry audit` from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

#[path = "../program/mod.rs"]
mod program;
mod signed_windows;
#[cfg(feature = "demo")]
mod verify_remote;
