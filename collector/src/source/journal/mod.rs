//! A source of type `journal`. Which entry is new, and which are taken, is decided without I/O in `export`, `cursor`, `resume`
//! and `filter`; `journalctl` is run in `follow`.

mod cursor;
mod export;
mod filter;
mod follow;
mod journalctl;
mod record;
mod resume;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(crate) use record::exported_records;

pub use follow::run;
