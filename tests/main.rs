//! End to end, with real parts: the built binary, one process for each role, real nginx, logrotate and OpenSSH on
//! loopback ports. They look at the program from outside only: configuration, folders, exit codes, JSON.
//!
//! Invariants:
//! - What a test claims is checked against the log files on disk, never against what another role says.
//! - A test waits for conditions; time limits only end a test that has failed.
//! - Nothing is left running; the folder of a test that failed stays, and its path is printed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unnecessary_debug_formatting,
    reason = "tests fail by panicking, say why, lay out files and put paths in quotes"
)]

mod commands;
mod compatibility;
mod delivery;
mod faults;
mod protocol;
mod relay_state;
mod rotation;
mod sender_state;
mod support;
