//! nginx-like access-log traffic and the records of applications, for `logferry generate` and `simulate`, the demo, tests and
//! benchmarks.
//!
//! Invariants: the same options and times give the same bytes, on every machine and in every version of this crate's
//! dependencies (it draws its own random numbers); lines are whole, and each ends in `\n`.

mod application;
mod burst;
mod feed;
mod file;
mod level_mix;
mod line;
mod mix;
mod random;

pub use application::{ApplicationOptions, ApplicationRecord, ApplicationTraffic, RecordFormat};
pub use burst::Burst;
pub use feed::{Feed, FeedRate, LineSource, Quota, Slice};
pub use file::LogFile;
pub use level_mix::{LevelMix, LevelMixError};
pub use line::{LineKind, Traffic, TrafficOptions, id_in};
