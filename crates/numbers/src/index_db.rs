//! Writes `index.db`. One process has it open: the indexer, which holds a lock on its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::count_clock::CountClock;
use crate::counts::{CounterId, Counts};
use crate::error::IndexError;
use crate::query::NumbersSpan;
use crate::schema;
use crate::state::{
    self, FoundLogFormat, IndexGap, IndexLag, IndexState, IndexedBatch, LedgerLookup, put_values, read_state,
    series_key,
};
use crate::tally::{SeriesKey, Tally};

/// Its name in the indexer's folder.
pub const FILE_NAME: &str = "index.db";

/// Most series. The lines of a further one count under the source `(others)`.
pub const SERIES_MAX: usize = 4096;

/// The place of a batch that the ledger does not know is kept for so long: until a copy of a ledger that was put back is
/// replaced by one that was rebuilt from the spool.
pub(crate) const UNKNOWN_KEPT: Duration = Duration::from_hours(24 * 30);

/// The series without numbers are removed at most once in so many seconds: no line waits for it each minute.
const SERIES_TIDIED: i64 = 3600;

/// How long the indexer waits for a reader that blocks a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What one transaction records.
#[derive(Debug, Default)]
pub struct IndexChange {
    /// The counts of the lines that were read.
    pub tally: Tally,
    /// The new place of each batch that was read.
    pub batches: BTreeMap<String, IndexedBatch>,
    /// Bytes that could not be read.
    pub gaps: Vec<IndexGap>,
    /// Formats that were found. Those of more than [`SERIES_MAX`] logs are not recorded.
    pub formats: Vec<FoundLogFormat>,
    /// The ledger's id.
    pub ledger: String,
    /// The ledger's number of the newest batch that was seen.
    pub newest_batch: Option<i64>,
    /// The position of the store that has all these lines.
    pub store_position: String,
    /// How far the indexer is still behind.
    pub lag: IndexLag,
    /// While the clock is doubted: the time that it showed when it was believed last, in seconds since 1970.
    pub believed_before: Option<i64>,
}

/// How long numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumbersKept {
    /// By minute.
    pub minutes: Duration,
    /// By hour.
    pub hours: Duration,
    /// Gaps, after they were noticed: as long as numbers or lines of their time are kept.
    pub gaps: Duration,
}

impl NumbersKept {
    /// A time just before all that is kept at `now`: whatever is older may count there, and [`IndexDb::record`] leaves it out.
    pub fn too_old(self, now: i64) -> i64 {
        let starts = self.since(now).map(|(span, since)| span.start_of(since));
        starts.into_iter().min().unwrap_or(i64::MIN).saturating_sub(1)
    }

    /// The first second that is kept by minute, and by hour.
    fn since(self, now: i64) -> [(NumbersSpan, i64); 2] {
        [
            (NumbersSpan::Minute, before(now, self.minutes)),
            (NumbersSpan::Hour, before(now, self.hours)),
        ]
    }
}

fn before(now: i64, age: Duration) -> i64 {
    now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
}

/// `index.db`, open for writing.
#[derive(Debug)]
pub struct IndexDb {
    connection: Connection,
    path: PathBuf,
    /// `None`: they have to be read.
    series: Option<KnownSeries>,
    /// When the series without numbers were removed last, in seconds since 1970.
    series_tidied_at: Option<i64>,
}

/// The series of the file.
#[derive(Debug, Default)]
struct KnownSeries {
    ids: BTreeMap<SeriesKey, i64>,
    /// Whether one more was wanted since those without numbers were removed, and there was no room for it.
    is_short: bool,
}

impl IndexDb {
    /// Opens the file in the indexer's folder, and creates it if it is not there.
    pub fn open_or_create(store_dir: &Path) -> Result<Self, IndexError> {
        let path = store_dir.join(FILE_NAME);
        // Durable commits: what the store removes after a transaction must not be wanted again after a power loss.
        let opened = logferry_sqlite_file::open(&path, BUSY_TIMEOUT);
        let mut connection = opened.map_err(|source| IndexError::of(&path, "open it", source))?;
        schema::migrate(&mut connection, &path)?;
        let mut opened = Self {
            connection,
            path,
            series: None,
            series_tidied_at: None,
        };
        opened.series = Some(opened.known_series()?);
        Ok(opened)
    }

    fn known_series(&self) -> Result<KnownSeries, IndexError> {
        let ids = self.read("read the series", |sql| {
            let mut query = sql.prepare("SELECT source, grp, log, id FROM series")?;
            let rows = query.query_map([], |row| Ok((series_key(row)?, row.get(3)?)))?;
            rows.collect()
        })?;
        Ok(KnownSeries { ids, is_short: false })
    }

