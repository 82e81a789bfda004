//! Deliveries: which batch is at which destination, failed attempts, resend requests, and the state of destinations.

use std::path::Path;

use jiff::Timestamp;
use logferry_protocol::names::DestinationName;
use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, named_params};
use serde::{Deserialize, Serialize};

use super::failure::FailureKind;
use super::publishing_note::{DeliveryCertainty, PublishingNote};
use crate::batches::{self, Batch, BatchId, BatchState};
use crate::row::{self, millis, signed, to_text};
use crate::{Ledger, LedgerError};

/// A batch that was published under its final name at a destination, and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBatch {
    /// Path at the destination.
    pub path: String,
    /// Its size there.
    pub bytes: u64,
    /// SHA-256 in hex of the batch's lines, uncompressed.
    pub sha256: String,
    /// SHA-256 in hex of the file there. Differs from `sha256` if the file is compressed.
    pub file_sha256: String,
    /// How that is known.
    pub certainty: DeliveryCertainty,
}

/// One batch and one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The batch.
    pub batch: BatchId,
    /// The destination.
    pub destination: DestinationName,
    /// Failed attempts so far.
    pub attempts: u32,
    /// The last error, if any.
    pub last_error: Option<String>,
    /// The kind of the last error.
    pub error_kind: Option<FailureKind>,
    /// Earliest time of the next attempt.
    pub next_attempt: Option<Timestamp>,
    /// Before delivery: what earlier attempts may have done, or may still do.
    pub publishing: Option<PublishingNote>,
    /// Path at the destination, once delivered.
    pub path: Option<String>,
    /// Size of the file there, once delivered.
    pub bytes: Option<u64>,
    /// SHA-256 in hex of the file there, once delivered; `None` for a file that was delivered before this was recorded,
    /// which is uncompressed, or that a rebuilt ledger takes for delivered. [`Self::file_hash`] tells them apart.
    pub file_sha256: Option<String>,
    /// When it was delivered; `None` before.
    pub delivered_at: Option<Timestamp>,
    /// When a pending resend to this destination was requested; `None` if none is pending.
    pub resend_requested_at: Option<Timestamp>,
    /// Whether the delivery was presumed and never proved.
    pub is_presumed: bool,
    /// When it was last published once more on request; `None` if never.
    pub resent_at: Option<Timestamp>,
}

impl Delivery {
    /// Whether the batch is delivered and no resend is pending.
    pub fn is_done(&self) -> bool {
        self.delivered_at.is_some() && self.resend_requested_at.is_none()
    }

    /// SHA-256 in hex of the file there, if it is known; then [`Self::bytes`] counts too. It is not known of a compressed file
    /// of which a rebuilt ledger knows the lines only.
    pub fn file_hash(&self, batch: &Batch) -> Option<String> {
        let is_compressed = self.path.as_deref().is_some_and(has_compressed_name);
        let of_lines = || batch.sha256.clone().filter(|_| !is_compressed);
        self.file_sha256.clone().or_else(of_lines)
    }

    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            batch: BatchId(row.get("batch")?),
            destination: row::text(row, "destination")?,
            attempts: row.get("attempts")?,
            last_error: row.get("last_error")?,
            error_kind: row::optional_variant(row, "error_kind")?,
            next_attempt: row::optional_time(row, "next_attempt")?,
            publishing: PublishingNote::from_row(row)?,
            path: row.get("path")?,
            bytes: row.get("bytes")?,
            file_sha256: row.get("file_sha256")?,
            delivered_at: row::optional_time(row, "delivered_at")?,
            resend_requested_at: row::optional_time(row, "asked_at")?,
            is_presumed: row.get("presumed")?,
            resent_at: row::optional_time(row, "resent_at")?,
        })
    }
}

/// Whether the name of the file at this path of a destination says that it is compressed: the forwarder adds `.gz` or `.zst`.
pub(crate) fn has_compressed_name(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "gz" || extension == "zst")
}

/// The result of a resend request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResendRequestOutcome {
    /// The batch is due for the destination.
    Due {
        /// Whether it was delivered there before.
        again: bool,
    },
    /// The batch was already due there.
    Waiting,
    /// The batch is not sealed yet, or its file has expired.
    Refused,
}

