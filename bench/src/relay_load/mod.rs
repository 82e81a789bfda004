//! Benchmarks of sender and relay, one file each: a backlog, many senders, single lines, groups beside an overload, growth.
//! A new benchmark of them is a file here and a command in `main.rs`.

pub(crate) mod backlog;
pub(crate) mod growth;
pub(crate) mod isolation;
pub(crate) mod latency;
pub(crate) mod many_senders;
pub(crate) mod overload;
