//! A round: reads what is new, and makes it durable in store and numbers. The crate's first page has the order of the steps and
//! what a crash leaves after each.

use std::error::Error;
use std::ops::ControlFlow;

use jiff::Timestamp;
use logferry_config::IndexerSettings;
use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_fields::Format;
use logferry_ledger::{Batch, BatchId, BatchState, SourceLogs};
use logferry_numbers::{
    CountClock, IndexChange, IndexDb, IndexGap, IndexLag, IndexState, LedgerLookup, NumbersKept,
};
use logferry_protocol::names::LogName;
use logferry_spool::Spool;
use logferry_spool::follow::BatchLines;
use logferry_store::LineOrigin;
use logferry_telemetry::IndexerMetrics;
use logferry_text::error_chain;
use memchr::memchr;

use crate::catalog::{Catalog, MissCause, TrackedBatch};
use crate::counting::{CountTimes, LineBlock, NamedCounter, count_block, last_time};
use crate::error::IndexerError;
use crate::ledger_file::LedgerFile;
use crate::line_store::LineStore;
use crate::log_formats::LogFormats;

/// Bytes read in one round: the time until what was read is durable, and between two looks at the live batches.
pub const ROUND_BYTES: u64 = 64 << 20;

/// Bytes read of one live batch in a round, so that one large source does not delay the others.
const LIVE_BATCH_BYTES: u64 = 8 << 20;

/// A round ends early with so many rows of numbers: lines of many minutes, or with times of no sense. A block may add one for
/// each of its lines.
const ROUND_ROWS: usize = 16_384;

/// Places of batches that are looked up in the ledger in one pass, so that a pass takes milliseconds. The next one goes on.
const PLACES_LOOKED_UP: usize = 4096;

/// So many bytes before the first one of a session are looked through for a time.
const LOOKED_BACK: u64 = 64 << 10;

/// A batch's file, open for reading.
type OpenLines = BatchLines<<RealDisk as Disk>::Reader>;

/// The result of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoundResult {
    /// How far the indexer is behind now.
    pub(crate) lag: IndexLag,
    /// Whether it stopped at its bound: the next one shall follow at once.
    pub(crate) has_more: bool,
    /// The first file that cannot be read, and why. Its batch waits, the others do not.
    pub(crate) trouble: Option<String>,
}

/// Everything that a round needs, from one opening to the next error.
pub(crate) struct IndexSession<S> {
    ledger: LedgerFile,
    spool: Spool<RealDisk>,
    db: IndexDb,
    store: S,
    kept: NumbersKept,
    catalog: Catalog,
    formats: LogFormats,
    counters: Vec<NamedCounter>,
    /// What tells the log of a batch whose name does not.
    logs: SourceLogs,
    /// The old batch that is being read: a compressed file cannot be read on from the middle. It stays open while other
    /// batches are read, which come first in each round.
    reading: Option<(BatchId, OpenLines)>,
    /// While the clock is doubted: the time that it showed when it was believed last, in seconds since 1970.
    pub(crate) believed_before: Option<i64>,
    /// The last batch whose place was looked up. Empty: the next pass begins with the first.
    looked_up_to: String,
    metrics: IndexerMetrics,
}

/// What a round has read, and is not recorded yet.
struct RoundWork {
    change: IndexChange,
    now: Timestamp,
    times: CountTimes,
    /// Bytes that it may still read.
    left: u64,
    /// Whether it stopped at a bound.
    has_more: bool,
    /// The first file that could not be read, and why.
    trouble: Option<String>,
    unparsed: u64,
    lines: u64,
    /// Bytes that it has read. A block may be more than was left.
    bytes: u64,
}

impl RoundWork {
    /// Whether it may read no more.
    fn is_full(&self) -> bool {
        self.left == 0 || self.change.tally.rows_held() > ROUND_ROWS
    }
}

