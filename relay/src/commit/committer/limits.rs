//! The limits of a source's batches: whether a chunk may open the batches that it needs, or waits.
//!
//! A chunk is taken whole or not at all. So a source may exceed its limit of open batches by those of one chunk, and no
//! chunk is too large to be taken ever. Batches of a source at that limit are sealed once they are quiet, so the wait ends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use logferry_durable::Disk;
use logferry_ledger::{BatchId, BatchKey, LedgerError};
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Offset;

use super::{Committer, PlacedChunk};
use crate::chunk::Moment;
use crate::commit::offset_check::OffsetCheck;
use crate::commit::open_batches::{BatchLimit, OPEN_BATCHES_MAX};
use crate::commit::spool_recovery::CommitError;
use crate::commit::stream_state::StreamKey;

/// How long a source counts as waiting at a limit after its last chunk that had to.
const WAIT_SHOWN: Duration = Duration::from_mins(2);

impl<D: Disk, R> Committer<D, R> {
    /// Opens the batches that these chunks need, in the order of their offsets, and returns them.
    pub(super) fn open_missing_batches<B>(
        &mut self,
        chunks: &[PlacedChunk<B, R>],
        now: Moment,
    ) -> Result<Vec<BatchId>, CommitError> {
        // A source's chunks are taken up to its limit of open batches. A chunk beyond waits, or opens its batches later.
        let mut planned: HashMap<&SourceId, (usize, HashSet<&BatchKey>)> = HashMap::new();
        let mut new = Vec::new();
        // A stream's end after its chunks before. An unknown stream may be in the ledger, with this chunk. Then a batch is opened
        // in vain.
        let mut ends: HashMap<&StreamKey, Offset> = HashMap::new();
        for placed in chunks {
            let (stream, range) = (&placed.stream, placed.chunk().header.range);
            let committed = || self.streams.get(stream).map(|known| known.record.committed);
            // An upload has no offset. A repeat of one, and a chunk that comes early, open nothing.
            let is_next = if let Some(body) = &placed.chunk().upload {
                let arrived = placed.chunk().arrived.wall;
                self.uploads.check(body, &self.ledger, arrived)? == OffsetCheck::Next
            } else {
                let end = ends.get(stream).copied().or_else(committed);
                end.is_none_or(|end| end == range.start())
            };
            if !is_next || self.limit_at(placed)?.is_some() {
                continue;
            }
            ends.insert(stream, range.end());
            let source = &placed.stream.0;
            let (open, keys) = planned
                .entry(source)
                .or_insert_with(|| (self.open.open_of(source), HashSet::new()));
            if *open + keys.len() < OPEN_BATCHES_MAX {
                keys.extend(
                    placed
                        .windows()
                        .map(|(key, _)| key)
                        .filter(|key| !self.open.has_part(key)),
                );
                new.extend(placed.windows());
            }
        }
        self.open
            .open_missing(new.into_iter(), &self.spool, &mut self.ledger, now)
    }

    /// Discards those of the batches `opened` that got no line.
    pub(super) fn discard_unused(&mut self, opened: Vec<BatchId>) -> Result<(), CommitError> {
        for id in opened {
            if self.open.is_unused(id)
                && let Some(batch) = self.open.remove(id)
            {
                self.discard_empty(&batch)?;
            }
        }
        Ok(())
    }

    /// The limit at which a chunk waits, if any: it needs a batch that may not be opened now.
    pub(super) fn limit_at<B>(&self, placed: &PlacedChunk<B, R>) -> Result<Option<BatchLimit>, LedgerError> {
        let (chunk, stream) = (placed.chunk(), &placed.stream);
        let has_untimed = !chunk.split.runs.is_empty() && !chunk.split.starts_with_time();
        let previous = has_untimed.then(|| {
            let (state, now) = (self.streams.get(stream), chunk.arrived.wall);
            let followed = state.and_then(|state| self.followed_window(&state.record, now));
            let window = followed.unwrap_or_else(|| self.arrival_window(now));
            (self.open.key(&stream.0, &chunk.header.log, window), window)
        });
        let previous = previous.iter().map(|(key, window)| (key, *window));
        for (key, window) in previous.chain(placed.windows()) {
            if let Some(limit) = self.open.limit_at(key, window, stream, &self.ledger)? {
                return Ok(Some(limit));
            }
        }
        Ok(None)
    }

    /// Notes that lines of a source wait, and logs it once.
    pub(super) fn waits(&mut self, source: &SourceId, limit: BatchLimit, now: Moment) {
        let before = self.waiting.insert(source.clone(), (limit, now.steady));
        if before.is_none_or(|(before, _)| before != limit) {
            tracing::warn!(group = %self.group, %source, "lines wait: {}", limit.message());
        }
    }

    /// The sources whose lines wait at a limit, in words; `None` if there are none. Senders ask again within a minute.
    pub(crate) fn waiting_reason(&mut self, now: Moment) -> Option<String> {
        let group = &self.group;
        self.waiting.retain(|source, (_, since)| {
            let is_waiting = now.since(*since) < WAIT_SHOWN;
            if !is_waiting {
                tracing::info!(%group, %source, "no lines of this source wait at a limit any more");
            }
            is_waiting
        });
        let (source, (limit, _)) = self.waiting.first_key_value()?;
        Some(match self.waiting.len() {
            1 => format!("lines of {source} wait: {}", limit.message()),
            sources => format!(
                "lines of {sources} sources wait; of {source}: {}",
                limit.message()
            ),
        })
    }
}
