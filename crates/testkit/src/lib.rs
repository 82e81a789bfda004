//! Fixtures for tests: a simulated disk, the fuzz corpora.
//!
//! Invariant: every random choice comes from a seed that the test gives, so the same seed repeats a failure.

pub mod corpus;
mod disk;
mod faults;
mod sim_contents;

pub use disk::{SimDisk, SimFile};