impl<S: LineStore> IndexSession<S> {
    /// Goes on where `state`, which is that of `db`, ends. The store is at that state's position.
    pub(crate) fn start(
        config: &IndexerSettings,
        mut db: IndexDb,
        state: &IndexState,
        store: S,
        metrics: IndexerMetrics,
        now: Timestamp,
    ) -> Result<Self, IndexerError> {
        let ledger = LedgerFile::open(&config.data_dir)?;
        let names: Vec<_> = config
            .counters
            .iter()
            .map(|counter| counter.name.clone())
            .collect();
        let ids = db.counter_ids(&names)?.into_iter();
        let counters = ids
            .zip(&config.counters)
            .map(|(id, settings)| NamedCounter::new(id, settings));
        Ok(Self {
            catalog: ledger.first_catalog(state, &db.places()?, now)?,
            ledger,
            spool: Spool::new(RealDisk, &config.data_dir),
            store,
            kept: NumbersKept {
                minutes: config.keep.minutes,
                hours: config.keep.hours,
                gaps: config.keep.hours.max(config.keep.age),
            },
            formats: LogFormats::new(config.formats.clone(), db.formats()?),
            db,
            counters: counters.collect(),
            logs: SourceLogs::default(),
            reading: None,
            believed_before: None,
            looked_up_to: String::new(),
            metrics,
        })
    }

    /// The store.
    pub(crate) fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Reads what is new, within the bound, and makes it durable. `is_over`: asked between blocks whether to end early.
    pub(crate) fn round(
        &mut self,
        now: Timestamp,
        is_over: &impl Fn() -> bool,
    ) -> Result<RoundResult, IndexerError> {
        self.ledger.look(&mut self.catalog, now)?;
        let clock = CountClock {
            now: now.as_second(),
            believed_before: self.believed_before,
        };
        let mut work = RoundWork {
            change: IndexChange::default(),
            now,
            times: CountTimes::new(clock, self.kept),
            left: ROUND_BYTES,
            has_more: false,
            trouble: None,
            unparsed: 0,
            lines: 0,
            bytes: 0,
        };
        for id in self.catalog.to_read() {
            if self.read_batch(id, &mut work, is_over)?.is_break() {
                break;
            }
        }
        let batches = self.catalog.take_records();
        let lag = self.catalog.lag(now.as_second());
        // A host may be quiet for ever: then its last lines get too old without new ones.
        let is_due = self.store.is_due(now.as_millisecond()) || self.catalog.is_lag_due(lag, now.as_second());
        if is_due || !batches.is_empty() {
            work.change.batches = batches;
            self.record(&mut work, lag)?;
        }
        self.metrics.set_lag(lag.bytes, lag.lines, lag.seconds);
        Ok(RoundResult {
            lag,
            has_more: work.has_more,
            trouble: work.trouble,
        })
    }

    /// To be called from time to time. On a clock that is not believed nothing is removed.
    pub(crate) fn tidy(&mut self, now: Timestamp, is_clock_believed: bool) -> Result<(), IndexerError> {
        // A source may have got another log.
        self.logs = SourceLogs::default();
        if is_clock_believed {
            self.remove_expired(now)?;
        }
        Ok(())
    }

    /// Removes numbers that are too old, and the places of batches that are gone from the spool.
    fn remove_expired(&mut self, now: Timestamp) -> Result<(), IndexerError> {
        let places = self.db.places_after(&self.looked_up_to, PLACES_LOOKED_UP)?;
        let is_last = places.len() < PLACES_LOOKED_UP;
        let mut looked_up = Vec::with_capacity(places.len());
        for (name, place) in places {
            let fate = match self.ledger.ledger.batch_named(&name)? {
                // It stayed empty and was discarded.
                None if place.bytes == 0 => LedgerLookup::Gone,
                None => LedgerLookup::Unknown,
                Some(batch) if place.is_read && batch.expired_at.is_some() => LedgerLookup::Gone,
                Some(_) => LedgerLookup::Kept,
            };
            looked_up.push((name, fate));
        }
        let last = looked_up.last().filter(|_| !is_last);
        self.looked_up_to = last.map(|(name, _)| name.clone()).unwrap_or_default();
        Ok(self.db.remove_expired(&looked_up, self.kept, now.as_second())?)
    }

