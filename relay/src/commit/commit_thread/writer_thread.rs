//! The thread that makes a group's rounds durable, and sends their replies.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logferry_durable::Disk;
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::names::SourceId;
use logferry_telemetry::{RelayMetrics, StoredChunks};

use super::{CommitJob, ReplyHandle, send};
use crate::chunk::ChunkReply;
use crate::commit::committer::{RoundWriter, StagedRound};
use crate::commit::spool_recovery::CommitError;

/// What became of a round.
pub(super) enum WrittenRound<F, R> {
    /// It is durable, and its replies are sent.
    Durable {
        took: Duration,
        stored: HashMap<SourceId, StoredChunks>,
    },
    /// Nothing of it counts as durable. Its replies are still to be sent.
    Failed {
        round: Box<StagedRound<F, R>>,
        error: CommitError,
    },
}

/// The thread. Dropping this ends it, and waits until its connection to the ledger is closed: the last one that is closed
/// brings the write-ahead log into the file.
pub(super) struct WriterThread<F, R> {
    /// `None` only while it is dropped.
    rounds: Option<Sender<StagedRound<F, R>>>,
    results: Receiver<WrittenRound<F, R>>,
    thread: Option<JoinHandle<()>>,
}

impl<F: Send + 'static> WriterThread<F, ReplyHandle> {
    /// `jobs`: the queue of the commit thread, which is told when a round is written.
    pub(super) fn start<D: Disk<File = F>>(
        name: String,
        mut writer: RoundWriter<D>,
        metrics: RelayMetrics,
        jobs: Weak<Sender<CommitJob>>,
    ) -> std::io::Result<Self> {
        let (rounds, staged) = channel::<StagedRound<F, ReplyHandle>>();
        let (results, written) = channel();
        let mut write = move |mut round: StagedRound<F, ReplyHandle>| {
            let began = Instant::now();
            if let Err(error) = writer.write(&mut round) {
                return WrittenRound::Failed {
                    round: Box::new(round),
                    error,
                };
            }
            let stored = count(&round.replies, &metrics);
            send(round.replies);
            WrittenRound::Durable {
                took: began.elapsed(),
                stored,
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for round in staged {
                if results.send(write(round)).is_err() {
                    break;
                }
                // Without a queue the commit thread is ending, and waits for the result.
                if let Some(jobs) = jobs.upgrade() {
                    let _ = jobs.send(CommitJob::RoundWritten);
                }
            }
        })?;
        Ok(Self {
            rounds: Some(rounds),
            results: written,
            thread: Some(thread),
        })
    }
}

impl<F, R> WriterThread<F, R> {
    /// Begins to write a round. The one before must have ended.
    pub(super) fn write(&self, round: StagedRound<F, R>) {
        // The thread takes rounds until `self` is dropped, unless it ended by a bug.
        if let Some(rounds) = &self.rounds {
            let _ = rounds.send(round);
        }
    }

    /// The result of the round; `None` if it is still being written and `wait` is not set.
    pub(super) fn result(&self, wait: bool) -> Option<WrittenRound<F, R>> {
        if wait {
            Some(self.results.recv().expect("the writer thread does not panic"))
        } else {
            self.results.try_recv().ok()
        }
    }
}

impl<F, R> Drop for WriterThread<F, R> {
    fn drop(&mut self) {
        self.rounds = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was told by the commit thread, which waits for its results.
            let _ = thread.join();
        }
    }
}

/// Counts the chunks of a durable round, those that are new by source.
fn count(replies: &[(ReplyHandle, ChunkReply)], metrics: &RelayMetrics) -> HashMap<SourceId, StoredChunks> {
    let mut stored: HashMap<SourceId, StoredChunks> = HashMap::new();
    for (handle, reply) in replies {
        let ChunkReply::Receipt(receipt) = reply else {
            continue;
        };
        match receipt.outcome {
            ChunkOutcome::Stored => {
                let sum = stored.entry(handle.source.clone()).or_default();
                sum.chunks += 1;
                sum.lines += handle.lines;
                sum.bytes += handle.bytes;
            }
            ChunkOutcome::Duplicate => metrics.duplicate(handle.source.as_str()),
            ChunkOutcome::OffsetMismatch => {}
        }
    }
    stored
}
