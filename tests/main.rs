//! End-to-end tests with real parts: the built binary, one process for each role, real nginx, logrotate and OpenSSH on
//! loopback ports. They use the program from outside only: configuration, folders, exit codes, JSON.
//!
//! Invariants:
//! - Results are compared with the log files on disk, never with the output of a role.
//! - A test waits for conditions. A time limit only ends a test that has failed.
//! - Every process ends with its test. The folder of a failed test stays, and its path is printed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unnecessary_debug_formatting,
    reason = "tests fail by panicking, say why, lay out files and put paths in quotes"
)]

mod collector;
mod commands;
mod compatibility;
mod delivery;
mod faults;
mod protocol;
mod relay_state;
mod rotation;
mod sender_state;
mod support;