    /// How far the indexer has come.
    pub fn state(&self) -> Result<IndexState, IndexError> {
        self.read("read how far the indexer is", |sql| read_state(sql, "state"))
    }

    /// How far each batch is read, by the batch's name without `.log`.
    pub fn places(&self) -> Result<BTreeMap<String, IndexedBatch>, IndexError> {
        self.read("read the places", |sql| state::places(sql, "batches"))
    }

    /// The formats that were found for the lines of logs.
    pub fn formats(&self) -> Result<Vec<FoundLogFormat>, IndexError> {
        self.read("read the formats", state::formats)
    }

    /// The numbers of these named counters. A name that is new gets one.
    pub fn counter_ids(&mut self, names: &[String]) -> Result<Vec<CounterId>, IndexError> {
        self.write("name the counters", |sql| {
            let id = |name: &String| {
                sql.execute("INSERT OR IGNORE INTO counters (name) VALUES (?1)", [name])?;
                let query = "SELECT id FROM counters WHERE name = ?1";
                sql.query_row(query, [name], |row| Ok(CounterId(row.get(0)?)))
            };
            names.iter().map(id).collect()
        })
    }

    /// Records a change: all of it or, after a crash, nothing of it. Counts that are older than what is kept are left out;
    /// those of a far future count now, at `now` (seconds since 1970), or when the clock was believed last.
    pub fn record(
        &mut self,
        change: &mut IndexChange,
        kept: NumbersKept,
        now: i64,
    ) -> Result<(), IndexError> {
        let clock = CountClock {
            now,
            believed_before: change.believed_before,
        };
        self.write_with_series("record the numbers", |sql, known| {
            for (minute, key, counts) in change.tally.rows() {
                let time = clock.counted(minute);
                let series = series(sql, known, key)?;
                for (span, since) in kept.since(clock.earliest()) {
                    if span.start_of(time) >= span.start_of(since) {
                        merge(sql, span, span.start_of(time), series, counts)?;
                    }
                }
            }
            for (batch, place) in &change.batches {
                sql.prepare_cached(
                    "INSERT INTO batches (batch, bytes, lines, is_read) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET bytes = ?2, lines = ?3, is_read = ?4",
                )?
                .execute((batch, place.bytes, place.lines, place.is_read))?;
            }
            change.gaps.iter().try_for_each(|gap| insert_gap(sql, gap))?;
            change
                .formats
                .iter()
                .try_for_each(|format| put_format(sql, format))?;
            let lag = change.lag;
            let values = [
                ("ledger", Some(change.ledger.clone())),
                ("newest", change.newest_batch.map(|number| number.to_string())),
                ("store", Some(change.store_position.clone())),
                ("recorded_at", Some(now.to_string())),
                ("lag", Some(lag.to_value())),
            ];
            put_values(sql, "state", &values)
        })
    }

    /// At most `limit` places behind the batch of this name, by name.
    pub fn places_after(&self, after: &str, limit: usize) -> Result<Vec<(String, IndexedBatch)>, IndexError> {
        self.read("read the places", |sql| state::places_after(sql, after, limit))
    }

    /// Removes the numbers and gaps that are older than what is kept, the series without numbers, and of the batches that were
    /// looked up the places that are of no use any more. The caller believes the clock: that is recorded too.
    pub fn remove_expired(
        &mut self,
        looked_up: &[(String, LedgerLookup)],
        kept: NumbersKept,
        now: i64,
    ) -> Result<(), IndexError> {
        let tidied_at = self.series_tidied_at;
        let is_due = tidied_at.is_none_or(|at| !(at..at.saturating_add(SERIES_TIDIED)).contains(&now));
        let is_short = self.series.as_ref().is_some_and(|series| series.is_short);
        let is_tidied = is_short && is_due;
        self.write_with_series("remove old numbers", |sql, known| {
            for (span, since) in kept.since(now) {
                let remove = format!("DELETE FROM {} WHERE start < ?1", span.table());
                sql.execute(&remove, [span.start_of(since)])?;
            }
            sql.execute("DELETE FROM gaps WHERE noticed_at < ?1", [before(now, kept.gaps)])?;
            for (batch, fate) in looked_up {
                let change = match fate {
                    LedgerLookup::Gone => "DELETE FROM batches WHERE batch = ?1 AND ?2",
                    LedgerLookup::Unknown => {
                        "UPDATE batches SET unknown_since = ?2 WHERE batch = ?1 AND unknown_since IS NULL"
                    }
                    LedgerLookup::Kept => {
                        "UPDATE batches SET unknown_since = NULL WHERE batch = ?1 AND unknown_since IS NOT NULL AND ?2"
                    }
                };
                sql.prepare_cached(change)?.execute((batch, now))?;
            }
            sql.execute(
                "DELETE FROM batches WHERE unknown_since < ?1",
                [before(now, UNKNOWN_KEPT)],
            )?;
            if is_tidied {
                remove_series_without_numbers(sql, known)?;
            }
            put_values(sql, "state", &[("believed_at", Some(now.to_string()))])
        })?;
        if is_tidied {
            self.series_tidied_at = Some(now);
        }
        Ok(())
    }

    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        query(&self.connection).map_err(|source| IndexError::of(&self.path, action, source))
    }

    pub(crate) fn write<T>(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let run = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| IndexError::of(&self.path, action, source))
    }

    /// As [`Self::write`]; what becomes of the series is kept only if the transaction is. After an error they are read anew: there may be
    /// thousands, so no copy of them is made for that case.
    fn write_with_series(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&Transaction<'_>, &mut KnownSeries) -> rusqlite::Result<()>,
    ) -> Result<(), IndexError> {
        let mut series = match self.series.take() {
            Some(series) => series,
            None => self.known_series()?,
        };
        self.write(action, |sql| change(sql, &mut series))?;
        self.series = Some(series);
        Ok(())
    }
}

