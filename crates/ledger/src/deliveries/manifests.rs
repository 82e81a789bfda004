//! Window manifests: their exact contents, and the batches that they list.
//!
//! A manifest is recorded before it goes anywhere, so every delivery attempt sends the same bytes.

use jiff::Timestamp;
use logferry_protocol::names::{DestinationName, SourceId};
use logferry_time_windows::Window;
use rusqlite::{Result as SqlResult, Row, named_params};

use super::delivery::{self, Delivery};
use super::publishing_note::PublishingNote;
use crate::batches::{Batch, BatchFilter, BatchId};
use crate::row::{self, millis};
use crate::streams::FORGOTTEN_AFTER;
use crate::{Ledger, LedgerError};

/// The ledger's number of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId(i64);

/// A window manifest as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Its number.
    pub id: ManifestId,
    /// Its window.
    pub window: Window,
    /// 1 for the first of that window, 2 for the next.
    pub revision: u32,
    /// The name of its file.
    pub name: String,
    /// Its content; empty after delivery.
    pub content: String,
    /// When it was written.
    pub written_at: Timestamp,
    /// Failed attempts to deliver it.
    pub attempts: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// Earliest time of the next attempt.
    pub next_attempt: Option<Timestamp>,
    /// Before delivery: what earlier attempts may have done, or may still do.
    pub publishing: Option<PublishingNote>,
}

/// A manifest to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewManifest {
    /// Its window.
    pub window: Window,
    /// 1 for the first of that window, 2 for the next.
    pub revision: u32,
    /// The name of its file.
    pub name: String,
    /// Its content.
    pub content: String,
    /// The batches it lists.
    pub batches: Vec<BatchId>,
}

/// A batch of a window, for a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowBatch {
    /// The batch.
    pub batch: Batch,
    /// Its delivery to the destination.
    pub delivery: Option<Delivery>,
    /// Whether a manifest lists it already.
    pub is_listed: bool,
}

/// The progress of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceProgress {
    /// The source.
    pub source: SourceId,
    /// The time that all its live streams have reached, in seconds since 1970; without streams, the start of its
    /// newest window.
    pub reached: Option<i64>,
}

impl ManifestRecord {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            id: ManifestId(row.get("id")?),
            window: row::window(row)?,
            revision: row.get("revision")?,
            name: row.get("name")?,
            content: row.get("content")?,
            written_at: row::time(row, "written_at")?,
            attempts: row.get("attempts")?,
            last_error: row.get("last_error")?,
            next_attempt: row::optional_time(row, "next_attempt")?,
            publishing: PublishingNote::from_place(row)?,
        })
    }
}

impl Ledger {
    /// The start of window manifests for a destination: the first call since the last [`Self::end_manifests`].
    pub fn manifests_since(
        &mut self,
        destination: &DestinationName,
        now: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        self.write("note that a destination gets manifests", |sql| {
            sql.execute(
                "INSERT INTO manifest_starts (destination, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (destination.as_str(), millis(now)),
            )?;
            sql.query_row(
                "SELECT since FROM manifest_starts WHERE destination = ?1",
                [destination.as_str()],
                |row| row::time(row, "since"),
            )
        })
    }

    /// Records that a destination gets no window manifests.
    pub fn end_manifests(&mut self, destination: &DestinationName) -> Result<(), LedgerError> {
        let change = "DELETE FROM manifest_starts WHERE destination = ?1";
        let values = [destination.as_str()];
        self.execute("note that a destination gets no manifests", change, values)
    }

    /// The batches with numbers above `after` (all, if `None`) of windows that end after `since`, which no manifest of
    /// a destination lists; in the order of opening.
    pub fn batches_without_manifest(
        &self,
        destination: &DestinationName,
        since: Timestamp,
        after: Option<BatchId>,
    ) -> Result<Vec<Batch>, LedgerError> {
        let query = "SELECT * FROM batches WHERE id > ?1 AND window_start + window_seconds > ?2
            AND NOT EXISTS (SELECT 1 FROM manifest_files WHERE batch = id AND destination = ?3)
            ORDER BY id";
        let values = (
            after.map_or(i64::MIN, |id| id.0),
            since.as_second(),
            destination.as_str(),
        );
        self.list("list batches without a manifest", query, values, Batch::from_row)
    }

