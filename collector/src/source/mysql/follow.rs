//! A source of type `mysql`: reads rows that are not sent, makes them durable, and then marks them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::MysqlSettings;
use serde_json::Value;

use super::connection::{TableConnection, TableFound};
use super::progress::{MarkedProgress, ROUND_MAX, TrailingProgress};
use super::rows::{FollowedRows, TableRow, UnmarkedRows};
use crate::capture::{Position, Refused};
use crate::line_record::{RecordOrigin, fit, of_members};
use crate::record::{Record, time_of};
use crate::source::{SourceContext, SourceError};

/// How often all rows that wait are counted; and after so many times as long as counting took, if that is longer.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);
const COUNT_FACTOR: u32 = 20;
/// Rows that are read at one time where they are followed by their id, with those that are captured already.
const LOOK_MAX: u32 = 2 * ROUND_MAX;

/// Reads rows until the shutdown, or until the server fails.
pub async fn run(settings: &MysqlSettings, context: &SourceContext) -> Result<(), SourceError> {
    let opened = context
        .shutdown
        .run_until_cancelled(TableConnection::open(settings))
        .await;
    let Some(opened) = opened else { return Ok(()) };
    let mut reader = RowReader {
        settings,
        context,
        connection: opened?,
        count_due: Instant::now(),
    };
    context.status.running();
    let position = context.capture.position();
    let follow = async {
        match &settings.sent {
            Some(sent) => reader.follow_marks(sent, position.as_ref()).await,
            None => reader.follow_ids(position.as_ref()).await,
        }
    };
    // A statement may wait for another's lock for longer than a stop may take. What it would have done is done by the next start:
    // a transaction that is not ended is undone, and a row that comes again is known by its key.
    let ended = context.shutdown.run_until_cancelled(follow).await;
    let ended = ended.unwrap_or(Ok(()));
    if ended.is_ok() {
        reader.connection.close().await;
    }
    ended
}

/// Whether the table can be read and marked as it is. Nothing is changed.
pub async fn probe(settings: &MysqlSettings) -> Result<TableFound, SourceError> {
    Ok(TableConnection::probe(settings).await?)
}

struct RowReader<'a> {
    settings: &'a MysqlSettings,
    context: &'a SourceContext,
    connection: TableConnection,
    count_due: Instant,
}

