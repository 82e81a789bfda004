//! nginx-like access-log traffic, for `logferry generate`, the demo, tests and benchmarks.
//!
//! Invariants: the same options and times give the same bytes, on every machine and in every version of this crate's
//! dependencies (it draws its own random numbers); lines are whole, and each ends in `\n`.

mod feed;
mod file;
mod line;
mod mix;
mod random;

pub use feed::{Feed, Quota, Slice};
pub use file::LogFile;
pub use line::{LineKind, Traffic, TrafficOptions, id_in};
