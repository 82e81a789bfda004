//! A round: the chunks of one commit, from the append to the reply.
//!
//! The committer stages a round: it appends the lines. [`RoundWriter`] makes it durable, while the next is being staged:
//!
//! - Rounds are written one after the other, in the order in which they were staged. So a reply that rests on an earlier
//!   round ("that chunk is stored already") is never sent before that round is durable.
//! - A sync may write bytes of the next round too. The ledger does not know them, so a crash cuts them off.
//! - If a round fails, the next one is withdrawn with it: its lines stand behind bytes that will be cut off.

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{Commit, Ledger, UploadChanges};

use crate::chunk::ChunkReply;
use crate::commit::disk_scheduler::GroupScheduler;
use crate::commit::spool_recovery::CommitError;
use crate::commit::upload_dedup::RoundUploads;

/// A round whose lines are appended, but not durable.
#[derive(Debug)]
pub(crate) struct StagedRound<F, R> {
    /// The replies, to be sent when the round is durable.
    pub(crate) replies: Vec<(R, ChunkReply)>,
    /// Counted size of its chunks.
    pub(crate) bytes: usize,
    /// The files to sync.
    pub(crate) files: Vec<F>,
    /// Streams and batches after the round. Without streams there is nothing to write.
    pub(crate) commit: Commit,
    pub(crate) uploads: RoundUploads,
    pub(crate) staged_at: Timestamp,
}

/// Makes the rounds of one group durable.
pub(crate) struct RoundWriter<D> {
    disk: D,
    ledger: Ledger,
    scheduler: GroupScheduler,
}

impl<D: Disk> RoundWriter<D> {
    /// `ledger`: a connection of its own.
    pub(crate) fn new(disk: D, ledger: Ledger, scheduler: GroupScheduler) -> Self {
        Self {
            disk,
            ledger,
            scheduler,
        }
    }

    /// Makes a round durable: first the files, then the ledger. After an error nothing of it counts as durable.
    pub(crate) fn write<R>(&mut self, round: &mut StagedRound<D::File, R>) -> Result<(), CommitError> {
        if round.commit.streams.is_empty() {
            return Ok(());
        }
        let _running = self.scheduler.begin(round.bytes);
        // The lines. A crash after this leaves bytes that the ledger does not know; they are cut off.
        self.scheduler.wait_for_small();
        self.disk
            .sync_all(&mut round.files.iter_mut().collect::<Vec<_>>())?;
        // Their record. A crash after this leaves chunks that are durable without a reply.
        self.scheduler.wait_for_small();
        let RoundUploads { answered, stored } = &round.uploads;
        let uploads = UploadChanges { answered, stored };
        Ok(self
            .ledger
            .commit_with_uploads(&round.commit, uploads, round.staged_at)?)
    }
}
