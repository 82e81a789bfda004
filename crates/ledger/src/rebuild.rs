//! Rebuilds a ledger from the spool, and recovers the streams that the lost ledger knew.
//!
//! The spool shows which lines are stored, but not which streams sent them. So the new ledger records that it was rebuilt.
//! When a sender reports a stream that the old ledger acknowledged, the stream is recovered ([`Ledger::recover_streams`]).
//! If bytes after the acknowledged offset may be stored too, a [`crate::PossibleDuplicate`] is recorded (`doubts`).
//!
//! Expired batches are forgotten too. A new part of an old window therefore gets a number above any number ever given
//! ([`crate::FORGOTTEN_PARTS`]), unless a part of that window is in the spool: then its number is the next one.

use jiff::Timestamp;
use logferry_protocol::names::{DestinationName, GroupName, SourceId};
use rusqlite::{Connection, Result as SqlResult, named_params};

use crate::batches::{self, BatchContents, BatchState, NewBatch};
use crate::deliveries::has_compressed_name;
use crate::row::{self, millis, signed};
use crate::streams::note_contact;
use crate::{Ledger, LedgerError};

/// A batch that was found in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBatch {
    /// Its source, window and name.
    pub batch: NewBatch,
    /// Its part.
    pub part: u32,
    /// The state of its folder.
    pub state: BatchState,
    /// Size and checksum of its file.
    pub contents: BatchContents,
    /// SHA-256 in hex of the lines.
    pub sha256: String,
    /// When its file was last written. It replaces the forgotten times.
    pub written_at: Timestamp,
    /// Whether its file is compressed.
    pub is_compressed: bool,
    /// Destinations to which it must have been delivered, with the path there.
    pub delivered: Vec<(DestinationName, String)>,
}

/// A source whose batches were found in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSource {
    /// The source.
    pub source: SourceId,
    /// A group that accepts it.
    pub group: GroupName,
    /// When one of its files was last written.
    pub written_at: Timestamp,
    /// First second of its newest window in the spool.
    pub newest_window: i64,
    /// The end of its last written file, if that is certain.
    pub end: Option<SourceEnd>,
}

/// The end of the file that was written last of a source's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEnd {
    /// The last bytes of the file, at most as many as a tail covers. They occur in the file only once.
    pub bytes: Vec<u8>,
    /// The file's window: first second, and offset from UTC.
    pub window: (i64, i32),
}

impl Ledger {
    /// Fills a new ledger with the batches and sources found in the spool, in one transaction, and marks it as rebuilt.
    ///
    /// `given` are names (base name and part) of files that are not batches of the ledger. No new batch gets such a name.
    pub fn restore(
        &mut self,
        batches: &[FoundBatch],
        sources: &[FoundSource],
        given: &[(String, u32)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("restore batches", |sql| {
            for (base_name, part) in given {
                sql.prepare_cached("INSERT OR IGNORE INTO given_names VALUES (?1, ?2)")?
                    .execute((base_name, part))?;
            }
            sql.execute("UPDATE identity SET rebuilt_at = ?1", [millis(now)])?;
            for source in sources {
                insert_source(sql, source, batches)?;
            }
            batches.iter().try_for_each(|batch| insert_batch(sql, batch))
        })
    }

    /// Closes the ledger and merges the write-ahead log into its file, so that the file can be moved.
    pub fn close(self) -> Result<(), LedgerError> {
        self.read("merge its files", |sql| {
            sql.pragma_update(None, "journal_mode", "DELETE")
        })
    }

    /// When the ledger was rebuilt from the spool; `None` if it never was.
    pub fn rebuilt_at(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read("find out whether it was rebuilt", |sql| {
            sql.query_row("SELECT rebuilt_at FROM identity", [], |row| {
                row::optional_time(row, "rebuilt_at")
            })
        })
    }

    /// First second of a source's newest window in the spool when the ledger was rebuilt; `None` for a source without files.
    pub fn newest_rebuilt_window(&self, source: &SourceId) -> Result<Option<i64>, LedgerError> {
        let query = "SELECT newest_window FROM rebuilt WHERE source = ?1";
        self.find("find a source's newest window", query, [source.as_str()], |row| {
            row.get(0)
        })
    }

    /// The end of a source's last file before the rebuild, if that is certain.
    pub fn source_end(&self, source: &SourceId) -> Result<Option<SourceEnd>, LedgerError> {
        let query = "SELECT end_bytes, end_window, end_offset FROM rebuilt
            WHERE source = ?1 AND end_bytes IS NOT NULL";
        self.find("find a source's end", query, [source.as_str()], |row| {
            Ok(SourceEnd {
                bytes: row.get("end_bytes")?,
                window: (row.get("end_window")?, row.get("end_offset")?),
            })
        })
    }
}

fn insert_source(sql: &Connection, found: &FoundSource, batches: &[FoundBatch]) -> SqlResult<()> {
    note_contact(sql, &found.source, &found.group, found.written_at)?;
    let of_source = batches.iter().filter(|batch| batch.batch.source == found.source);
    let lines: u64 = of_source.map(|batch| batch.contents.lines).sum();
    sql.prepare_cached("INSERT INTO rebuilt VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute((
            found.source.as_str(),
            signed(lines),
            found.newest_window,
            found.end.as_ref().map(|end| &end.bytes),
            found.end.as_ref().map(|end| end.window.0),
            found.end.as_ref().map(|end| end.window.1),
        ))
        .map(drop)
}

