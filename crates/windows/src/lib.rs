//! When a line of log was written, which window that is, and what the window's batch is called.
//!
//! Pure: bytes and settings in, times and names out. The relay sorts lines by it, and `fsck --rebuild` finds with it
//! which window a batch file is of.
//!
//! Invariants:
//! - Reading a line never fails: one in which no time is found has none.
//! - Every time that is read has a window, and every window a name that is a plain file name.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json_time;
mod line_time;
mod window;

pub use line_time::{LineClock, LineTime};
pub use window::{batch_name, window_of};
