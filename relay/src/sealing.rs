//! Sealing: the committer's second task, done between rounds.
//!
//! The order is: 1. the file is synced (every commit does that), 2. the ledger says `ready`, 3. the file is renamed
//! from `open/` to `ready/`. A crash after 2 leaves the file in `open/`; the next start moves it.

use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{Batch, BatchGrowth, BatchId, BatchState, Commit};
use logferry_protocol::names::{LogName, SourceId};

use crate::committer::Committer;
use crate::open_batches::{Addition, StreamKey};
use crate::seal::{StreamFacts, is_due};
use crate::spool::SpoolError;

/// A report older than this says nothing about now; senders report every 10 s.
const REPORT_LIFETIME: Duration = Duration::from_secs(30);

/// A stream that brings nothing is kept in memory for so long; after that it is read from the ledger again.
const IDLE_STREAM_KEPT: Duration = Duration::from_hours(1);

/// Most batches sealed at a time: each takes a few syncs, and chunks wait meanwhile.
const SEALS_MAX: usize = 64;

impl<D: Disk, B: AsRef<[u8]>, T> Committer<D, B, T> {
    /// Seals the batches whose time has come, oldest windows first, and returns them. What an error or a great number
    /// leaves is for the next call.
    pub(crate) fn seal_due(&mut self, now: Timestamp) -> Result<Vec<Batch>, SpoolError> {
        if self.needs_recovery {
            self.recover()?;
        }
        self.streams
            .retain(|_, stream| stream.is_dirty || stream.last_chunk.elapsed() < IDLE_STREAM_KEPT);
        let mut due: Vec<(i64, BatchId)> = self
            .open
            .facts()
            .filter(|(batch, facts)| {
                let streams = self.stream_facts(&batch.source, batch.log.as_ref());
                is_due(*facts, &streams, &self.rules, now.as_second())
            })
            .map(|(batch, _)| (batch.window.start, batch.id))
            .collect();
        due.sort_unstable();
        due.truncate(SEALS_MAX);
        let sealed = self.seal(due.into_iter().map(|(_, id)| id), now);
        self.needs_recovery |= sealed.is_err();
        sealed
    }

    /// Seals batches, in one transaction.
    fn seal(&mut self, due: impl Iterator<Item = BatchId>, now: Timestamp) -> Result<Vec<Batch>, SpoolError> {
        let mut batches = Vec::new();
        for id in due {
            if let Some(holder) = self.open.holder(id) {
                self.end_line(id, &holder)?;
            }
            batches.extend(self.open.remove(id));
        }
        let (sealed, empty): (Vec<_>, Vec<_>) =
            batches.into_iter().partition(|batch| batch.contents.bytes > 0);
        for batch in empty {
            // A crash in between leaves an empty file that the ledger does not know; it is reported and harmless.
            self.ledger.discard_empty_batch(batch.id)?;
            self.spool
                .disk()
                .remove(&self.spool.path(&batch, BatchState::Open))?;
        }
        self.ledger
            .seal_batches(sealed.iter().map(|batch| batch.id), now)?;
        self.spool.move_to_ready(&sealed)?;
        for batch in &sealed {
            tracing::info!(
                group = %self.group,
                source = %batch.source,
                batch = %batch.name(),
                lines = batch.contents.lines,
                bytes = batch.contents.bytes,
                "sealed"
            );
        }
        Ok(sealed)
    }

    /// Ends a line whose end did not come, as a line of its own.
    fn end_line(&mut self, id: BatchId, holder: &StreamKey) -> Result<(), SpoolError> {
        tracing::warn!(source = %holder.0, stream = %holder.1, "the end of a line did not come; it is ended here");
        self.open.append(
            id,
            Addition {
                bytes: b"\n",
                lines: 1,
                crc32c: None,
            },
            &self.spool,
        )?;
        let mut streams = Vec::new();
        if let Some(stream) = self.streams.get_mut(holder) {
            stream.record.open_line_in = None;
            // Its end, if it comes, is counted as a line too.
            stream.record.lines.sent += 1;
            streams.push(stream.to_move());
        }
        let batches: Vec<BatchGrowth> = self.open.sync(self.spool.disk())?;
        let commit = Commit { streams, batches };
        self.ledger.commit(&commit)?;
        self.open.committed(&commit.batches);
        Ok(())
    }

    /// What the seal rule must know of the streams that can bring lines of a source (and log) here.
    fn stream_facts(&self, source: &SourceId, log: Option<&LogName>) -> Vec<StreamFacts> {
        let is_of = |name: &LogName| log.is_none_or(|log| log == name);
        let report = self
            .reports
            .get(source)
            .filter(|report| report.at.elapsed() < REPORT_LIFETIME);
        let reported: Vec<_> = report
            .map_or(&[][..], |report| &report.heartbeat.streams)
            .iter()
            .collect();
        let known = self.streams.iter().filter(|((owner, _), stream)| {
            owner == source && !stream.record.finished && is_of(&stream.record.log)
        });
        let mut facts: Vec<_> = known
            .map(|((_, id), stream)| StreamFacts {
                latest_line: stream.record.last_line_time,
                idle: stream.last_chunk.elapsed(),
                has_unread: reported
                    .iter()
                    .any(|r| r.stream == *id && r.size > stream.record.committed),
            })
            .collect();
        // Streams that are announced but have not brought anything yet.
        let is_new = |id| !self.streams.contains_key(&(source.clone(), id));
        let announced = reported
            .iter()
            .filter(|r| r.lag_bytes() > 0 && is_of(&r.log) && is_new(r.stream));
        facts.extend(announced.map(|_| StreamFacts {
            latest_line: None,
            idle: Duration::ZERO,
            has_unread: true,
        }));
        facts
    }
}