/// The number of a series. It gets one if it is new; if there are too many, it is one of the others.
fn series(sql: &Connection, known: &mut KnownSeries, key: &SeriesKey) -> rusqlite::Result<i64> {
    if let Some(id) = known.ids.get(key) {
        return Ok(*id);
    }
    let others = SeriesKey {
        source: "(others)".to_owned(),
        group: "(others)".to_owned(),
        log: None,
    };
    if known.ids.len() >= SERIES_MAX && *key != others {
        known.is_short = true;
        return series(sql, known, &others);
    }
    let add = "INSERT INTO series (source, grp, log) VALUES (?1, ?2, ?3)";
    sql.execute(add, (&key.source, &key.group, &key.log))?;
    let id = sql.last_insert_rowid();
    known.ids.insert(key.clone(), id);
    Ok(id)
}

/// Makes room for others. It reads all numbers, which takes seconds if there are very many.
fn remove_series_without_numbers(sql: &Connection, known: &mut KnownSeries) -> rusqlite::Result<()> {
    sql.execute(
        "DELETE FROM series WHERE id NOT IN (SELECT series FROM hours) AND id NOT IN (SELECT series FROM minutes)",
        [],
    )?;
    sql.execute(
        "DELETE FROM formats WHERE source NOT IN (SELECT source FROM series)",
        [],
    )?;
    let mut query = sql.prepare("SELECT id FROM series")?;
    let left: BTreeSet<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    known.ids.retain(|_, id| left.contains(id));
    known.is_short = false;
    Ok(())
}

/// Adds counts to a row. A row that cannot be read is replaced: it is of no use to anybody.
fn merge(
    sql: &Connection,
    span: NumbersSpan,
    start: i64,
    series: i64,
    counts: &Counts,
) -> rusqlite::Result<()> {
    let table = span.table();
    let found: Option<Vec<u8>> = sql
        .prepare_cached(&format!(
            "SELECT counts FROM {table} WHERE start = ?1 AND series = ?2"
        ))?
        .query_row((start, series), |row| row.get(0))
        .optional()?;
    let mut sum = found.and_then(|bytes| Counts::decode(&bytes)).unwrap_or_default();
    sum.merge(counts);
    sql.prepare_cached(&format!(
        "INSERT INTO {table} (start, series, counts) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET counts = ?3"
    ))?
    .execute((start, series, sum.encode()))
    .map(drop)
}

fn insert_gap(sql: &Connection, gap: &IndexGap) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "INSERT OR REPLACE INTO gaps (batch, from_byte, bytes, source, grp, window_start, window_end, reason, noticed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        &gap.batch,
        gap.from,
        gap.bytes,
        &gap.source,
        &gap.group,
        gap.window_start,
        gap.window_end,
        &gap.reason,
        gap.noticed_at,
    ))
    .map(drop)
}

fn put_format(sql: &Connection, found: &FoundLogFormat) -> rusqlite::Result<()> {
    let values = (&found.source, found.log.as_deref().unwrap_or(""), &found.format);
    let change = "UPDATE formats SET format = ?3 WHERE source = ?1 AND log = ?2";
    if sql.prepare_cached(change)?.execute(values)? > 0 {
        return Ok(());
    }
    let most = i64::try_from(SERIES_MAX).unwrap_or(i64::MAX);
    let add = "INSERT INTO formats (source, log, format) SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM formats) < ?4";
    sql.prepare_cached(add)?
        .execute((values.0, values.1, values.2, most))
        .map(drop)
}