fn insert_batch(sql: &Connection, found: &FoundBatch) -> SqlResult<()> {
    let at = millis(found.written_at);
    let contents = found.contents;
    let id = batches::insert(sql, &found.batch, found.part, found.written_at)?;
    // An open batch still grows: it has no SHA-256 and no time of sealing.
    let is_sealed = found.state != BatchState::Open;
    sql.prepare_cached(
        "UPDATE batches SET state = :state, lines = :lines, bytes = :bytes, crc32c = :crc32c, sha256 = :sha256,
             sealed_at = :sealed_at, sent_at = :sent_at, compressed_at = :compressed_at
         WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": id.0,
        ":state": found.state.as_str(),
        ":lines": signed(contents.lines),
        ":bytes": signed(contents.bytes),
        ":crc32c": contents.crc32c,
        ":sha256": is_sealed.then_some(&found.sha256),
        ":sealed_at": is_sealed.then_some(at),
        ":sent_at": (found.state == BatchState::Sent).then_some(at),
        ":compressed_at": found.is_compressed.then_some(at),
    })?;
    for (destination, path) in &found.delivered {
        // The size of a compressed file is not known: the lines have another.
        let bytes = (!has_compressed_name(path)).then_some(signed(contents.bytes));
        sql.prepare_cached(
            "INSERT INTO deliveries (batch, destination, path, bytes, delivered_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((id.0, destination.as_str(), path, bytes, at))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::Window;
    use crate::tests::{ledger, now};

    fn batch(start: i64) -> NewBatch {
        NewBatch {
            source: "198.51.100.1".parse().expect("valid"),
            group: "web-1".parse().expect("valid"),
            log: None,
            window: Window {
                start,
                seconds: 1200,
                utc_offset: 0,
            },
            base_name: format!("a_{start}"),
        }
    }

    fn found(start: i64, part: u32, state: BatchState) -> FoundBatch {
        FoundBatch {
            batch: batch(start),
            part,
            state,
            contents: BatchContents {
                lines: 7,
                bytes: 70,
                crc32c: 1,
            },
            sha256: "e3".to_owned(),
            written_at: now(),
            is_compressed: false,
            delivered: Vec::new(),
        }
    }

    fn source() -> FoundSource {
        FoundSource {
            source: batch(0).source,
            group: batch(0).group,
            written_at: now(),
            newest_window: 2400,
            end: Some(SourceEnd {
                bytes: b"line\n".to_vec(),
                window: (2400, 0),
            }),
        }
    }

    #[test]
    fn nobody_knows_the_hash_of_a_compressed_file_that_only_counts_as_delivered() -> Result<(), Box<dyn Error>>
    {
        let (_dir, mut ledger) = ledger()?;
        let mut sent = found(0, 1, BatchState::Sent);
        let (plain, gzip, zstd) = ("plain".parse()?, "gzip".parse()?, "zstd".parse()?);
        sent.delivered = [
            (&plain, "/in/a.log"),
            (&gzip, "/in/a.log.gz"),
            (&zstd, "/in/a.log.zst"),
        ]
        .map(|(name, path): (&DestinationName, _)| (name.clone(), path.to_owned()))
        .into();
        ledger.restore(&[sent], &[source()], &[], now())?;
        let batch = ledger.batch_named("a_0")?.ok_or("restored")?;
        let expected = [
            (&plain, Some(70), Some("e3")),
            (&gzip, None, None),
            (&zstd, None, None),
        ];
        for (name, bytes, hash) in expected {
            let delivery = ledger.delivery(batch.id, name)?.ok_or("restored")?;
            assert_eq!(
                (delivery.bytes, delivery.file_hash(&batch).as_deref()),
                (bytes, hash),
                "{name}"
            );
        }
        Ok(())
    }

    #[test]
    fn no_part_number_is_used_twice_after_a_rebuild() -> Result<(), Box<dyn Error>> {
        let (_dir, mut ledger) = ledger()?;
        let batches = [found(1200, 3, BatchState::Sent), found(2400, 1, BatchState::Open)];
        let given = [("a_4800".to_owned(), 2)];
        ledger.restore(&batches, &[source()], &given, now())?;
        let expected = [(0, 1001), (0, 1002), (1200, 4), (2400, 2), (3600, 1), (4800, 3)];
        for (start, part) in expected {
            assert_eq!(ledger.open_batch(&batch(start), now())?.part, part, "{start}");
        }
        let elsewhere = NewBatch {
            source: "198.51.100.2".parse()?,
            base_name: "b".to_owned(),
            ..batch(0)
        };
        assert_eq!(ledger.open_batch(&elsewhere, now())?.part, 1);
        Ok(())
    }

    #[test]
    fn restored_ledger_is_one_file_and_adds_up() -> Result<(), Box<dyn Error>> {
        let ((dir, mut ledger), moved) = (ledger()?, tempfile::tempdir()?);
        assert_eq!(ledger.rebuilt_at()?, None);
        let batches = [found(1200, 1, BatchState::Sent), found(2400, 1, BatchState::Open)];
        ledger.restore(&batches, &[source()], &[], now())?;
        ledger.close()?;
        let files: Vec<_> = std::fs::read_dir(dir.path())?.collect();
        assert_eq!(files.len(), 1, "{files:?}");
        std::fs::copy(
            dir.path().join(crate::FILE_NAME),
            moved.path().join(crate::FILE_NAME),
        )?;

        let ledger = Ledger::open(moved.path())?;
        assert_eq!(ledger.rebuilt_at()?, Some(now()));
        assert_eq!(ledger.source_end(&batch(0).source)?, source().end);
        let totals = ledger.source_line_totals()?;
        assert_eq!((totals[0].lines_sent, totals[0].lines_batched), (14, 14));
        Ok(())
    }
}
