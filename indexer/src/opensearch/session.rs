//! What a round of the sink needs, from one opening to the next error: the ledger, the spool, the places.

use std::collections::BTreeMap;
use std::error::Error;

use jiff::Timestamp;
use logferry_config::{IndexTemplate, IndexerSettings, NameValues, OpenSearchSettings};
use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::{Batch, BatchId, BatchState, SourceLogs};
use logferry_numbers::{IndexDb, IndexedBatch, SinkBatch, SinkChange, SinkTotals};
use logferry_opensearch::{BulkCounts, DocumentOrigin, DocumentWriter};
use logferry_protocol::names::LogName;
use logferry_spool::Spool;
use logferry_spool::follow::BatchLines;
use logferry_telemetry::SinkMetrics;
use logferry_text::error_chain;

use super::document_set::{DocumentSet, SealedSet};
use crate::catalog::{Catalog, MissCause, TrackedBatch};
use crate::error::IndexerError;
use crate::ledger_file::LedgerFile;
use crate::log_formats::LogFormats;
use crate::round::time_before;

/// Batches that still grow divide a set into at most so many parts, so that one large source does not delay the others.
const LIVE_PARTS: usize = 8;

/// A batch that is being read.
struct BatchReading {
    id: BatchId,
    lines: BatchLines<<RealDisk as Disk>::Reader>,
    /// The block that was read last.
    block: Vec<u8>,
    /// Bytes of the block that are in a set.
    used: usize,
}

/// Everything that a round needs.
pub(super) struct SinkSession {
    ledger: LedgerFile,
    spool: Spool<RealDisk>,
    db: IndexDb,
    catalog: Catalog,
    /// The record of each batch in the catalog, by name.
    sent: BTreeMap<String, SinkBatch>,
    /// What is not recorded yet.
    change: SinkChange,
    /// Batches were bound to their indexes, and that is not recorded yet.
    has_unrecorded: bool,
    index: IndexTemplate,
    batch_bytes: usize,
    formats: LogFormats,
    logs: SourceLogs,
    /// The old batch that is being read: a compressed file cannot be read on from the middle.
    reading: Option<BatchReading>,
    /// Which of the batches that still grow comes first in the next set.
    turn: usize,
    metrics: SinkMetrics,
}

impl SinkSession {
    /// Goes on at the recorded places.
    pub(super) fn open(
        config: &IndexerSettings,
        settings: &OpenSearchSettings,
        metrics: SinkMetrics,
        now: Timestamp,
    ) -> Result<Self, IndexerError> {
        let mut db = IndexDb::open_or_create(&config.store_dir)?;
        if db.is_resend_requested()? {
            db.forget_all_sent()?;
            tracing::info!(
                "everything that the spool has goes to OpenSearch at {} again, as `logferry resend --index` asked",
                settings.url
            );
        }
        let (state, formats) = (db.sink_state()?, db.formats()?);
        let ledger = LedgerFile::open(&config.data_dir)?;
        Ok(Self {
            catalog: ledger.first_catalog(&state.index, &db.sink_places()?, now)?,
            ledger,
            spool: Spool::new(RealDisk, &config.data_dir),
            db,
            sent: BTreeMap::new(),
            change: SinkChange::default(),
            has_unrecorded: false,
            index: settings.index.clone(),
            batch_bytes: settings.batch_bytes,
            formats: LogFormats::new(config.formats.clone(), formats),
            logs: SourceLogs::default(),
            reading: None,
            turn: 0,
            metrics,
        })
    }

    /// Whether somebody asked for everything to be sent again. A session that is opened then does so.
    pub(super) fn is_over(&self) -> Result<bool, IndexerError> {
        Ok(self.db.is_resend_requested()?)
    }

    /// Looks into the ledger. Each batch that is new is bound to its index, durably.
    pub(super) fn look(&mut self, now: Timestamp) -> Result<(), IndexerError> {
        self.ledger.look(&mut self.catalog, now)?;
        self.bind()?;
        if self.has_unrecorded {
            self.record(now)
        } else {
            Ok(())
        }
    }

