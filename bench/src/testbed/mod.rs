//! The testbed: a relay with senders, the logs that they ship, and the check that the relay stored them exactly.
//! Benchmarks of relay and sender are built on it; it measures nothing itself.

pub(crate) mod line_writer;
pub(crate) mod relay_testbed;
pub(crate) mod source_log;