/// Whether a destination is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationState {
    /// The last attempt reached it.
    Up,
    /// The last attempt did not.
    Down,
    /// There was no attempt yet.
    Unknown,
}

/// The last known state of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationHealth {
    /// Its name.
    pub name: DestinationName,
    /// Whether it is reachable.
    pub state: DestinationState,
    /// The error if it is down.
    pub error: Option<String>,
    /// The kind of that error.
    pub error_kind: Option<FailureKind>,
    /// Since when it is in this state.
    pub changed_at: Timestamp,
    /// When a batch was last delivered there.
    pub last_delivery: Option<Timestamp>,
}

impl Ledger {
    /// Records that a batch is at a destination. `is_last`: every other destination has it, so it is sent.
    ///
    /// The caller moves the file to `sent/` *after* this.
    pub fn record_delivery(
        &mut self,
        batch: BatchId,
        destination: &DestinationName,
        published: &PublishedBatch,
        is_last: bool,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.record_deliveries(destination, [(batch, published, is_last)], now)
    }

    /// Records that batches are at a destination, all in one transaction; each with the published file and
    /// `is_last`, as for [`Self::record_delivery`].
    pub fn record_deliveries<'a>(
        &mut self,
        destination: &DestinationName,
        delivered: impl IntoIterator<Item = (BatchId, &'a PublishedBatch, bool)>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("record deliveries", |sql| {
            for (batch, published, is_last) in delivered {
                record(sql, batch, destination, published, now)?;
                if is_last {
                    sql.prepare_cached("UPDATE batches SET state = 'sent', sent_at = ?2 WHERE id = ?1")?
                        .execute((batch.0, millis(now)))?;
                }
            }
            sql.execute(
                "INSERT INTO destinations (name, state, changed_at, last_delivery) VALUES (?1, 'up', ?2, ?2)
                 ON CONFLICT (name) DO UPDATE SET last_delivery = ?2",
                (destination.as_str(), millis(now)),
            )
            .map(drop)
        })
    }

    /// Notes, in one transaction, the file of each batch that is about to get its final name at a destination; `None`
    /// clears the note. Call this *before* the request to the server. Before any file is removed that proves that the
    /// publication did not happen, note that the attempt gave up: then a file that is gone under both its names was
    /// published.
    pub fn note_publishing(
        &mut self,
        destination: &DestinationName,
        batches: &[(BatchId, Option<PublishingNote>)],
    ) -> Result<(), LedgerError> {
        self.write("note what is about to be published", |sql| {
            let mut note = sql.prepare_cached(
                "INSERT INTO deliveries (batch, destination, publishing, publishing_place) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (batch, destination) DO UPDATE SET publishing = ?3, publishing_place = ?4",
            )?;
            let mut clear = sql.prepare_cached(
                "UPDATE deliveries SET publishing = NULL, publishing_place = NULL WHERE batch = ?1 AND destination = ?2",
            )?;
            // A row that says nothing else was made by the note.
            let mut forget = sql.prepare_cached(
                "DELETE FROM deliveries WHERE batch = ?1 AND destination = ?2 AND attempts = 0 AND last_error IS NULL
                     AND delivered_at IS NULL AND asked_at IS NULL",
            )?;
            for (batch, publishing) in batches {
                let key = (batch.0, destination.as_str());
                if let Some(publishing) = publishing {
                    let file = publishing.file.as_ref().map(to_text);
                    note.execute((key.0, key.1, file, publishing.place_text()))?;
                } else {
                    clear.execute(key)?;
                    forget.execute(key)?;
                }
            }
            Ok(())
        })
    }

    /// Marks a sealed batch as sent, because after a change of the configuration no destination needs it any more. The
    /// caller moves the file *after* this.
    pub fn mark_sent(&mut self, batch: BatchId, now: Timestamp) -> Result<(), LedgerError> {
        let change =
            "UPDATE batches SET state = 'sent', sent_at = ?2 WHERE id = ?1 AND state IN ('ready', 'failed')";
        self.execute("note that a batch is sent", change, (batch.0, millis(now)))
    }

    /// Records a failed attempt. `gave_up`: the batch goes to `failed/` until it is tried again; the caller moves
    /// the file *after* this.
    pub fn record_failure(
        &mut self,
        batch: BatchId,
        destination: &DestinationName,
        (kind, error): (FailureKind, &str),
        next_attempt: Timestamp,
        gave_up: bool,
    ) -> Result<(), LedgerError> {
        self.write("record a failed delivery", |sql| {
            sql.prepare_cached(
                "INSERT INTO deliveries (batch, destination, attempts, last_error, error_kind, next_attempt)
                 VALUES (?1, ?2, 1, ?3, ?4, ?5)
                 ON CONFLICT (batch, destination) DO UPDATE
                 SET attempts = attempts + 1, last_error = ?3, error_kind = ?4, next_attempt = ?5",
            )?
            .execute((
                batch.0,
                destination.as_str(),
                error,
                kind.as_str(),
                millis(next_attempt),
            ))?;
            if gave_up {
                sql.execute(
                    "UPDATE batches SET state = 'failed' WHERE id = ?1 AND state = 'ready'",
                    [batch.0],
                )?;
            }
            Ok(())
        })
    }

    /// Requests that batches are sent to a destination (again). Returns the results in the order of the batches. Their
    /// files do not expire until the batches are delivered.
    pub fn request_resends(
        &mut self,
        batches: &[BatchId],
        destination: &DestinationName,
        now: Timestamp,
    ) -> Result<Vec<ResendRequestOutcome>, LedgerError> {
        self.write("request a resend of batches", |sql| {
            batches
                .iter()
                .map(|batch| request_resend(sql, *batch, destination, now))
                .collect()
        })
    }

    /// What [`Self::request_resends`] would do. Changes nothing.
    pub fn preview_resends(
        &self,
        batches: &[BatchId],
        destination: &DestinationName,
    ) -> Result<Vec<ResendRequestOutcome>, LedgerError> {
        self.read("preview a resend of batches", |sql| {
            let outcome = |batch: &BatchId| resend_outcome(sql, *batch, destination);
            batches.iter().map(outcome).collect()
        })
    }

    /// All pending resend requests, each batch with the destination.
    pub fn resend_requests(&self) -> Result<Vec<(Batch, DestinationName)>, LedgerError> {
        let query = "SELECT batches.*, destination FROM batches JOIN deliveries ON batch = id WHERE asked_at IS NOT NULL";
        self.list("list resend requests", query, [], |row| {
            Ok((Batch::from_row(row)?, row::text(row, "destination")?))
        })
    }

    /// Cancels a resend request.
    pub fn cancel_resend(
        &mut self,
        batch: BatchId,
        destination: &DestinationName,
    ) -> Result<(), LedgerError> {
        let change = "UPDATE deliveries SET asked_at = NULL WHERE batch = ?1 AND destination = ?2";
        self.execute("cancel a resend request", change, (batch.0, destination.as_str()))
    }

    /// The sent batches with a pending resend request for a destination.
    pub fn resend_requests_for(&self, destination: &DestinationName) -> Result<Vec<Batch>, LedgerError> {
        let query = "SELECT batches.* FROM batches JOIN deliveries ON batch = id
            WHERE destination = ?1 AND asked_at IS NOT NULL AND state = 'sent' AND expired_at IS NULL";
        let values = [destination.as_str()];
        self.list("list resend requests", query, values, Batch::from_row)
    }

    /// The delivery of a batch to a destination.
    pub fn delivery(
        &self,
        batch: BatchId,
        destination: &DestinationName,
    ) -> Result<Option<Delivery>, LedgerError> {
        self.read("find a delivery", |sql| find(sql, batch, destination))
    }

    /// The deliveries of a batch to all destinations.
    pub fn deliveries(&self, batch: BatchId) -> Result<Vec<Delivery>, LedgerError> {
        let query = "SELECT * FROM deliveries WHERE batch = ?1 ORDER BY destination";
        self.list("list deliveries", query, [batch.0], Delivery::from_row)
    }

    /// Records whether a destination is reachable; `error` is the reason if it is not.
    pub fn note_destination(
        &mut self,
        destination: &DestinationName,
        error: Option<(FailureKind, &str)>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let state = if error.is_none() { "up" } else { "down" };
        let (kind, error) = error.map(|(kind, text)| (kind.as_str(), text)).unzip();
        let change = "INSERT INTO destinations (name, state, error, error_kind, changed_at) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (name) DO UPDATE SET
                changed_at = CASE WHEN state = ?2 THEN changed_at ELSE ?5 END,
                state = ?2, error = ?3, error_kind = ?4";
        let values = (destination.as_str(), state, error, kind, millis(now));
        self.execute("note a destination's health", change, values)
    }

    /// What the forwarder last saw of a destination; `None` before the first attempt.
    pub fn destination(&self, name: &DestinationName) -> Result<Option<DestinationHealth>, LedgerError> {
        let query = "SELECT * FROM destinations WHERE name = ?1";
        self.find("find a destination", query, [name.as_str()], |row| {
            Ok(DestinationHealth {
                name: row::text(row, "name")?,
                state: row::variant(row, "state")?,
                error: row.get("error")?,
                error_kind: row::optional_variant(row, "error_kind")?,
                changed_at: row::time(row, "changed_at")?,
                last_delivery: row::optional_time(row, "last_delivery")?,
            })
        })
    }
}