    /// All batches of a window, oldest first, as a destination's manifest needs them.
    pub fn batches_of_window(
        &self,
        window: Window,
        destination: &DestinationName,
    ) -> Result<Vec<WindowBatch>, LedgerError> {
        self.read("list a window's batches", |sql| {
            sql.prepare_cached(
                "SELECT batches.*, EXISTS (SELECT 1 FROM manifest_files WHERE batch = id AND destination = ?3) AS listed
                 FROM batches WHERE window_start = ?1 AND window_seconds = ?2 ORDER BY id",
            )?
            .query_map((window.start, window.seconds, destination.as_str()), |row| {
                let batch = Batch::from_row(row)?;
                Ok(WindowBatch {
                    delivery: delivery::find(sql, batch.id, destination)?,
                    is_listed: row.get("listed")?,
                    batch,
                })
            })?
            .collect()
        })
    }

    /// The windows of a destination that start at `since` or later and have a manifest.
    pub fn windows_with_manifest(
        &self,
        destination: &DestinationName,
        since: Timestamp,
    ) -> Result<Vec<Window>, LedgerError> {
        let query = "SELECT window_start, window_seconds, utc_offset FROM manifests
            WHERE destination = ?1 AND window_start >= ?2 AND revision = 1";
        let values = (destination.as_str(), since.as_second());
        self.list("list windows with a manifest", query, values, row::window)
    }

    /// The last manifest of a window at a destination, if there is one.
    pub fn last_manifest(
        &self,
        window: Window,
        destination: &DestinationName,
    ) -> Result<Option<ManifestRecord>, LedgerError> {
        let query =
            "SELECT * FROM manifests WHERE destination = ?1 AND window_start = ?2 AND window_seconds = ?3
            ORDER BY revision DESC LIMIT 1";
        let key = (destination.as_str(), window.start, window.seconds);
        self.find("find a window's manifest", query, key, ManifestRecord::from_row)
    }

