//! Captures on the simulated disk, and writers on a real one.

mod scenarios;
mod writer;