pub(crate) fn find(
    sql: &Connection,
    batch: BatchId,
    destination: &DestinationName,
) -> SqlResult<Option<Delivery>> {
    sql.prepare_cached("SELECT * FROM deliveries WHERE batch = ?1 AND destination = ?2")?
        .query_row((batch.0, destination.as_str()), Delivery::from_row)
        .optional()
}

fn resend_outcome(
    sql: &Connection,
    batch: BatchId,
    destination: &DestinationName,
) -> SqlResult<ResendRequestOutcome> {
    let found = batches::by_id(sql, batch)?;
    if found.state == BatchState::Open || found.expired_at.is_some() {
        return Ok(ResendRequestOutcome::Refused);
    }
    let known = find(sql, batch, destination)?;
    let again = known
        .as_ref()
        .is_some_and(|delivery| delivery.delivered_at.is_some());
    let is_pending = known.is_some_and(|delivery| delivery.resend_requested_at.is_some());
    if is_pending || (found.state != BatchState::Sent && !again) {
        return Ok(ResendRequestOutcome::Waiting);
    }
    Ok(ResendRequestOutcome::Due { again })
}

fn request_resend(
    sql: &Connection,
    batch: BatchId,
    destination: &DestinationName,
    now: Timestamp,
) -> SqlResult<ResendRequestOutcome> {
    let outcome = resend_outcome(sql, batch, destination)?;
    if !matches!(outcome, ResendRequestOutcome::Due { .. }) {
        return Ok(outcome);
    }
    sql.prepare_cached(
        "INSERT INTO deliveries (batch, destination, asked_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (batch, destination) DO UPDATE
         SET asked_at = ?3, attempts = 0, last_error = NULL, next_attempt = NULL",
    )?
    .execute((batch.0, destination.as_str(), millis(now)))?;
    Ok(outcome)
}

