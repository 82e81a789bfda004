//! A committer without threads, with its early chunks and the two steps of its rounds.

use std::ops::{Deref, DerefMut};

use jiff::Timestamp;
use logferry_config::BatchSettings as Rules;
use logferry_durable::Disk;
use logferry_ledger::{Batch, Ledger, LedgerError};
use logferry_protocol::resolve::ResolveRequest;
use logferry_spool::Spool;
use logferry_testkit::SimDisk;

use super::now;
use crate::chunk::{ChunkReply, Moment, ReceivedChunk};
use crate::commit::committer::{
    Committer, EarlyChunks, FoundStreams, RecordOutcome, ReportKey, RoundRecorder, RoundSyncer, StagedRound,
};
use crate::commit::disk_scheduler::{RoundGuard, SharedDiskScheduler};
use crate::commit::spool_recovery::CommitError;

/// A committer without threads.
pub(super) struct Tested<D: Disk = SimDisk> {
    committer: Committer<D, usize>,
    pub(super) early: EarlyChunks<Vec<u8>, usize>,
    recorder: RoundRecorder,
}

/// A round of a group that is alone on its disk.
fn running() -> RoundGuard {
    SharedDiskScheduler::default().join().begin(0)
}

impl<D: Disk> Deref for Tested<D> {
    type Target = Committer<D, usize>;
    fn deref(&self) -> &Self::Target {
        &self.committer
    }
}

impl<D: Disk> DerefMut for Tested<D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.committer
    }
}

/// This moment by the monotonic clock, at a time of the wall clock.
pub(super) fn moment(wall: Timestamp) -> Moment {
    Moment {
        wall,
        ..Moment::now()
    }
}

impl<D: Disk> Tested<D> {
    pub(super) fn start(
        group: &str,
        rules: Rules,
        spool: Spool<D>,
        ledger: Ledger,
    ) -> Result<Self, CommitError> {
        let group = group.parse().expect("valid");
        let recorder = RoundRecorder::new(ledger.reopen()?);
        let mut committer = Committer::start(group, rules, spool, ledger, moment(now()))?;
        // So few that files are closed in most histories.
        committer.open.limit_files(2);
        Ok(Self {
            committer,
            recorder,
            early: EarlyChunks::default(),
        })
    }

    pub(super) fn group_commit(
        &mut self,
        arrivals: Vec<(ReceivedChunk<Vec<u8>>, usize)>,
        now: Timestamp,
    ) -> Vec<(usize, ChunkReply)> {
        let mut replies = self.stage_at(arrivals, moment(now));
        if let Some(round) = self.take_round(now) {
            replies.extend(self.write(round));
        }
        replies
    }

    /// Stages chunks that arrive now, and those that came early before.
    pub(super) fn stage_at(
        &mut self,
        mut arrivals: Vec<(ReceivedChunk<Vec<u8>>, usize)>,
        now: Moment,
    ) -> Vec<(usize, ChunkReply)> {
        for (chunk, _) in &mut arrivals {
            chunk.arrived = now;
        }
        let arrivals = self.early.join(arrivals, now.steady);
        let staged = self.committer.stage(arrivals);
        self.early.keep(staged.early);
        staged.replies
    }

    /// Makes a round durable, as a writer thread does.
    pub(super) fn write(&mut self, mut round: StagedRound<D::File, usize>) -> Vec<(usize, ChunkReply)> {
        let synced = self.sync(&mut round);
        self.record(round, synced)
    }

    /// The first step of a round.
    pub(super) fn sync(&self, round: &mut StagedRound<D::File, usize>) -> Result<(), CommitError> {
        RoundSyncer(self.spool.disk().clone()).sync(round, &running())
    }

    /// The second step of the oldest round.
    pub(super) fn record(
        &mut self,
        round: StagedRound<D::File, usize>,
        synced: Result<(), CommitError>,
    ) -> Vec<(usize, ChunkReply)> {
        match self.recorder.record(&round, synced, &running()) {
            RecordOutcome::Durable => {
                self.round_written();
                round.replies
            }
            RecordOutcome::Failed(error) => self.round_failed(round, error),
            RecordOutcome::Withdrawn(reason) => self.round_withdrawn(round, reason),
        }
    }

    /// The answer to a query, as the commit thread reads it.
    pub(super) fn resolve(
        &mut self,
        sender: &ReportKey,
        request: &ResolveRequest,
        now: Timestamp,
    ) -> Result<FoundStreams, LedgerError> {
        self.note_query(&sender.0, now)?;
        self.find_streams(sender, request, now)
    }

    pub(super) fn seal_due(&mut self, now: Timestamp) -> Result<Vec<Batch>, CommitError> {
        let due = self.due_for_seal(moment(now));
        self.seal(due, moment(now))
    }
}
