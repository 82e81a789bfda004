//! Stand-ins for the world outside, for tests only: each forgets, refuses and breaks on purpose, and repeatably.
//!
//! Invariant: all chance comes from a seed that the test gives, so a failure is repeated by repeating its seed.

pub mod batches;
mod contents;
pub mod corpus;
mod disk;
mod faults;

pub use disk::{SimDisk, SimFile};
