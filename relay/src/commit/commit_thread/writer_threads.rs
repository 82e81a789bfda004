//! The threads that make a group's rounds durable, and send their replies.
//!
//! There are two, and each takes a round through both steps: while one records a round, the other syncs the next. A round
//! begins to be synced when the sync before has ended, and is recorded when the one before it is.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logferry_durable::Disk;
use logferry_ledger::Ledger;
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::names::SourceId;
use logferry_telemetry::{RelayMetrics, StoredChunks};

use super::{CommitJob, ReplyHandle, send};
use crate::chunk::ChunkReply;
use crate::commit::committer::{RecordOutcome, RoundRecorder, RoundSyncer, StagedRound};
use crate::commit::disk_scheduler::GroupScheduler;
use crate::commit::spool_recovery::CommitError;

/// One for each step of a round.
const THREADS: usize = 2;

/// What became of a round. Rounds end in the order in which they were handed over.
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
    /// The same, as an earlier round failed.
    Withdrawn {
        round: Box<StagedRound<F, R>>,
        reason: &'static str,
    },
}

/// What the threads tell.
enum WriterEvent<F, R> {
    /// The next round may be handed over.
    Synced,
    Written(WrittenRound<F, R>),
    /// A thread panicked. No round ends any more.
    Panicked(Box<dyn Any + Send>),
}

/// A round on its way to the threads.
struct HandedRound<F, R> {
    round: StagedRound<F, R>,
    /// Told when the round before has ended. Closed without that, if its thread has panicked.
    before: Receiver<()>,
    ended: Sender<()>,
}

/// The threads. Dropping this ends them, and waits until their connection to the ledger is closed: the last one that is
/// closed brings the write-ahead log into the file.
pub(super) struct WriterThreads<F, R> {
    /// `None` only while it is dropped.
    rounds: Option<Sender<HandedRound<F, R>>>,
    events: Receiver<WriterEvent<F, R>>,
    /// When the round that was handed over last has ended.
    last_ended: Receiver<()>,
    is_syncing: bool,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Shared<D: Disk> {
    rounds: Mutex<Receiver<HandedRound<D::File, ReplyHandle>>>,
    syncer: RoundSyncer<D>,
    recorder: Mutex<RoundRecorder>,
    scheduler: GroupScheduler,
    metrics: RelayMetrics,
    /// The queue of the commit thread, which is told of each event. Without a queue that thread is ending, and waits for the
    /// events themselves.
    jobs: Weak<Sender<CommitJob>>,
}

impl<F: Send + 'static> WriterThreads<F, ReplyHandle> {
    /// `group`: for the threads' names. `ledger`: a connection of their own. `jobs`: the queue of the commit thread.
    pub(super) fn start<D: Disk<File = F>>(
        group: &str,
        disk: D,
        ledger: Ledger,
        scheduler: GroupScheduler,
        metrics: RelayMetrics,
        jobs: Weak<Sender<CommitJob>>,
    ) -> std::io::Result<Self> {
        let (rounds, handed) = channel();
        let (told, events) = channel();
        let (first, last_ended) = channel();
        // The receiver is there.
        let _ = first.send(());
        let shared = Arc::new(Shared {
            rounds: Mutex::new(handed),
            syncer: RoundSyncer(disk),
            recorder: Mutex::new(RoundRecorder::new(ledger)),
            scheduler,
            metrics,
            jobs,
        });
        let mut writers = Self {
            rounds: Some(rounds),
            events,
            last_ended,
            is_syncing: false,
            threads: Vec::with_capacity(THREADS),
        };
        for _ in 0..THREADS {
            let (shared, told) = (Arc::clone(&shared), told.clone());
            let thread = std::thread::Builder::new().name(format!("sync-{group}"));
            writers.threads.push(thread.spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| shared.run(&told))) {
                    // Otherwise the commit thread would wait in vain.
                    let _ = told.send(WriterEvent::Panicked(panic));
                }
            })?);
        }
        Ok(writers)
    }
}

impl<D: Disk> Shared<D> {
    fn run(&self, told: &Sender<WriterEvent<D::File, ReplyHandle>>) {
        loop {
            let handed = lock(&self.rounds).recv();
            // Closed if the threads are to end, or the commit thread has ended.
            let Ok(handed) = handed else { return };
            if self.write(handed, told).is_none() {
                return;
            }
        }
    }

    /// Takes a round through both steps; `None` if there is no sense in going on.
    fn write(
        &self,
        handed: HandedRound<D::File, ReplyHandle>,
        told: &Sender<WriterEvent<D::File, ReplyHandle>>,
    ) -> Option<()> {
        let HandedRound {
            mut round,
            before,
            ended,
        } = handed;
        let tell = |event| {
            let is_told = told.send(event).is_ok();
            if let Some(jobs) = self.jobs.upgrade() {
                let _ = jobs.send(CommitJob::RoundStep);
            }
            is_told.then_some(())
        };
        let began = Instant::now();
        let running = self.scheduler.begin(round.bytes);
        let synced = self.syncer.sync(&mut round, &running);
        tell(WriterEvent::Synced)?;
        before.recv().ok()?;
        let outcome = lock(&self.recorder).record(&round, synced, &running);
        drop(running);
        let written = match outcome {
            RecordOutcome::Durable => {
                let stored = count(&round.replies, &self.metrics);
                send(round.replies);
                let took = began.elapsed();
                WrittenRound::Durable { took, stored }
            }
            RecordOutcome::Failed(error) => WrittenRound::Failed {
                round: Box::new(round),
                error,
            },
            RecordOutcome::Withdrawn(reason) => WrittenRound::Withdrawn {
                round: Box::new(round),
                reason,
            },
        };
        tell(WriterEvent::Written(written))?;
        // If nobody receives it, there is no next round.
        let _ = ended.send(());
        Some(())
    }
}

impl<F, R> WriterThreads<F, R> {
    /// Whether the next round may be handed over: the sync of the last has ended.
    pub(super) fn is_free(&self) -> bool {
        !self.is_syncing
    }

    /// Begins to write a round.
    pub(super) fn write(&mut self, round: StagedRound<F, R>) {
        let (ended, last_ended) = channel();
        let before = std::mem::replace(&mut self.last_ended, last_ended);
        self.is_syncing = true;
        // A thread takes rounds until `self` is dropped, unless both ended by a bug.
        if let Some(rounds) = &self.rounds {
            let _ = rounds.send(HandedRound { round, before, ended });
        }
    }

    /// The rounds that have ended. `wait`: waits until one has, or until the next may be handed over.
    pub(super) fn take_ended(&mut self, wait: bool) -> Vec<WrittenRound<F, R>> {
        let first = wait.then(|| self.events.recv().expect("the threads end after this one"));
        let mut written = Vec::new();
        for event in first.into_iter().chain(self.events.try_iter()) {
            match event {
                WriterEvent::Synced => self.is_syncing = false,
                WriterEvent::Written(round) => written.push(round),
                WriterEvent::Panicked(panic) => resume_unwind(panic),
            }
        }
        written
    }
}

impl<F, R> Drop for WriterThreads<F, R> {
    fn drop(&mut self) {
        self.rounds = None;
        for thread in self.threads.drain(..) {
            // A panic of that thread was told by the commit thread, which waits for its results.
            let _ = thread.join();
        }
    }
}

/// Each change under these locks is complete, or the thread that panicked lets no further round pass.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests;