    /// Whether a destination's manifest has that name already.
    pub fn has_manifest_named(&self, destination: &DestinationName, name: &str) -> Result<bool, LedgerError> {
        self.read("find a manifest", |sql| {
            sql.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM manifests WHERE destination = ?1 AND name = ?2)",
            )?
            .query_row((destination.as_str(), name), |row| row.get(0))
        })
    }

    /// Records a manifest, to be delivered.
    pub fn add_manifest(
        &mut self,
        destination: &DestinationName,
        new: &NewManifest,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("record a manifest", |sql| {
            sql.prepare_cached(
                "INSERT INTO manifests (destination, window_start, window_seconds, utc_offset, revision, name, content,
                     written_at)
                 VALUES (:destination, :start, :seconds, :utc_offset, :revision, :name, :content, :now)",
            )?
            .execute(named_params! {
                ":destination": destination.as_str(),
                ":start": new.window.start,
                ":seconds": new.window.seconds,
                ":utc_offset": new.window.utc_offset,
                ":revision": new.revision,
                ":name": new.name,
                ":content": new.content,
                ":now": millis(now),
            })?;
            let mut list = sql.prepare_cached(
                "INSERT INTO manifest_files (batch, destination) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?;
            for batch in &new.batches {
                list.execute((batch.0, destination.as_str()))?;
            }
            Ok(())
        })
    }

    /// The manifests that are not delivered to a destination yet, oldest window first.
    pub fn waiting_manifests(
        &self,
        destination: &DestinationName,
    ) -> Result<Vec<ManifestRecord>, LedgerError> {
        let query = "SELECT * FROM manifests WHERE destination = ?1 AND delivered_at IS NULL
            ORDER BY window_start, revision";
        let values = [destination.as_str()];
        self.list("list manifests", query, values, ManifestRecord::from_row)
    }

    /// The paths of the manifests that are delivered to a destination, of windows that match the filter. The filter's source is ignored.
    pub fn delivered_manifests(
        &self,
        destination: &DestinationName,
        filter: &BatchFilter,
    ) -> Result<Vec<String>, LedgerError> {
        let query = "SELECT path FROM manifests WHERE destination = :destination AND delivered_at IS NOT NULL
              AND path IS NOT NULL
              AND (:since IS NULL OR window_start + window_seconds > :since)
              AND (:until IS NULL OR window_start < :until)
            ORDER BY window_start, revision";
        self.list(
            "list delivered manifests",
            query,
            named_params! {
                ":destination": destination.as_str(),
                ":since": filter.since.map(Timestamp::as_second),
                ":until": filter.until.map(Timestamp::as_second),
            },
            |row| row.get(0),
        )
    }

    /// Notes, in one transaction, the place from which each manifest is about to be published, or that its attempt gave up;
    /// `None` removes the note. As [`Self::note_publishing`] for batches.
    pub fn note_manifest_publishing(
        &mut self,
        manifests: &[(ManifestId, Option<PublishingNote>)],
    ) -> Result<(), LedgerError> {
        self.write("note which manifests are about to be published", |sql| {
            let mut note = sql.prepare_cached("UPDATE manifests SET publishing_place = ?2 WHERE id = ?1")?;
            for (id, publishing) in manifests {
                let place = publishing.as_ref().map(PublishingNote::place_text_alone);
                note.execute((id.0, place))?;
            }
            Ok(())
        })
    }

    /// Records that a manifest is delivered, and deletes its content here.
    pub fn manifest_delivered(
        &mut self,
        id: ManifestId,
        path: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let change = "UPDATE manifests SET path = ?2, delivered_at = ?3, content = '', last_error = NULL,
                next_attempt = NULL, publishing_place = NULL
            WHERE id = ?1";
        let values = (id.0, path, millis(now));
        self.execute("record that a manifest is delivered", change, values)
    }

    /// Records a failed attempt to deliver a manifest.
    pub fn manifest_failed(
        &mut self,
        id: ManifestId,
        error: &str,
        next_attempt: Timestamp,
    ) -> Result<(), LedgerError> {
        let change =
            "UPDATE manifests SET attempts = attempts + 1, last_error = ?2, next_attempt = ?3 WHERE id = ?1";
        let values = (id.0, error, millis(next_attempt));
        self.execute("record a failed delivery of a manifest", change, values)
    }

    /// The progress of every source.
    pub fn source_progress(&self) -> Result<Vec<SourceProgress>, LedgerError> {
        // The uploads of an old shipper are a stream of the group that they come to (device and inode 0), which never ends. If
        // the shipper goes to another group, or a sender takes its place, the stream stays where it was. So it is not waited for
        // longer than a source would be.
        let query = "SELECT source, coalesce(
                (SELECT min(coalesce(last_line_time, 0)) FROM streams
                 WHERE streams.source = sources.source AND NOT finished
                     AND NOT (dev = 0 AND inode = 0 AND updated_at < sources.last_contact - ?1)),
                (SELECT max(window_start) FROM batches WHERE batches.source = sources.source)) AS reached
            FROM sources";
        let forgotten_ms = i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(i64::MAX);
        self.list("list the progress of sources", query, [forgotten_ms], |row| {
            Ok(SourceProgress {
                source: row::text(row, "source")?,
                reached: row.get("reached")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use logferry_protocol::stream::{FileKey, StreamId};

    use crate::Ledger;
    use crate::tests::{TestResult, advance, ledger, now, stream_record};

    /// A chunk of a stream whose last line has this time arrives on that day.
    fn arrive(
        ledger: &mut Ledger,
        (dev, inode): (u64, u64),
        head: u32,
        line_time: i64,
        day: i64,
    ) -> TestResult {
        let mut record = stream_record(100, 3);
        record.file = FileKey { dev, inode };
        record.stream = StreamId::derive(record.file, record.head, head);
        record.last_line_time = Some(line_time);
        record.updated_at = now() + SignedDuration::from_hours(24 * day);
        ledger.note_contact(&record.source, &"web-1".parse()?, record.updated_at)?;
        let known = ledger.stream(&record.source, record.stream)?;
        let from = known.map_or(0, |known| known.committed.get());
        record.committed = record.committed.plus(from);
        Ok(ledger.commit(&advance(from, record))?)
    }

    fn reached(ledger: &Ledger) -> Result<Option<i64>, Box<dyn std::error::Error>> {
        Ok(ledger
            .source_progress()?
            .first()
            .and_then(|source| source.reached))
    }

    #[test]
    fn uploads_to_a_group_that_an_old_shipper_left_are_not_waited_for_for_ever() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        arrive(&mut ledger, (0, 0), 1, 1000, 0)?;
        arrive(&mut ledger, (0, 0), 2, 2000, 7)?;
        assert_eq!(reached(&ledger)?, Some(1000), "both may be at work");
        arrive(&mut ledger, (0, 0), 2, 3000, 8)?;
        assert_eq!(reached(&ledger)?, Some(3000));
        arrive(&mut ledger, (0, 0), 1, 2500, 9)?;
        assert_eq!(reached(&ledger)?, Some(2500), "it is back");
        Ok(())
    }

    #[test]
    fn a_file_without_new_lines_is_waited_for() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        arrive(&mut ledger, (1, 2), 1, 1000, 0)?;
        arrive(&mut ledger, (1, 3), 1, 2000, 100)?;
        assert_eq!(reached(&ledger)?, Some(1000));
        Ok(())
    }
}
