//! What comes into the committer: chunks that have arrived, and the wait of those that came before their predecessors.

use std::time::{Duration, Instant};

use logferry_ledger::{BatchKey, Window};

use crate::chunk::{ReceivedChunk, WindowTarget};
use crate::commit::stream_state::StreamKey;

/// How long a chunk waits for its predecessor, which may be in flight on another connection.
const GAP_TIMEOUT: Duration = Duration::from_secs(2);

/// A chunk that has arrived. `R` is the caller's handle for its reply.
#[derive(Debug)]
pub(crate) struct Arrival<B, R> {
    pub(crate) chunk: ReceivedChunk<B>,
    pub(crate) reply: R,
    /// Whether it may be given back as early, if its predecessor has not come.
    pub(crate) may_wait: bool,
}

/// Early chunks, which the committer has given back. The caller keeps them, and has the clock.
#[derive(Debug)]
pub(crate) struct EarlyChunks<B, R>(Vec<Arrival<B, R>>);

impl<B, R> Default for EarlyChunks<B, R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<B, R> EarlyChunks<B, R> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keep(&mut self, early: Vec<Arrival<B, R>>) {
        self.0.extend(early);
    }

    /// All of them, with those that have just arrived. Each may wait again until it has waited for so long.
    pub(crate) fn join(&mut self, arrived: Vec<(ReceivedChunk<B>, R)>, now: Instant) -> Vec<Arrival<B, R>> {
        let arrived = arrived.into_iter().map(|(chunk, reply)| Arrival {
            chunk,
            reply,
            may_wait: true,
        });
        self.0.extend(arrived);
        for Arrival { chunk, may_wait, .. } in &mut self.0 {
            *may_wait = now.saturating_duration_since(chunk.arrived.steady) < GAP_TIMEOUT;
        }
        std::mem::take(&mut self.0)
    }

    /// Their replies, which the caller sends: they do not wait any more.
    pub(crate) fn give_up(&mut self) -> impl Iterator<Item = R> {
        self.0.drain(..).map(|arrival| arrival.reply)
    }
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
