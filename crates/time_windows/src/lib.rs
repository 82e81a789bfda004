//! Notations of times, the window of a time, and the name of the window's batch; and times that people type.
//!
//! Pure: bytes and settings in, times and names out. It knows neither the ledger nor the configuration. `crates/fields`
//! finds the time in a line with it, the relay and `fsck --rebuild` its window.
//!
//! Invariants:
//! - Reading never fails: a text that does not begin with a time has none.
//! - Every time that is read has a window, and every window a name that is a plain file name.

mod moment;
mod name_template;
mod notation;
mod window;
mod window_length;

pub use moment::{MomentError, moment};
pub use name_template::{
    BATCH_NAME_MAX, BatchNameTooLong, NameField, NamePiece, NameTemplate, NameTemplateError, NameValues,
    REMOTE_FIELDS, batch_name, check_distinct, check_name_length, check_plain, hour_stamp, pieces, render,
    window_label,
};
pub use notation::{FoundTime, LineTime, TimeReader, TimestampFormat};
pub use window::{Window, window_of};
pub use window_length::{WindowLength, WindowLengthError, duration_setting};
