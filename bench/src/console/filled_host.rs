//! What a relay host has after months: a ledger, the files of the last day, the numbers of two days, and a store with some lines.
//!
//! Rows go into the ledger by SQL, since two million deliveries one by one take an hour. The tables are the ledger's own: a change
//! of its schema that breaks this fails here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use logferry_durable::RealDisk;
use logferry_ledger::{BatchFilter, Ledger};
use logferry_numbers::{CountedLine, IndexChange, IndexDb, IndexLag, IndexedBatch, NumbersKept, SeriesKey};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_store::{LineOrigin, LineRecord, StoreWriter};
use logferry_traffic::{Traffic, TrafficOptions};
use rusqlite::Connection;

/// Seconds of a window.
const WINDOW_SECONDS: i64 = 1200;

/// Groups of the sources.
const GROUPS: u32 = 6;

/// Files of batches that ended so long ago are gone.
const SPOOLED: SignedDuration = SignedDuration::from_hours(25);

/// Hours of numbers.
const HOURS: i64 = 48;

/// Lines in the store, the newest a moment old.
const STORED_LINES: i64 = 50_000;

const KEPT: NumbersKept = NumbersKept {
    minutes: Duration::from_hours(8 * 24),
    hours: Duration::from_hours(400 * 24),
    gaps: Duration::from_hours(400 * 24),
};

/// Batches by the number of their window and source: the last window is open, some of the one before wait.
const FILL: &str = "
INSERT INTO batches (source, grp, window_start, window_seconds, utc_offset, base_name, part, state, lines, bytes, crc32c,
                     sha256, opened_at, sealed_at, sent_at, expired_at)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :batches),
     places AS (SELECT n % :sources AS source, :newest - (:batches - 1 - n) / :sources * :seconds AS start FROM numbers)
SELECT 's-' || source, 'bench-' || (source % :groups), start, :seconds, 0, 'access_' || start || '_s-' || source, 1,
       CASE WHEN start = :newest THEN 'open' WHEN start = :newest - :seconds AND source % 10 = 0 THEN 'ready' ELSE 'sent' END,
       20000, 4000000, source,
       CASE WHEN start < :newest THEN printf('%064x', start * 1000 + source) END,
       start * 1000,
       CASE WHEN start < :newest THEN (start + :seconds + 60) * 1000 END,
       CASE WHEN start < :newest AND NOT (start = :newest - :seconds AND source % 10 = 0) THEN (start + :seconds + 90) * 1000 END,
       CASE WHEN start < :spooled THEN (start + 100000) * 1000 END
FROM places;
";

const DELIVER: &str = "
INSERT INTO deliveries (batch, destination, attempts, path, bytes, delivered_at, file_sha256)
SELECT id, 'edw', 1, '/drop/' || base_name || '.log', bytes, sent_at, sha256 FROM batches WHERE state = 'sent';
";

/// The folders, and something to ask for.
#[derive(Debug)]
pub(super) struct FilledHost {
    pub(super) data: PathBuf,
    pub(super) store: PathBuf,
    pub(super) source: String,
    /// A window that is delivered.
    pub(super) window: i64,
    /// A batch of it.
    pub(super) batch: String,
}

impl FilledHost {
    /// Makes it in `folder`.
    pub(super) fn new(folder: &Path, batches: u32, sources: u32) -> anyhow::Result<Self> {
        let (data, store) = (folder.join("relay"), folder.join("index"));
        for folder in [&data, &store] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let now = Timestamp::now();
        let newest = now.as_second().div_euclid(WINDOW_SECONDS) * WINDOW_SECONDS;
        let mut ledger = Ledger::open_or_create(&data)?;
        fill_ledger(&data, batches, sources, newest, now)?;
        report_sources(&mut ledger, sources, now)?;
        lay_files(&ledger, &data, now)?;
        fill_index(&ledger, &store, sources, now)?;
        let window = newest - 6 * WINDOW_SECONDS;
        Ok(Self {
            data,
            store,
            source: "s-1".to_owned(),
            window,
            batch: format!("access_{window}_s-1"),
        })
    }
}

