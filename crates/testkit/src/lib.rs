//! Fixtures for tests: a simulated disk, batches in a data folder, the fuzz corpora.
//!
//! Invariant: every random choice comes from a seed that the test gives, so the same seed repeats a failure.

pub mod batches;
pub mod corpus;
mod disk;
mod faults;
pub mod relay_host;
mod sim_contents;

pub use disk::{SimDisk, SimFile};
