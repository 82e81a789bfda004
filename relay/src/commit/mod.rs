//! The commit: chunks become durable lines in batch files, and batches are sealed.
//!
//! May be changed here alone: which chunk is accepted next, how rounds are formed, when a batch is sealed, and which
//! group syncs first. The order of file sync, ledger transaction and reply must stay: exactly-once depends on it.

mod commit_thread;
mod committer;
mod disk_scheduler;
mod offset_check;
mod open_batches;
mod seal_rule;
mod sealer;
mod spool_recovery;
mod stream_recovery;
mod stream_state;
#[cfg(test)]
mod tests;
mod upload_dedup;

pub(crate) use self::commit_thread::{CommitJob, CommitQueue, CommitThreadError};
pub(crate) use self::committer::Committer;
pub(crate) use self::disk_scheduler::{GroupScheduler, SharedDiskScheduler};
pub(crate) use self::spool_recovery::{CommitError, finish_seals, seal_orphans};
