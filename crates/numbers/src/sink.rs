//! How far the sink has sent the lines to OpenSearch: tables of their own in `index.db`, which one other connection of the
//! indexer writes. `logferry resend --index` writes one value beside it: that everything is to be sent again.
//!
//! Invariant: the place of a batch moves only in the transaction that has the refusals of its lines. Only the sink itself
//! forgets places.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result as SqlResult};

use crate::error::IndexError;
use crate::index_db::IndexDb;
use crate::index_reader::IndexReader;
use crate::schema;
use crate::state::{IndexLag, IndexState, IndexedBatch, place, places, put_values, read_state, read_values};

/// Most refused documents that are kept; older ones go. Each has at most 1 KiB.
pub const REFUSED_KEPT: usize = 10_000;

/// Most bytes of a refused document that are kept.
const DOCUMENT_KEPT: usize = 1024;

/// Most characters of a reason that are kept.
const REASON_KEPT: usize = 500;

/// In `sink_state`: when a person asked for everything to be sent again, in seconds since 1970.
const RESEND_ASKED: &str = "resend_asked";

/// How far the sink has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkState {
    /// As of the indexer.
    pub index: IndexState,
    /// Sums of all time.
    pub totals: SinkTotals,
    /// Why it waits now.
    pub trouble: Option<String>,
}

/// What was sent in all, as far as this file goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkTotals {
    /// Documents that are in the index.
    pub documents: u64,
    /// Of these, that were there already when they were sent.
    pub repeated: u64,
    /// Documents that the server does not want.
    pub refused: u64,
    /// Stretches of batches that were gone before they were sent.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
}

/// How far a batch is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkBatch {
    /// The place: bytes and lines from its start, those in gaps included.
    pub progress: IndexedBatch,
    /// The index that has its documents.
    pub index: String,
    /// Its documents there.
    pub documents: u64,
    /// Its lines that the server does not want.
    pub refused: u64,
    /// Its bytes that were gone before they were sent.
    pub gap_bytes: u64,
}

/// A line that the server does not want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedDocument {
    /// The batch's name without `.log`.
    pub batch: String,
    /// The line's first byte in the batch.
    pub from: u64,
    /// The HTTP status of the document.
    pub status: u16,
    /// The server's reason.
    pub reason: String,
    /// The document as it was sent, or its beginning.
    pub document: Vec<u8>,
}

/// What one transaction records.
#[derive(Debug, Default)]
pub struct SinkChange {
    /// The new place of each batch that was sent.
    pub batches: BTreeMap<String, SinkBatch>,
    /// Documents that were refused.
    pub refused: Vec<RefusedDocument>,
    /// What is added to the sums.
    pub added: SinkTotals,
    /// The ledger's id.
    pub ledger: String,
    /// The ledger's number of the newest batch that was seen.
    pub newest_batch: Option<i64>,
    /// How far the sink is still behind.
    pub lag: IndexLag,
    /// Why it waits now.
    pub trouble: Option<String>,
}

impl IndexDb {
    /// How far the sink has come.
    pub fn sink_state(&self) -> Result<SinkState, IndexError> {
        self.read("read the state of the sink", read_sink_state)
    }

    /// How far each batch is sent, by the batch's name without `.log`.
    pub fn sink_places(&self) -> Result<BTreeMap<String, IndexedBatch>, IndexError> {
        self.read("read the places of the sink", |sql| places(sql, "sink_batches"))
    }

    /// How far a batch is sent; `None` if it was never seen.
    pub fn sent_batch(&self, batch: &str) -> Result<Option<SinkBatch>, IndexError> {
        self.read("read the place of a batch", |sql| {
            Ok(sent(sql, "WHERE batch = ?1", [batch])?
                .pop()
                .map(|(_, sent)| sent))
        })
    }

