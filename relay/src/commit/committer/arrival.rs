//! What comes into the committer: chunks that have arrived, and the wait of those that came before their predecessors.

use std::time::{Duration, Instant};

use logferry_ledger::{BatchKey, Window};

use crate::chunk::{ReceivedChunk, WindowTarget};
use crate::commit::stream_state::StreamKey;

/// How long a chunk waits for its predecessor, which may be in flight on another connection.
const GAP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the ledger is asked whether the predecessor of an early chunk came through another group.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A chunk that has arrived. `R` is the caller's handle for its reply.
#[derive(Debug)]
pub(crate) struct Arrival<B, R> {
    pub(crate) chunk: ReceivedChunk<B>,
    pub(crate) reply: R,
    /// Whether it may be given back as early, if its predecessor has not come.
    pub(crate) may_wait: bool,
    /// Whether the ledger is asked for its stream, if the stream in memory does not reach it.
    pub(crate) may_look: bool,
}

/// Early chunks, which the committer has given back. The caller keeps them, and has the clock.
#[derive(Debug)]
pub(crate) struct EarlyChunks<B, R> {
    chunks: Vec<Arrival<B, R>>,
    /// When the ledger is asked again.
    next_look: Option<Instant>,
}

impl<B, R> Default for EarlyChunks<B, R> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            next_look: None,
        }
    }
}

impl<B, R> EarlyChunks<B, R> {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether one of them is to come in again though nothing has arrived.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let has_waited = |early: &Arrival<B, R>| !may_wait(&early.chunk, now);
        !self.chunks.is_empty() && (self.is_look_due(now) || self.chunks.iter().any(has_waited))
    }

    fn is_look_due(&self, now: Instant) -> bool {
        self.next_look.is_none_or(|at| now >= at)
    }

    pub(crate) fn keep(&mut self, early: Vec<Arrival<B, R>>) {
        self.chunks.extend(early);
    }

    /// All of them, with those that have just arrived. Each may wait again until it has waited for so long.
    pub(crate) fn join(&mut self, arrived: Vec<(ReceivedChunk<B>, R)>, now: Instant) -> Vec<Arrival<B, R>> {
        let is_look_due = self.is_look_due(now);
        if is_look_due {
            self.next_look = Some(now + LOOK_INTERVAL);
        }
        for early in &mut self.chunks {
            early.may_wait = may_wait(&early.chunk, now);
            early.may_look = is_look_due || !early.may_wait;
        }
        let arrived = arrived.into_iter().map(|(chunk, reply)| Arrival {
            may_wait: may_wait(&chunk, now),
            may_look: true,
            chunk,
            reply,
        });
        self.chunks.extend(arrived);
        std::mem::take(&mut self.chunks)
    }

    /// Their replies, which the caller sends: they do not wait any more.
    pub(crate) fn give_up(&mut self) -> impl Iterator<Item = R> {
        self.chunks.drain(..).map(|arrival| arrival.reply)
    }
}

fn may_wait<B>(chunk: &ReceivedChunk<B>, now: Instant) -> bool {
    now.saturating_duration_since(chunk.arrived.steady) < GAP_TIMEOUT
}

/// A chunk in the committer, with its stream and batches.
pub(super) struct PlacedChunk<B, R> {
    pub(super) arrival: Arrival<B, R>,
    pub(super) stream: StreamKey,
    /// The batch key of each run that has a window, in order.
    pub(super) batch_keys: Vec<BatchKey>,
}

impl<B, R> PlacedChunk<B, R> {
    pub(super) fn chunk(&self) -> &ReceivedChunk<B> {
        &self.arrival.chunk
    }

    /// Its runs' windows with their batch keys.
    pub(super) fn windows(&self) -> impl Iterator<Item = (&BatchKey, Window)> {
        let runs = self.chunk().split.runs.iter();
        let windows = runs.filter_map(|run| match run.target {
            WindowTarget::Window(window) => Some(window),
            WindowTarget::Previous => None,
        });
        self.batch_keys.iter().zip(windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::tests::{chunk, line};

    #[test]
    fn an_early_chunk_looks_into_the_ledger_when_it_comes_now_and_then_and_at_its_end() {
        let mut early = EarlyChunks::default();
        let start = Instant::now();
        let mut second = chunk(1, 50, &line(20, "second"));
        second.arrived.steady = start;
        // After so many milliseconds: whether it looks, and whether it may wait on.
        let mut at = |millis, arrived| {
            let now = start + Duration::from_millis(millis);
            let is_due = early.is_due(now);
            let joined = early.join(arrived, now);
            let found = joined
                .iter()
                .map(|it| (it.may_look, it.may_wait))
                .collect::<Vec<_>>();
            early.keep(joined);
            (is_due, found)
        };
        assert_eq!(at(0, vec![(second, 0)]), (false, vec![(true, true)]));
        assert_eq!(at(1, Vec::new()), (false, vec![(false, true)]));
        assert_eq!(at(99, Vec::new()), (false, vec![(false, true)]));
        assert_eq!(at(100, Vec::new()), (true, vec![(true, true)]));
        assert_eq!(at(150, Vec::new()), (false, vec![(false, true)]));
        assert_eq!(at(1990, Vec::new()), (true, vec![(true, true)]));
        assert_eq!(at(2000, Vec::new()), (true, vec![(true, false)]));
    }
}
