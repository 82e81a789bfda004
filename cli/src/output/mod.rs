//! The results of a command: its exit code, and its text on stdout and stderr.
//!
//! The exit codes are a contract. How text is printed and progress is shown can be changed here alone.

pub(crate) mod age;
pub(crate) mod check_item;
pub(crate) mod console;
pub(crate) mod exit;
pub(crate) mod index_progress;
pub(crate) mod list;
pub(crate) mod paint;
pub(crate) mod result_file;
pub(crate) mod terminal;