    /// Records a change: all of it or, after a crash, nothing of it. `now` in seconds since 1970.
    pub fn record_sent(&mut self, change: &SinkChange, now: i64) -> Result<(), IndexError> {
        self.write("record what was sent", |sql| {
            for (batch, sent) in &change.batches {
                put_batch(sql, batch, sent, now)?;
            }
            put_refused(sql, &change.refused, now)?;
            let totals = read_totals(&read_values(sql, "sink_state")?);
            let sum = |of: fn(&SinkTotals) -> u64| Some((of(&totals) + of(&change.added)).to_string());
            let values = [
                ("ledger", Some(change.ledger.clone())),
                ("newest", change.newest_batch.map(|number| number.to_string())),
                ("recorded_at", Some(now.to_string())),
                ("lag", Some(change.lag.to_value())),
                ("trouble", Some(change.trouble.clone().unwrap_or_default())),
                ("documents", sum(|totals| totals.documents)),
                ("repeated", sum(|totals| totals.repeated)),
                ("refused", sum(|totals| totals.refused)),
                ("gaps", sum(|totals| totals.gaps)),
                ("gap_bytes", sum(|totals| totals.gap_bytes)),
            ];
            put_values(sql, "sink_state", &values)
        })
    }

    /// Records why the sink waits, and how far it is behind.
    pub fn record_sink_trouble(&mut self, trouble: &str, lag: IndexLag) -> Result<(), IndexError> {
        self.write("record why the sink waits", |sql| {
            let values = [
                ("trouble", Some(trouble.to_owned())),
                ("lag", Some(lag.to_value())),
            ];
            put_values(sql, "sink_state", &values)
        })
    }

    /// Asks the sink to begin again. Another process may call it while the indexer runs: the sink looks for it before each set.
    pub fn request_resend(&mut self, now: i64) -> Result<(), IndexError> {
        self.write("ask for everything to be sent again", |sql| {
            put_values(sql, "sink_state", &[(RESEND_ASKED, Some(now.to_string()))])
        })
    }

    /// Whether the sink was asked to begin again.
    pub fn is_resend_requested(&self) -> Result<bool, IndexError> {
        self.read("read whether everything is to be sent again", |sql| {
            Ok(read_values(sql, "sink_state")?.contains_key(RESEND_ASKED))
        })
    }

    /// Forgets all that the sink has done, and that it was asked to. A crash before its end: it is asked still.
    pub fn forget_all_sent(&mut self) -> Result<(), IndexError> {
        self.write("forget what was sent", |sql| {
            sql.execute_batch("DELETE FROM sink_batches; DELETE FROM sink_refused; DELETE FROM sink_state;")
        })
    }

    /// The batches that are not sent to their ends, or were sent to their ends before `cutoff` (seconds since 1970).
    pub fn old_sent_batches(&self, cutoff: i64) -> Result<Vec<(String, SinkBatch)>, IndexError> {
        self.read("read old places of the sink", |sql| {
            sent(sql, "WHERE is_read = 0 OR ended_at < ?1", [cutoff])
        })
    }

    /// Forgets the places of these batches.
    pub fn forget_sent(&mut self, batches: &[String]) -> Result<(), IndexError> {
        self.write("remove old places of the sink", |sql| {
            let mut remove = sql.prepare_cached("DELETE FROM sink_batches WHERE batch = ?1")?;
            batches
                .iter()
                .try_for_each(|batch| remove.execute([batch]).map(drop))
        })
    }
}

impl IndexReader {
    /// How far the sink has come; `None` if none has ever run here.
    pub fn sink_state(&self) -> Result<Option<SinkState>, IndexError> {
        self.read("read the state of the sink", |sql| {
            if !schema::has_step(sql, schema::SINK_STEP)? {
                return Ok(None);
            }
            let state = read_sink_state(sql)?;
            Ok(state.index.recorded_at.is_some().then_some(state))
        })
    }

    /// How far each batch is sent, by name.
    pub fn sent_batches(&self) -> Result<BTreeMap<String, SinkBatch>, IndexError> {
        self.read("read the places of the sink", |sql| {
            if !schema::has_step(sql, schema::SINK_STEP)? {
                return Ok(BTreeMap::new());
            }
            Ok(sent(sql, "", [])?.into_iter().collect())
        })
    }

