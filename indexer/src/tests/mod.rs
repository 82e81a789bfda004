//! The indexer beside a relay that writes, seals, delivers and deletes, and crashes of the indexer at every step.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod crashes;
mod failing_store;
mod ledgers;
mod relay_host;
mod rounds;
mod sink;
