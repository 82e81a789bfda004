//! Sealing of batches, between the rounds of the committer.
//!
//! The order is: 1. the file is synced (by every commit), 2. the ledger says `ready`, 3. the file is renamed from `open/`
//! to `ready/`. A crash after step 2 leaves the file in `open/`; the next start moves it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use logferry_durable::Disk;
use logferry_ledger::{Batch, BatchId, BatchState, Commit};
use logferry_protocol::names::{LogName, SourceId};
use logferry_protocol::stream::{Offset, StreamId};
use logferry_text::{count_of, size};

use crate::chunk::Moment;
use crate::commit::committer::Committer;
use crate::commit::open_batches::AppendedLines;
use crate::commit::seal_rule::{StreamActivity, is_due};
use crate::commit::spool_recovery::CommitError;
use crate::commit::stream_state::StreamState;

/// Reports that are older are ignored. Senders report every 10 s.
const REPORT_LIFETIME: Duration = Duration::from_secs(30);

/// How long an idle stream is kept in memory. After that it is read from the ledger again.
const IDLE_STREAM_KEPT: Duration = Duration::from_hours(1);

/// Most batches sealed at a time: each takes a few syncs, and chunks wait meanwhile.
const SEALS_MAX: usize = 64;

/// The activity of the streams of each source and log; without a log, of all streams of the source.
type LogActivity<'a> = HashMap<(&'a SourceId, Option<&'a LogName>), Vec<StreamActivity>>;

impl<D: Disk, R> Committer<D, R> {
    /// The batches to seal now, oldest windows first, at most [`SEALS_MAX`].
    pub(crate) fn due_for_seal(&mut self, now: Moment) -> Vec<BatchId> {
        for reports in [&mut self.reports, &mut self.partial_reports] {
            reports.retain(|_, report| now.since(report.received_at) < REPORT_LIFETIME);
        }
        let durable = self.durable_round();
        self.streams.retain(|_, stream| {
            !stream.is_durable(durable) || now.since(stream.last_chunk) < IDLE_STREAM_KEPT
        });
        let streams = self.stream_activity(now);
        let mut due: Vec<(i64, BatchId)> = self
            .open
            .activity(now)
            .filter(|(batch, activity)| {
                let of_batch = streams.get(&(&batch.source, batch.log.as_ref()));
                let of_batch = of_batch.map_or(&[][..], Vec::as_slice);
                is_due(*activity, of_batch, &self.rules, now.wall.as_second())
            })
            .map(|(batch, _)| (batch.window.start, batch.id))
            .collect();
        due.sort_unstable();
        due.truncate(SEALS_MAX);
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Seals batches, and returns them: those of `due` that are open. Only at rest. The next call seals those that an error
    /// left.
    pub(crate) fn seal(&mut self, due: Vec<BatchId>, now: Moment) -> Result<Vec<Batch>, CommitError> {
        if self.needs_recovery {
            self.recover(now)?;
        }
        let sealed = self.seal_all(due, now);
        self.needs_recovery |= sealed.is_err();
        sealed
    }

    /// Seals batches in one transaction.
    fn seal_all(&mut self, due: Vec<BatchId>, now: Moment) -> Result<Vec<Batch>, CommitError> {
        let mut batches = Vec::new();
        for id in due {
            if self.open.ends_inside_line(id) {
                self.end_line(id, now)?;
            }
            batches.extend(self.open.remove(id));
        }
        let (sealed, empty): (Vec<_>, Vec<_>) =
            batches.into_iter().partition(|batch| batch.contents.bytes > 0);
        for batch in empty {
            self.discard_empty(&batch)?;
        }
        self.ledger
            .seal_batches(sealed.iter().map(|batch| batch.id), now.wall)?;
        let moves: Vec<_> = sealed
            .iter()
            .map(|batch| (batch, BatchState::Open, BatchState::Ready))
            .collect();
        self.spool.move_batches(&moves)?;
        for batch in &sealed {
            tracing::info!(
                group = %self.group,
                source = %batch.source,
                batch = %batch.name(),
                lines = batch.contents.lines,
                bytes = batch.contents.bytes,
                "batch {} is sealed: {}, {}",
                batch.name(), count_of(batch.contents.lines, "line"), size(batch.contents.bytes)
            );
        }
        Ok(sealed)
    }

    /// Ends an incomplete line whose rest did not come to its batch.
    fn end_line(&mut self, id: BatchId, now: Moment) -> Result<(), CommitError> {
        tracing::warn!(
            group = %self.group, batch = %id,
            "the rest of a line did not come within `hold`; the relay adds a newline, the rest becomes a line of its own"
        );
        let newline = AppendedLines {
            bytes: b"\n",
            lines: 1,
            crc32c: None,
            arrived: now,
        };
        self.open.append(id, newline, &self.spool)?;
        // By the ledger: the stream may have gone on in another group, which has counted the line then.
        let holder = self.ledger.stream_with_open_line(id)?;
        let holder = holder.map(|record| {
            let key = (record.source.clone(), record.stream);
            let mut stream = StreamState::from_ledger(record, now);
            if let Some(known) = self.streams.get(&key) {
                stream.last_chunk = known.last_chunk;
            }
            stream.record.open_line_in = None;
            // The rest, if it comes, is counted as a line too.
            stream.record.lines.sent += 1;
            (key, stream)
        });
        let streams = holder.iter().map(|(_, stream)| stream.to_move()).collect();
        self.streams.extend(holder);
        let (batches, mut files) = self.open.end_round();
        self.spool
            .disk()
            .sync_all(&mut files.iter_mut().collect::<Vec<_>>())?;
        Ok(self.ledger.commit(&Commit { streams, batches })?)
    }

    /// The activity of the streams that can bring lines to this group, for each source with an open batch and each of its logs.
    /// One pass over all of them, whatever the number of open batches: the commit thread waits for it.
    fn stream_activity(&self, now: Moment) -> LogActivity<'_> {
        let sources: HashSet<&SourceId> = self.open.activity(now).map(|(batch, _)| &batch.source).collect();
        let reported = || {
            let of_open = self
                .reports
                .iter()
                .filter(|((source, _), _)| sources.contains(source));
            of_open.flat_map(|((source, _), report)| {
                report
                    .heartbeat
                    .streams
                    .iter()
                    .map(move |stream| (source, stream))
            })
        };
        let mut sizes: HashMap<(&SourceId, StreamId), Offset> = HashMap::new();
        for (source, report) in reported() {
            let size = sizes.entry((source, report.stream)).or_default();
            *size = report.size.max(*size);
        }
        let mut found = LogActivity::new();
        let mut add = |source, log, activity| {
            found.entry((source, None)).or_default().push(activity);
            found.entry((source, Some(log))).or_default().push(activity);
        };
        for ((source, id), stream) in &self.streams {
            if stream.record.finished || !sources.contains(source) {
                continue;
            }
            let activity = StreamActivity {
                latest_line: stream.record.last_line_time,
                idle: now.since(stream.last_chunk),
                has_unread: sizes
                    .get(&(source, *id))
                    .is_some_and(|size| *size > stream.record.committed),
            };
            add(source, &stream.record.log, activity);
        }
        for (source, report) in reported().filter(|(_, report)| report.lag_bytes() > 0) {
            // Streams that are reported and have not brought a chunk yet.
            if !self.streams.contains_key(&(source.clone(), report.stream)) {
                let announced = StreamActivity {
                    latest_line: None,
                    idle: Duration::ZERO,
                    has_unread: true,
                };
                add(source, &report.log, announced);
            }
        }
        found
    }
}