    /// The refused lines of a batch that are kept.
    pub fn refused_documents(&self, batch: &str) -> Result<Vec<RefusedDocument>, IndexError> {
        self.read("read the refused documents", |sql| {
            let query =
                "SELECT from_byte, status, reason, document FROM sink_refused WHERE batch = ?1 ORDER BY from_byte";
            let mut query = sql.prepare_cached(query)?;
            let rows = query.query_map([batch], |row| {
                Ok(RefusedDocument {
                    batch: batch.to_owned(),
                    from: row.get(0)?,
                    status: row.get(1)?,
                    reason: row.get(2)?,
                    document: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }
}

fn read_sink_state(sql: &Connection) -> SqlResult<SinkState> {
    let values = read_values(sql, "sink_state")?;
    Ok(SinkState {
        index: read_state(sql, "sink_state")?,
        totals: read_totals(&values),
        trouble: values.get("trouble").filter(|text| !text.is_empty()).cloned(),
    })
}

fn read_totals(values: &BTreeMap<String, String>) -> SinkTotals {
    let number = |name: &str| {
        let value = values.get(name).and_then(|value| value.parse().ok());
        value.unwrap_or(0)
    };
    SinkTotals {
        documents: number("documents"),
        repeated: number("repeated"),
        refused: number("refused"),
        gaps: number("gaps"),
        gap_bytes: number("gap_bytes"),
    }
}

fn sent<P: rusqlite::Params>(
    sql: &Connection,
    which: &str,
    params: P,
) -> SqlResult<Vec<(String, SinkBatch)>> {
    let mut query = sql.prepare_cached(&format!(
        "SELECT batch, index_name, bytes, lines, is_read, documents, refused, gap_bytes FROM sink_batches {which}"
    ))?;
    let rows = query.query_map(params, |row| {
        let (batch, progress) = place(row)?;
        let sent = SinkBatch {
            progress,
            index: row.get("index_name")?,
            documents: row.get("documents")?,
            refused: row.get("refused")?,
            gap_bytes: row.get("gap_bytes")?,
        };
        Ok((batch, sent))
    })?;
    rows.collect()
}

fn put_batch(sql: &Connection, batch: &str, sent: &SinkBatch, now: i64) -> SqlResult<()> {
    let progress = sent.progress;
    let ended_at = progress.is_read.then_some(now);
    // Its index is that of the first record for ever: a line that is sent again must meet its own document.
    sql.prepare_cached(
        "INSERT INTO sink_batches (batch, index_name, bytes, lines, is_read, documents, refused, gap_bytes, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT DO UPDATE SET bytes = ?3, lines = ?4, is_read = ?5, documents = ?6, refused = ?7, gap_bytes = ?8,
             ended_at = ?9",
    )?
    .execute((
        batch,
        &sent.index,
        progress.bytes,
        progress.lines,
        progress.is_read,
        sent.documents,
        sent.refused,
        sent.gap_bytes,
        ended_at,
    ))
    .map(drop)
}

fn put_refused(sql: &Connection, refused: &[RefusedDocument], now: i64) -> SqlResult<()> {
    if refused.is_empty() {
        return Ok(());
    }
    let mut put = sql.prepare_cached(
        "INSERT INTO sink_refused (batch, from_byte, status, reason, document, noticed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let first = refused.len().saturating_sub(REFUSED_KEPT);
    for document in refused.iter().skip(first) {
        let reason: String = document.reason.chars().take(REASON_KEPT).collect();
        let text = document
            .document
            .get(..DOCUMENT_KEPT)
            .unwrap_or(&document.document);
        put.execute((&document.batch, document.from, document.status, reason, text, now))?;
    }
    let newest = i64::try_from(REFUSED_KEPT).unwrap_or(i64::MAX);
    sql.execute(
        "DELETE FROM sink_refused WHERE id <= (SELECT max(id) FROM sink_refused) - ?1",
        [newest],
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_to(bytes: u64, is_read: bool) -> SinkBatch {
        SinkBatch {
            progress: IndexedBatch {
                bytes,
                lines: bytes / 10,
                is_read,
            },
            index: "logs-1".to_owned(),
            documents: bytes / 10,
            ..SinkBatch::default()
        }
    }

    fn change(batch: &str, sent: SinkBatch) -> SinkChange {
        SinkChange {
            added: SinkTotals {
                documents: sent.documents,
                ..SinkTotals::default()
            },
            batches: [(batch.to_owned(), sent)].into(),
            ledger: "l".to_owned(),
            newest_batch: Some(7),
            ..SinkChange::default()
        }
    }

    #[test]
    fn places_and_sums_are_read_back_and_a_batch_keeps_its_first_index() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut db = IndexDb::open_or_create(dir.path()).expect("created");
        let reader = IndexReader::open(dir.path()).expect("there");
        assert_eq!(reader.sink_state().expect("read"), None, "none has run");
        db.record_sent(&change("a", sent_to(20, false)), 100)
            .expect("recorded");
        let later = SinkBatch {
            index: "another".to_owned(),
            ..sent_to(50, true)
        };
        db.record_sent(&change("a", later), 200).expect("recorded");
        let state = reader.sink_state().expect("read").expect("a state");
        assert_eq!(state, db.sink_state().expect("read"));
        assert_eq!((state.totals.documents, state.trouble), (7, None));
        assert_eq!(
            (state.index.newest_batch, state.index.recorded_at),
            (Some(7), Some(200))
        );
        assert_eq!(
            reader.sent_batches().expect("read"),
            [("a".to_owned(), sent_to(50, true))].into()
        );
        db.record_sink_trouble("it is down", IndexLag::default())
            .expect("recorded");
        assert_eq!(
            db.sink_state().expect("read").trouble.as_deref(),
            Some("it is down")
        );
        assert_eq!(db.old_sent_batches(200).expect("read"), []);
        assert_eq!(db.old_sent_batches(201).expect("read").len(), 1);
        db.forget_sent(&["a".to_owned()]).expect("removed");
        assert_eq!(db.sent_batch("a").expect("read"), None);
    }

    #[test]
    fn what_was_asked_for_stays_asked_until_everything_is_forgotten() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut db = IndexDb::open_or_create(dir.path()).expect("created");
        let refused = RefusedDocument {
            batch: "a".to_owned(),
            from: 0,
            status: 400,
            reason: "no date".to_owned(),
            document: Vec::new(),
        };
        let first = SinkChange {
            refused: vec![refused],
            ..change("a", sent_to(20, true))
        };
        db.record_sent(&first, 100).expect("recorded");
        assert!(!db.is_resend_requested().expect("read"));
        let mut other = IndexDb::open_or_create(dir.path()).expect("opened beside it");
        other.request_resend(150).expect("asked");
        assert!(db.is_resend_requested().expect("read"));
        db.record_sent(&change("b", sent_to(30, false)), 200)
            .expect("recorded");
        assert!(
            db.is_resend_requested().expect("read"),
            "a record does not answer it"
        );
        db.forget_all_sent().expect("forgotten");
        assert!(!db.is_resend_requested().expect("read"));
        assert_eq!(db.sink_state().expect("read"), SinkState::default());
        let reader = IndexReader::open(dir.path()).expect("there");
        assert_eq!(reader.sent_batches().expect("read"), BTreeMap::new());
        assert_eq!(reader.refused_documents("a").expect("read"), []);
    }

    #[test]
    fn newest_refused_lines_are_kept_within_a_bound() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut db = IndexDb::open_or_create(dir.path()).expect("created");
        let refused = |from| RefusedDocument {
            batch: "a".to_owned(),
            from,
            status: 400,
            reason: "x".repeat(900),
            document: vec![b'y'; 5000],
        };
        for part in 0..3 {
            let change = SinkChange {
                refused: (part * 6000..(part + 1) * 6000).map(refused).collect(),
                ..change("a", sent_to(10, false))
            };
            db.record_sent(&change, 100).expect("recorded");
        }
        let kept = IndexReader::open(dir.path())
            .expect("there")
            .refused_documents("a");
        let kept = kept.expect("read");
        assert_eq!((kept.len(), kept[0].from), (REFUSED_KEPT, 8000));
        assert_eq!(
            (kept[0].document.len(), kept[0].reason.len()),
            (DOCUMENT_KEPT, REASON_KEPT)
        );
    }
}
