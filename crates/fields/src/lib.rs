//! The fields of a line of log, and its time, by the log's format.
//!
//! Pure: bytes in, byte ranges and times out. The formats are those of nginx (`log_format`, with the named `combined` and
//! `common`), JSON, LTSV, logfmt, syslog, and any text. Notations of times are read by `crates/time_windows`.
//!
//! Invariants:
//! - Reading a line never fails: a line that is not of its format has no fields and no time.
//! - Reading takes time in proportion to the line's length.
//! - In a format that is known, no text that a client sends decides the time.

mod detect;
mod escape;
mod facts;
mod field;
mod format;
mod free_text;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod keyed;
mod level;
mod line_reader;
mod log_format;
mod syslog;
#[cfg(test)]
mod tests;
mod text;

pub use facts::LineFacts;
pub use field::{FieldName, LineField};
pub use format::{Format, FormatError, LineClock};
pub use level::Level;
pub use line_reader::LineReader;
pub use log_format::{LogFormatError, ValueBorder};