    /// Reads a batch up to its end or the bound.
    fn read_batch(
        &mut self,
        id: BatchId,
        work: &mut RoundWork,
        is_over: &impl Fn() -> bool,
    ) -> Result<ControlFlow<()>, IndexerError> {
        let Some(tracked) = self.catalog.get_mut(id) else {
            return Ok(ControlFlow::Continue(()));
        };
        let log = self.logs.of_batch(&self.ledger.ledger, &tracked.batch)?;
        let key = (tracked.batch.source.clone(), log);
        let Some(mut lines) = self.open_batch(id, work)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(tracked) = self.catalog.get_mut(id) else {
            return Ok(ControlFlow::Continue(()));
        };
        let is_open = tracked.batch.state == BatchState::Open;
        let least_left = if is_open {
            work.left.saturating_sub(LIVE_BATCH_BYTES)
        } else {
            0
        };
        let mut failed = None;
        while work.left > least_left && !work.is_full() && !is_over() {
            let offset = lines.position();
            let bytes = match lines.next(&tracked.batch) {
                Ok(Some(bytes)) => bytes,
                ended => {
                    failed = ended.err();
                    break;
                }
            };
            let read = u64::try_from(bytes.len()).unwrap_or(0);
            let format = self.formats.of(&key, bytes);
            let name = tracked.batch.name();
            let before = tracked
                .line_time
                .or_else(|| time_before(&self.spool, &tracked.batch, offset, &format))
                .map(|time| work.times.counted(time));
            let block = LineBlock {
                origin: origin(&tracked.batch, &name, key.1.as_ref(), &format),
                format: &format,
                offset,
                bytes,
                time: before.unwrap_or(tracked.batch.window.start),
            };
            let (tally, store) = (&mut work.change.tally, &mut self.store);
            let counts = count_block(&block, &self.counters, tally, work.times, |record| {
                store.append(record)
            })?;
            self.formats.note(&key, counts.lines, counts.unparsed);
            tracked.advance(read, counts.lines, counts.time);
            work.lines += counts.lines;
            work.bytes += read;
            work.unparsed += counts.unparsed;
            work.left = work.left.saturating_sub(read);
        }
        work.has_more |= work.left <= least_left || work.is_full();
        if failed.is_some() || lines.is_short() {
            self.miss(id, failed, work)?;
        } else if !is_open && tracked.unread() > 0 {
            self.reading = Some((id, lines));
        }
        Ok(if work.is_full() || is_over() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// The lines of a batch that are not read: where the last round has stopped, or the file anew.
    fn open_batch(&mut self, id: BatchId, work: &mut RoundWork) -> Result<Option<OpenLines>, IndexerError> {
        let Some(tracked) = self.catalog.get(id) else {
            return Ok(None);
        };
        let at = tracked.progress.bytes;
        let reading = self
            .reading
            .take_if(|(reading, lines)| *reading == id && lines.position() == at);
        if let Some((_, lines)) = reading {
            return Ok(Some(lines));
        }
        match BatchLines::open(&self.spool, &tracked.batch, at, false) {
            Ok(Some(lines)) => Ok(Some(lines)),
            missed => {
                self.miss(id, missed.err(), work)?;
                Ok(None)
            }
        }
    }

    /// A batch's file was not found, is too short, or cannot be read (`failed`): its rest may be lost.
    fn miss(
        &mut self,
        id: BatchId,
        failed: Option<DiskError>,
        work: &mut RoundWork,
    ) -> Result<(), IndexerError> {
        let Some(tracked) = self.catalog.get_mut(id) else {
            return Ok(());
        };
        self.ledger.refresh(tracked);
        let cause = match failed {
            None => MissCause::Absent,
            Some(error) => match MissCause::of(&error) {
                Some(cause) => tell_unreadable(tracked, &error, cause, work),
                None => return Err(error.into()),
            },
        };
        let Some(reason) = tracked.missed(cause) else {
            return Ok(());
        };
        let (from, bytes) = tracked.skip_rest();
        let gap = gap(tracked, (from, bytes), reason, work.now);
        let (batch, source) = (&gap.batch, &gap.source);
        tracing::warn!(
            "batch {batch} of source {source}: {bytes} bytes from byte {from} on are in neither numbers nor search, because \
             {reason}; if the batch was delivered, the destinations have them"
        );
        self.metrics.lost(bytes);
        work.change.gaps.push(gap);
        Ok(())
    }

    /// Makes the round durable: the store, then the transaction, then the store may forget the position before.
    fn record(&mut self, work: &mut RoundWork, lag: IndexLag) -> Result<(), IndexerError> {
        let change = &mut work.change;
        change.store_position = self.store.sync(work.now.as_millisecond())?.to_string();
        change.ledger.clone_from(&self.ledger.id);
        change.newest_batch = self.catalog.newest().map(BatchId::number);
        change.lag = lag;
        change.believed_before = self.believed_before;
        change.formats = self.formats.take_found();
        self.db.record(change, self.kept, work.now.as_second())?;
        self.store.recorded()?;
        self.catalog.recorded(work.now.as_second());
        self.metrics.indexed(work.lines, work.bytes, work.unparsed);
        Ok(())
    }
}

/// The time of the lines before a byte of a batch, which was read before a restart: lines without a time have it. An error only
/// costs that time.
pub(crate) fn time_before(spool: &Spool<RealDisk>, batch: &Batch, at: u64, format: &Format) -> Option<i64> {
    let length = at.min(LOOKED_BACK);
    let mut lines = BatchLines::open(spool, batch, at - length, false).ok()??;
    let text = lines.next(batch).ok()??;
    let text = text.get(..usize::try_from(length).ok()?).unwrap_or(text);
    // It may begin within a line.
    let whole = if length == at { 0 } else { memchr(b'\n', text)? + 1 };
    last_time(text.get(whole..)?, format, batch.window.start)
}

/// Says once that a batch's file cannot be read.
fn tell_unreadable(
    tracked: &mut TrackedBatch,
    error: &DiskError,
    cause: MissCause,
    work: &mut RoundWork,
) -> MissCause {
    let advice = match cause {
        MissCause::Forbidden => "it waits until the indexer's user may read the file and its folders",
        MissCause::Unreadable => "it is tried again for some minutes, then the rest of the batch is left out",
        MissCause::Absent | MissCause::Damaged => {
            "it is tried a few times more, then the rest of the batch is left out"
        }
    };
    let (batch, text) = (tracked.batch.name(), error_chain(error));
    if !std::mem::replace(&mut tracked.is_trouble_told, true) {
        tracing::error!(
            error = error as &dyn Error,
            "batch {batch} cannot be indexed now: {text}; {advice}; other batches are indexed meanwhile"
        );
    }
    work.trouble
        .get_or_insert_with(|| format!("batch {batch} cannot be indexed now: {text}"));
    cause
}

fn origin<'a>(
    batch: &'a Batch,
    name: &'a str,
    log: Option<&'a LogName>,
    format: &'a Format,
) -> LineOrigin<'a> {
    LineOrigin {
        source: &batch.source,
        group: &batch.group,
        log,
        batch: name,
        format: format.as_text(),
    }
}

fn gap(tracked: &TrackedBatch, (from, bytes): (u64, u64), reason: &str, now: Timestamp) -> IndexGap {
    let batch: &Batch = &tracked.batch;
    IndexGap {
        batch: batch.name(),
        from,
        bytes,
        source: batch.source.to_string(),
        group: batch.group.to_string(),
        window_start: batch.window.start,
        window_end: batch.window.end(),
        reason: reason.to_owned(),
        noticed_at: now.as_second(),
    }
}
