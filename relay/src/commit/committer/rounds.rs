//! The life of a round in the committer: staged, taken to be written, durable or withdrawn. At most [`ROUNDS_WRITTEN`] are
//! taken and not ended; they end in their order.

use std::collections::BTreeSet;

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::Commit;
use logferry_protocol::chunk::Receipt;
use logferry_protocol::stream::Offset;

use super::arrival::{Arrival, PlacedChunk};
use super::staged_round::ROUNDS_WRITTEN;
use super::{Committer, Settled, StagedRound};
use crate::chunk::ChunkReply;
use crate::commit::spool_recovery::CommitError;
use crate::commit::stream_state::{RoundNumber, StreamKey};

/// What became of arrivals.
pub(crate) struct StageOutcome<B, R> {
    /// Those whose predecessors have not come. They are to come in again.
    pub(crate) early: Vec<Arrival<B, R>>,
    /// Replies that are due, after an error only: then to all arrivals, and to what was staged before.
    pub(crate) replies: Vec<(R, ChunkReply)>,
}

/// The round that is being staged.
pub(super) struct OpenRound<R> {
    /// The chunks that get a reply with it.
    pub(super) settled: Vec<(R, StreamKey, Settled)>,
    /// The streams that it advances.
    pub(super) streams: BTreeSet<StreamKey>,
    /// Counted size of its chunks.
    pub(super) bytes: usize,
}

impl<R> Default for OpenRound<R> {
    fn default() -> Self {
        Self {
            settled: Vec::new(),
            streams: BTreeSet::new(),
            bytes: 0,
        }
    }
}

impl<D: Disk, R> Committer<D, R> {
    /// Stages `arrivals` in the present round. The outcome depends on them, and on what the ledger holds, alone.
    pub(crate) fn stage<B: AsRef<[u8]>>(&mut self, arrivals: Vec<Arrival<B, R>>) -> StageOutcome<B, R> {
        let open = &self.open;
        let place = |arrival: Arrival<B, R>| PlacedChunk {
            stream: (arrival.chunk.source.clone(), arrival.chunk.header.stream),
            batch_keys: open.keys(&arrival.chunk),
            arrival,
        };
        let mut placed = arrivals.into_iter().map(place).collect();
        let stored = self.store(&mut placed);
        let unsettled = placed.into_iter().map(|placed| placed.arrival);
        match stored {
            Ok(()) => StageOutcome {
                early: unsettled.collect(),
                replies: Vec::new(),
            },
            Err(error) => {
                let unsettled = unsettled.map(|arrival| arrival.reply).collect();
                StageOutcome {
                    early: Vec::new(),
                    replies: self.withdraw(Vec::new(), unsettled, error),
                }
            }
        }
    }

    /// Counted size of the round that is being staged.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.round.bytes
    }

    /// Whether no round is staged or being written.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.round.settled.is_empty() && !self.is_writing()
    }

    /// Whether a round is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.being_written > 0
    }

    /// Ends the present round, if it has chunks, and returns it to be written; `None` too while as many as may be are being
    /// written.
    pub(crate) fn take_round(&mut self, now: Timestamp) -> Option<StagedRound<D::File, R>> {
        if self.round.settled.is_empty() || self.being_written >= ROUNDS_WRITTEN {
            return None;
        }
        let OpenRound {
            settled,
            streams,
            bytes,
        } = std::mem::take(&mut self.round);
        let mut moves = Vec::with_capacity(streams.len());
        for key in streams {
            if let Some(stream) = self.streams.get_mut(&key) {
                moves.push(stream.to_move());
                stream.end_round();
            }
        }
        let (batches, files) = self.open.end_round();
        let reply = |(reply, key, settled): (R, StreamKey, Settled)| {
            let stream = self.streams.get(&key);
            let committed = stream.map_or(Offset::ZERO, |stream| stream.record.committed);
            let answer = match settled {
                Settled::Known(outcome) => ChunkReply::Receipt(Receipt::new(committed, outcome)),
                Settled::Wait(limit) => ChunkReply::Wait(limit.message()),
            };
            (reply, answer)
        };
        let replies = settled.into_iter().map(reply).collect();
        self.round_number += 1;
        self.being_written += 1;
        Some(StagedRound {
            failures: self.failures,
            replies,
            bytes,
            files,
            uploads: self.uploads.take_round(!moves.is_empty()),
            commit: Commit {
                streams: moves,
                batches,
            },
            staged_at: now,
        })
    }

    /// The oldest round that was taken is durable.
    pub(crate) fn round_written(&mut self) {
        self.being_written -= 1;
        self.uploads.written();
    }

    /// The oldest round that was taken failed. No chunk of it, and none that is staged, is acknowledged: returns their
    /// replies. The later ones that were taken will be withdrawn.
    pub(crate) fn round_failed(
        &mut self,
        round: StagedRound<D::File, R>,
        error: CommitError,
    ) -> Vec<(R, ChunkReply)> {
        self.being_written -= 1;
        self.withdraw(round.replies, Vec::new(), error)
    }

    /// The oldest round that was taken is withdrawn, as one before it failed. Returns its replies.
    pub(crate) fn round_withdrawn(
        &mut self,
        round: StagedRound<D::File, R>,
        reason: &str,
    ) -> Vec<(R, ChunkReply)> {
        self.being_written -= 1;
        wait_replies(round.replies.into_iter().map(|(reply, _)| reply), reason)
    }

    /// Withdraws what is staged. `unsettled`: the replies of chunks that have no place in the round.
    fn withdraw(
        &mut self,
        failed: Vec<(R, ChunkReply)>,
        unsettled: Vec<R>,
        error: CommitError,
    ) -> Vec<(R, ChunkReply)> {
        let staged = std::mem::take(&mut self.round).settled;
        let failed = failed.into_iter().map(|(reply, _)| reply);
        let replies = failed.chain(staged.into_iter().map(|(reply, ..)| reply));
        let replies = wait_replies(replies.chain(unsettled), error.client_message());
        self.needs_recovery = true;
        self.failures += 1;
        self.failure = Some(error);
        replies
    }

    /// The last round that the ledger has for certain.
    pub(crate) fn durable_round(&self) -> RoundNumber {
        self.round_number - 1 - self.being_written
    }
}

/// The replies to chunks of which nothing is stored.
pub(crate) fn wait_replies<R>(replies: impl Iterator<Item = R>, reason: &str) -> Vec<(R, ChunkReply)> {
    let wait = |reply| (reply, ChunkReply::Wait(reason.to_owned()));
    replies.map(wait).collect()
}
