//! The time in a line, its window, and the name of the window's batch.
//!
//! Pure: bytes and settings in, times and names out. It knows neither the ledger nor the configuration. The relay sorts
//! lines with it, and `fsck --rebuild` finds the window of a batch file.
//!
//! Invariants:
//! - Reading a line never fails: a line without a recognised time has no time.
//! - Every time that is read has a window, and every window a name that is a plain file name.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json_time;
mod line_time;
mod name_template;
mod window;
mod window_length;

pub use line_time::{LineClock, LineTime, TimestampFormat};
pub use name_template::{
    NameField, NamePiece, NameTemplate, NameTemplateError, NameValues, REMOTE_FIELDS, batch_name,
    check_distinct, check_plain, hour_stamp, pieces, render, window_label,
};
pub use window::{Window, window_of};
pub use window_length::{WindowLength, WindowLengthError, duration_setting};