fn record(
    sql: &Connection,
    batch: BatchId,
    destination: &DestinationName,
    published: &PublishedBatch,
    now: Timestamp,
) -> SqlResult<()> {
    sql.prepare_cached(
        "INSERT INTO deliveries (batch, destination, path, bytes, file_sha256, delivered_at, presumed)
         VALUES (:batch, :destination, :path, :bytes, :file_sha256, :now, :presumed)
         ON CONFLICT (batch, destination) DO UPDATE
         SET resent_at = CASE WHEN delivered_at NOTNULL AND asked_at NOTNULL AND :is_new THEN :now ELSE resent_at END,
             path = :path, bytes = :bytes, file_sha256 = :file_sha256, delivered_at = :now, presumed = :presumed,
             publishing = NULL, publishing_place = NULL, last_error = NULL, error_kind = NULL, next_attempt = NULL,
             asked_at = NULL",
    )?
    .execute(named_params! {
        ":batch": batch.0,
        ":destination": destination.as_str(),
        ":path": published.path,
        ":bytes": signed(published.bytes),
        ":file_sha256": published.file_sha256,
        ":presumed": published.certainty == DeliveryCertainty::Presumed,
        ":is_new": published.certainty != DeliveryCertainty::Found,
        ":now": millis(now),
    })?;
    sql.prepare_cached("UPDATE batches SET sha256 = ?2 WHERE id = ?1")?
        .execute((batch.0, &published.sha256))
        .map(drop)
}