    /// Binds the batches that have no index yet. A record makes it durable.
    fn bind(&mut self) -> Result<(), IndexerError> {
        for tracked in self.catalog.tracked() {
            let name = tracked.batch.name();
            if self.sent.contains_key(&name) {
                continue;
            }
            let known = self.db.sent_batch(&name)?;
            self.has_unrecorded |= known.is_none();
            let sent = known.unwrap_or_else(|| SinkBatch {
                index: self.index.name(&values(&tracked.batch, &name)),
                ..SinkBatch::default()
            });
            self.sent.insert(name, sent);
        }
        Ok(())
    }

    /// The next documents.
    pub(super) fn gather(&mut self, now: Timestamp) -> Result<SealedSet, IndexerError> {
        let mut set = DocumentSet::default();
        let ingested_at = now.to_string();
        let (order, parts) = self.order();
        for id in order {
            if set.len() >= self.batch_bytes {
                break;
            }
            self.gather_batch(id, &mut set, (&ingested_at, parts))?;
        }
        Ok(set.seal())
    }

    /// The index that a batch is bound to.
    pub(super) fn index_of(&mut self, id: BatchId) -> Option<&str> {
        sent_of(&self.catalog, &mut self.sent, id).map(|sent| sent.index.as_str())
    }

    /// Records that all documents of the set are done.
    pub(super) fn settle(
        &mut self,
        set: &SealedSet,
        counts: BulkCounts,
        now: Timestamp,
    ) -> Result<(), IndexerError> {
        for (id, (taken, refused)) in set.taken(&counts.refused) {
            if let Some(sent) = sent_of(&self.catalog, &mut self.sent, id) {
                sent.documents += taken;
                sent.refused += refused;
            }
        }
        let refused = set.refused(counts.refused);
        if let Some((_, first)) = refused.first() {
            tracing::warn!(
                "OpenSearch refuses {} of the lines, the first is {}@{} with status {}: {}; they are set aside in index.db, and \
                 the other lines go on",
                refused.len(),
                first.batch,
                first.from,
                first.status,
                first.reason
            );
        }
        self.change.added.documents += counts.stored + counts.repeated;
        self.change.added.repeated += counts.repeated;
        self.change.added.refused += u64::try_from(refused.len()).unwrap_or(0);
        let refused = refused.into_iter().map(|(_, document)| document);
        self.change.refused.extend(refused);
        self.record(now)
    }

    /// Records the places. A crash before its end: the lines since the last record are sent again, and found.
    pub(super) fn record(&mut self, now: Timestamp) -> Result<(), IndexerError> {
        let places = self.catalog.take_records();
        let lag = self.catalog.lag(now.as_second());
        self.metrics.set_lag(lag.bytes, lag.lines, lag.seconds);
        if places.is_empty() && !self.catalog.is_lag_due(lag, now.as_second()) {
            return Ok(());
        }
        let mut change = std::mem::take(&mut self.change);
        change.batches = places
            .into_iter()
            .filter_map(|(name, progress)| Some((name.clone(), self.placed(&name, progress)?)))
            .collect();
        change.ledger.clone_from(&self.ledger.id);
        change.newest_batch = self.catalog.newest().map(BatchId::number);
        change.lag = lag;
        self.db.record_sent(&change, now.as_second())?;
        self.has_unrecorded = false;
        let SinkTotals {
            documents,
            repeated,
            refused,
            ..
        } = change.added;
        self.metrics.sent(documents, repeated, refused);
        self.catalog.recorded(now.as_second());
        self.sent.retain(|_, sent| !sent.progress.is_read);
        Ok(())
    }

    /// Records why the sink waits (nothing: it does not), and how far it is behind meanwhile.
    pub(super) fn note_trouble(&mut self, reason: &str, now: Timestamp) -> Result<(), IndexerError> {
        self.ledger.look(&mut self.catalog, now)?;
        // They are recorded with the set that waits, or by the next look.
        self.bind()?;
        let lag = self.catalog.lag(now.as_second());
        self.metrics.set_lag(lag.bytes, lag.lines, lag.seconds);
        Ok(self.db.record_sink_trouble(reason, lag)?)
    }

