//! The journal of this host. What is read next, and which entry is new, is decided here without I/O; `journalctl` is run in
//! `source`.

mod cursor;
mod export;
mod filter;
mod resume;
#[cfg(test)]
mod tests;

pub use cursor::JournalCursor;
pub use export::{ExportDecoder, ExportError, JournalEntry};
pub use filter::EntryFilter;
pub use resume::{EntryVerdict, JournalGap, JournalResume, Silence};
