//! Logs of the tests: writers, and the comparison of written with delivered lines.

pub(crate) mod comparison;
pub(crate) mod writer;