    /// Forgets the places of batches that are gone from the spool and were sent before `cutoff`.
    pub(super) fn remove_expired(&mut self, cutoff: i64) -> Result<(), IndexerError> {
        self.logs = SourceLogs::default();
        let mut gone = Vec::new();
        for (name, sent) in self.db.old_sent_batches(cutoff)? {
            let is_gone = match self.ledger.ledger.batch_named(&name)? {
                None => true,
                Some(batch) => sent.progress.is_read && batch.expired_at.is_some(),
            };
            if is_gone {
                self.sent.remove(&name);
                gone.push(name);
            }
        }
        Ok(self.db.forget_sent(&gone)?)
    }

    fn placed(&mut self, name: &str, progress: IndexedBatch) -> Option<SinkBatch> {
        let sent = self.sent.get_mut(name)?;
        sent.progress = progress;
        Some(sent.clone())
    }

    /// The batches to read: those that still grow, each time another one first, then the others, the oldest window first. And
    /// into how many parts those that still grow divide a set.
    fn order(&mut self) -> (Vec<BatchId>, usize) {
        let mut order = self.catalog.to_read();
        let is_live = |id: &&BatchId| {
            let tracked = self.catalog.get(**id);
            tracked.is_some_and(|tracked| tracked.batch.state == BatchState::Open)
        };
        let live = order.iter().take_while(is_live).count();
        if let Some(live @ [_, ..]) = order.get_mut(..live) {
            let turn = self.turn % live.len();
            live.rotate_left(turn);
        }
        self.turn = self.turn.wrapping_add(LIVE_PARTS);
        (order, live.clamp(1, LIVE_PARTS))
    }