impl RowReader<'_> {
    /// Each round: 1. rows with `sent = 0` are read. 2. The new ones become durable together with the keys of all that are not
    /// marked: a crash here shows the rows again, and their keys say that they are known. 3. They are marked. 4. The next
    /// position forgets their keys: a crash before it leaves keys of rows that are not shown any more.
    async fn follow_marks(&mut self, sent: &str, position: Option<&Position>) -> Result<(), SourceError> {
        let mut progress = MarkedProgress::of_position(position);
        let most = self.settings.batch.min(ROUND_MAX);
        let mut limit = most;
        let mut durable = progress.clone();
        while !self.context.shutdown.is_cancelled() {
            let UnmarkedRows { rows, fits, is_all } = self.connection.unmarked(sent, limit).await?;
            // Of large rows no more are asked for than fit.
            limit = match u32::try_from(rows.len()) {
                Ok(len) if !fits => len.max(1),
                _ => limit.saturating_mul(2).min(most),
            };
            let keys: BTreeSet<_> = rows.iter().map(|row| row.key.clone()).collect();
            if is_all {
                progress.keep_only(&keys);
            }
            let new: Vec<&TableRow> = rows
                .iter()
                .filter(|row| !progress.is_captured(&row.key))
                .collect();
            let records: Vec<Record> = new.iter().map(|row| self.record(row)).collect();
            let new: Vec<_> = new.iter().map(|row| row.key.clone()).collect();
            progress.captured(&new, &keys);
            if !records.is_empty() || (rows.is_empty() && progress != durable) {
                if self.append(&records, &progress.position()).await.is_err() {
                    return Ok(());
                }
                durable.clone_from(&progress);
            }
            let marked: BTreeSet<_> = self.connection.mark(sent, &rows).await?.into_iter().collect();
            progress.marked(&marked);
            let is_done = is_all && marked.len() == rows.len();
            self.tell_behind(sent, is_done).await?;
            // Rows that may be marked only together with one that was not asked for come again as they are: one more is asked for.
            let is_stuck = !rows.is_empty() && records.is_empty() && marked.is_empty();
            if is_stuck {
                let more = u32::try_from(rows.len()).map_or(ROUND_MAX, |len| len.saturating_add(1));
                limit = limit.max(more).min(ROUND_MAX);
            }
            // Rows that changed while they were read come again at once.
            if is_done || is_stuck {
                self.pause().await;
            }
        }
        Ok(())
    }

    /// Second best: rows are read by id, and the last ones again each time, since one among them may become visible late.
    async fn follow_ids(&mut self, position: Option<&Position>) -> Result<(), SourceError> {
        let mut progress = TrailingProgress::of_position(position);
        // New rows that are asked for: of large ones no more than fit.
        let mut more = LOOK_MAX;
        while !self.context.shutdown.is_cancelled() {
            let floor = progress.floor().map(sql_of);
            let known = progress.known();
            let trail = u32::try_from(known.len()).unwrap_or(LOOK_MAX);
            let mut limit = trail.saturating_add(more).min(LOOK_MAX.max(trail + 1));
            let read = self.connection.rows_from(floor.as_ref(), limit, known);
            let mut found = read.await?;
            if found.is_short(limit) && more < LOOK_MAX {
                more = LOOK_MAX;
                continue;
            }
            let keys = |rows: &[TableRow]| rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
            if progress.has_begun_anew(&keys(&found.rows)) {
                limit = more;
                let read = self.connection.rows_from(None, limit, BTreeSet::new());
                found = read.await?;
                if found.rows.is_empty() {
                    self.pause().await;
                    continue;
                }
                tracing::warn!(source = %self.context.name, table = %self.connection.table(), "the table was emptied; it is read anew");
                progress = TrailingProgress::default();
            }
            let FollowedRows { rows, cut, .. } = found;
            let new = progress.new_rows(&keys(&rows));
            let records: Vec<Record> = rows
                .iter()
                .zip(new)
                .filter(|(_, is_new)| *is_new)
                .map(|(row, _)| self.record(row))
                .collect();
            let is_all = cut.is_none() && rows.len() < limit as usize;
            more = match cut {
                Some(_) => u32::try_from(records.len()).unwrap_or(LOOK_MAX).max(1),
                None => more.saturating_mul(2).min(LOOK_MAX),
            };
            if records.is_empty() {
                self.context.status.behind(Some(0));
                self.pause().await;
                continue;
            }
            if !is_all {
                // How many more there are nobody has counted.
                self.context.status.behind(None);
            }
            progress.captured(rows.into_iter().map(|row| (row.id, row.key)), cut);
            if self.append(&records, &progress.position()).await.is_err() {
                return Ok(());
            }
            if is_all {
                self.context.status.behind(Some(0));
                self.pause().await;
            }
        }
        Ok(())
    }

    fn record(&self, row: &TableRow) -> Record {
        let zone = &self.connection.zone;
        let origin = RecordOrigin {
            arrival: Timestamp::now(),
            zone,
            source: &self.settings.table,
        };
        let time = self.settings.time.as_ref().and_then(|column| {
            let (_, value) = row
                .members
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(column))?;
            time_of(value, zone)
        });
        let mut record = of_members(row.members.clone(), &origin);
        record.time = time.unwrap_or(record.time);
        if !self.settings.id.eq_ignore_ascii_case("id") && row.members.iter().any(|(name, _)| name == "id") {
            record.fields.push(("id".to_owned(), record.id));
        }
        record.id = row.id.clone();
        let is_cut = fit(&mut record, 0, self.context.max_record);
        self.context.status.count_cut(u64::from(is_cut));
        record
    }

    async fn append(&self, records: &[Record], position: &Value) -> Result<(), Refused> {
        let capture = &self.context.capture;
        capture
            .append_waiting(records, Some(position), &self.context.shutdown)
            .await
    }

    async fn tell_behind(&mut self, sent: &str, is_all: bool) -> Result<(), SourceError> {
        if is_all {
            self.context.status.behind(Some(0));
        } else if self.count_due <= Instant::now() {
            let begun = Instant::now();
            let count = self.connection.count_unmarked(sent).await?;
            self.context.status.behind(count);
            self.count_due = Instant::now() + COUNT_INTERVAL.max(begun.elapsed() * COUNT_FACTOR);
        }
        Ok(())
    }

    async fn pause(&self) {
        let pause = tokio::time::sleep(self.settings.interval);
        self.context.shutdown.run_until_cancelled(pause).await;
    }
}

/// An id of a position, as the server wants it.
fn sql_of(id: &Value) -> mysql_async::Value {
    match id {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}
