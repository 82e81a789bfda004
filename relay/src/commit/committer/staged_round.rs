//! A round: the chunks of one commit, from the append to the reply.
//!
//! The committer stages a round: it appends the lines. Then it is made durable in two steps, while later rounds are staged:
//! [`RoundSyncer`] syncs the files, [`RoundRecorder`] writes the ledger. At most [`ROUNDS_WRITTEN`] rounds are in these steps.
//!
//! - Each step takes the rounds in the order in which they were staged. So a reply that rests on an earlier round ("that
//!   chunk is stored already") is never sent before that round is durable.
//! - A sync may write bytes of later rounds too, and a round may be synced before an earlier one is in the ledger. The ledger
//!   does not know these bytes, so a crash cuts them off.
//! - If a round fails, all later ones are withdrawn with it: their lines stand behind bytes that will be cut off.

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{Commit, Ledger, UploadChanges};

use crate::chunk::ChunkReply;
use crate::commit::disk_scheduler::RoundGuard;
use crate::commit::spool_recovery::CommitError;
use crate::commit::upload_dedup::RoundUploads;

/// Most rounds that are being written at a time: one is synced, one is recorded.
pub(crate) const ROUNDS_WRITTEN: u64 = 2;

/// A round whose lines are appended, but not durable.
#[derive(Debug)]
pub(crate) struct StagedRound<F, R> {
    /// How many failures the committer had had when it was staged. It follows those of the same number.
    pub(super) failures: u64,
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

impl<F, R> StagedRound<F, R> {
    fn has_lines(&self) -> bool {
        !self.commit.streams.is_empty()
    }
}

/// The first step of a group's rounds.
#[derive(Debug, Clone)]
pub(crate) struct RoundSyncer<D>(pub(crate) D);

impl<D: Disk> RoundSyncer<D> {
    /// Syncs the files of a round. A crash after this leaves bytes that the ledger does not know; they are cut off.
    pub(crate) fn sync<R>(
        &self,
        round: &mut StagedRound<D::File, R>,
        running: &RoundGuard,
    ) -> Result<(), CommitError> {
        if round.has_lines() {
            running.wait_for_small();
            self.0.sync_all(&mut round.files.iter_mut().collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The second step of a group's rounds.
#[derive(Debug)]
pub(crate) struct RoundRecorder {
    ledger: Ledger,
    /// The last failure: the `failures` of its round, and the message for senders.
    failed: Option<(u64, &'static str)>,
}

/// What became of a round in the second step.
#[derive(Debug)]
pub(crate) enum RecordOutcome {
    /// It is durable, and its replies may be sent.
    Durable,
    /// Nothing of it counts as durable.
    Failed(CommitError),
    /// The same, as an earlier round failed: the message for its senders.
    Withdrawn(&'static str),
}

impl RoundRecorder {
    /// `ledger`: a connection of its own.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger, failed: None }
    }

    /// Records a round with the result of its sync. A crash after this leaves chunks that are durable without a reply.
    pub(crate) fn record<F, R>(
        &mut self,
        round: &StagedRound<F, R>,
        synced: Result<(), CommitError>,
        running: &RoundGuard,
    ) -> RecordOutcome {
        if let Some((failures, message)) = self.failed
            && failures == round.failures
        {
            return RecordOutcome::Withdrawn(message);
        }
        match synced.and_then(|()| self.write(round, running)) {
            Ok(()) => RecordOutcome::Durable,
            Err(error) => {
                self.failed = Some((round.failures, error.client_message()));
                RecordOutcome::Failed(error)
            }
        }
    }

    fn write<F, R>(&mut self, round: &StagedRound<F, R>, running: &RoundGuard) -> Result<(), CommitError> {
        if !round.has_lines() {
            return Ok(());
        }
        running.wait_for_small();
        let RoundUploads { answered, stored } = &round.uploads;
        let uploads = UploadChanges { answered, stored };
        Ok(self
            .ledger
            .commit_with_uploads(&round.commit, uploads, round.staged_at)?)
    }
}