    fn gather_batch(
        &mut self,
        id: BatchId,
        set: &mut DocumentSet,
        (ingested_at, parts): (&str, usize),
    ) -> Result<(), IndexerError> {
        let Some(tracked) = self.catalog.get_mut(id) else {
            return Ok(());
        };
        let log = self.logs.of_batch(&self.ledger.ledger, &tracked.batch)?;
        let key = (tracked.batch.source.clone(), log);
        let Some(mut reading) = self.open_batch(id)? else {
            return Ok(());
        };
        let Some(tracked) = self.catalog.get_mut(id) else {
            return Ok(());
        };
        let name = tracked.batch.name();
        let Some(record) = self.sent.get(&name) else {
            return Ok(());
        };
        let is_open = tracked.batch.state == BatchState::Open;
        let part = self.batch_bytes / if is_open { parts } else { 1 };
        let most = self.batch_bytes.min(set.len() + part);
        let mut failed = None;
        loop {
            let lines = match reading.lines(&tracked.batch) {
                Ok([]) => break,
                Ok(lines) => lines,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            let format = self.formats.of(&key, lines);
            let origin = DocumentOrigin {
                batch: &name,
                index: &record.index,
                source: tracked.batch.source.as_str(),
                group: tracked.batch.group.as_str(),
                log: key.1.as_ref().map(LogName::as_str),
                format: &format,
                ingested_at,
            };
            let at = tracked.progress.bytes;
            let before = tracked
                .line_time
                .or_else(|| time_before(&self.spool, &tracked.batch, at, &format));
            let time = before.unwrap_or(tracked.batch.window.start);
            let mut writer = DocumentWriter::new(origin, time);
            let taken = set.add_lines(id, &mut writer, (lines, at), most)?;
            self.formats.note(&key, taken.lines, writer.unparsed());
            reading.used += taken.bytes;
            let bytes = u64::try_from(taken.bytes).unwrap_or(0);
            tracked.advance(bytes, taken.lines, writer.time());
            if taken.is_full {
                break;
            }
        }
        if failed.is_some() || reading.lines.is_short() {
            self.miss(id, failed)?;
        } else if !is_open && tracked.unread() > 0 {
            self.reading = Some(reading);
        }
        Ok(())
    }

    /// The lines of a batch that are in no set: where the last set has stopped, or the file anew.
    fn open_batch(&mut self, id: BatchId) -> Result<Option<BatchReading>, IndexerError> {
        let Some(tracked) = self.catalog.get(id) else {
            return Ok(None);
        };
        let at = tracked.progress.bytes;
        let reading = self
            .reading
            .take_if(|reading| reading.id == id && reading.position() == at);
        if reading.is_some() {
            return Ok(reading);
        }
        match BatchReading::open(&self.spool, &tracked.batch, at) {
            Ok(Some(reading)) => Ok(Some(reading)),
            missed => {
                self.miss(id, missed.err())?;
                Ok(None)
            }
        }
    }

    /// A batch's file was not found, is too short, or cannot be read (`failed`): its rest may be lost.
    fn miss(&mut self, id: BatchId, failed: Option<DiskError>) -> Result<(), IndexerError> {
        let Some(tracked) = self.catalog.get_mut(id) else {
            return Ok(());
        };
        self.ledger.refresh(tracked);
        let cause = match failed {
            None => MissCause::Absent,
            Some(error) => match MissCause::of(&error) {
                Some(cause) => tell_unreadable(tracked, &error, cause),
                None => return Err(error.into()),
            },
        };
        let Some(reason) = tracked.missed(cause) else {
            return Ok(());
        };
        let name = tracked.batch.name();
        let (from, bytes) = tracked.skip_rest();
        tracing::warn!(
            "batch {name} of source {}: {bytes} bytes from byte {from} on are not in OpenSearch, because {reason}; if the batch \
             was delivered, the destinations have them",
            tracked.batch.source
        );
        if let Some(sent) = self.sent.get_mut(&name) {
            sent.gap_bytes += bytes;
        }
        self.change.added.gaps += 1;
        self.change.added.gap_bytes += bytes;
        self.metrics.lost(bytes);
        Ok(())
    }
}

/// Says once that a batch's file cannot be read.
fn tell_unreadable(tracked: &mut TrackedBatch, error: &DiskError, cause: MissCause) -> MissCause {
    if !std::mem::replace(&mut tracked.is_trouble_told, true) {
        tracing::error!(
            error = error as &dyn Error,
            "batch {} cannot be sent to OpenSearch now: {}; it is tried again, and other batches are sent meanwhile",
            tracked.batch.name(),
            error_chain(error)
        );
    }
    cause
}

impl BatchReading {
    fn open(spool: &Spool<RealDisk>, batch: &Batch, at: u64) -> Result<Option<Self>, DiskError> {
        let opened = BatchLines::open(spool, batch, at, false)?;
        Ok(opened.map(|lines| Self {
            id: batch.id,
            lines,
            block: Vec::new(),
            used: 0,
        }))
    }

    /// The lines that are in no set yet; none if there are none yet.
    fn lines(&mut self, batch: &Batch) -> Result<&[u8], DiskError> {
        if self.used >= self.block.len() {
            self.block.clear();
            self.used = 0;
            if let Some(lines) = self.lines.next(batch)? {
                self.block.extend_from_slice(lines);
            }
        }
        Ok(self.block.get(self.used..).unwrap_or_default())
    }

    /// The first byte of the batch that is in no set.
    fn position(&self) -> u64 {
        let unused = u64::try_from(self.block.len() - self.used).unwrap_or(0);
        self.lines.position().saturating_sub(unused)
    }
}

fn sent_of<'s>(
    catalog: &Catalog,
    sent: &'s mut BTreeMap<String, SinkBatch>,
    id: BatchId,
) -> Option<&'s mut SinkBatch> {
    sent.get_mut(&catalog.get(id)?.batch.name())
}

fn values<'a>(batch: &'a Batch, name: &'a str) -> NameValues<'a> {
    NameValues::new(
        batch.window,
        &batch.source,
        &batch.group,
        batch.log.as_ref(),
        name,
    )
}
