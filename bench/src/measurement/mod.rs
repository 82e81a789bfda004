//! Measuring: child processes and what they used, commit times of a relay, figures and their table.
//! Nothing here starts a relay or knows a benchmark.

pub(crate) mod commit_times;
pub(crate) mod disk_limit;
pub(crate) mod figures;
pub(crate) mod line_syncs;
pub(crate) mod process;
pub(crate) mod table;