fn fill_ledger(data: &Path, batches: u32, sources: u32, newest: i64, now: Timestamp) -> anyhow::Result<()> {
    let sql = Connection::open(data.join(logferry_ledger::FILE_NAME))?;
    sql.pragma_update(None, "synchronous", "OFF")?;
    let spooled = now.checked_sub(SPOOLED)?.as_second();
    sql.prepare(FILL)?.execute(rusqlite::named_params! {
        ":batches": batches,
        ":sources": sources,
        ":newest": newest,
        ":seconds": WINDOW_SECONDS,
        ":groups": GROUPS,
        ":spooled": spooled,
    })?;
    sql.execute_batch(DELIVER)?;
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// Each source has reported, and was known from the first window on.
fn report_sources(ledger: &mut Ledger, sources: u32, now: Timestamp) -> anyhow::Result<()> {
    let heartbeat = Heartbeat {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Heartbeat::default()
    };
    let first = now.checked_sub(SignedDuration::from_hours(400 * 24))?;
    ledger.begin_together()?;
    ledger.note_subscriptions(&[("edw".parse()?, String::new())], first)?;
    for number in 0..sources {
        let source: SourceId = format!("s-{number}").parse()?;
        let group: GroupName = format!("bench-{}", number % GROUPS).parse()?;
        ledger.note_heartbeat(&source, &group, &heartbeat, now)?;
    }
    for minutes in (0..24 * 60).step_by(10) {
        let at = now.checked_sub(SignedDuration::from_mins(minutes))?;
        ledger.note_disk(300 << 30, 1 << 40, at)?;
    }
    ledger.end_together()?;
    Ok(())
}

/// The files of the batches that are in the spool, as long as they should be, and empty.
fn lay_files(ledger: &Ledger, data: &Path, now: Timestamp) -> anyhow::Result<()> {
    let filter = BatchFilter {
        since: Some(now.checked_sub(SPOOLED)?),
        ..BatchFilter::default()
    };
    for batch in ledger.batches(&filter)? {
        let folder = data.join(batch.state.as_str()).join(batch.source.as_str());
        fs::create_dir_all(&folder)?;
        let path = folder.join(batch.file_name());
        let file = File::options().write(true).create_new(true).open(path)?;
        file.set_len(batch.contents.bytes)?;
    }
    Ok(())
}

/// Numbers of each minute and source; all batches are read.
fn fill_index(ledger: &Ledger, store: &Path, sources: u32, now: Timestamp) -> anyhow::Result<()> {
    let position = fill_store(store, sources, now)?;
    let mut db = IndexDb::open_or_create(store)?;
    let second = now.as_second();
    let mut read = ledger.spooled_batches(&BatchFilter::default(), |_| true)?;
    for hour in (0..HOURS).rev() {
        let mut change = IndexChange {
            ledger: ledger.id()?.to_string(),
            newest_batch: ledger.newest_batch()?.map(logferry_ledger::BatchId::number),
            store_position: position.clone(),
            lag: IndexLag::default(),
            ..IndexChange::default()
        };
        for batch in read.drain(..) {
            let progress = IndexedBatch {
                bytes: batch.contents.bytes,
                lines: batch.contents.lines,
                is_read: true,
            };
            change.batches.insert(batch.name(), progress);
        }
        for number in 0..sources {
            let series = change.tally.series(SeriesKey {
                source: format!("s-{number}"),
                group: format!("bench-{}", number % GROUPS),
                log: Some("access".to_owned()),
            });
            for minute in 0..60 {
                let counts = change.tally.minute(second - hour * 3600 - minute * 60, series);
                for line in 0..10 {
                    counts.count(&CountedLine {
                        bytes: 200,
                        status: Some(if line == 0 && minute % 7 == 0 { 503 } else { 200 }),
                        is_parsed: true,
                        ..CountedLine::default()
                    });
                }
            }
        }
        db.record(&mut change, KEPT, second)?;
    }
    Ok(())
}

fn fill_store(store: &Path, sources: u32, now: Timestamp) -> anyhow::Result<String> {
    let mut writer = StoreWriter::open(RealDisk, store, None, now.as_millisecond())?.writer;
    let mut traffic = Traffic::new(TrafficOptions::default());
    let (mut line, mut offset) = (Vec::new(), 0);
    let group: GroupName = "bench-1".parse()?;
    for number in 0..STORED_LINES {
        let at = now.checked_sub(SignedDuration::from_millis((STORED_LINES - number) * 60))?;
        line.clear();
        traffic.line(at, &mut line);
        let source: SourceId = format!("s-{}", number % i64::from(sources)).parse()?;
        writer.append(&LineRecord {
            origin: LineOrigin {
                source: &source,
                group: &group,
                log: None,
                batch: source.as_str(),
                format: "combined",
            },
            offset,
            time_ms: at.as_millisecond(),
            level: None,
            status: Some(if number % 50 == 0 { 503 } else { 200 }),
            line: &line,
        })?;
        offset += u64::try_from(line.len())?;
    }
    let position = writer.sync(now.as_millisecond())?;
    writer.recorded()?;
    Ok(position.to_string())
}
