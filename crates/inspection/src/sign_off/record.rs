//! The text of a record. Pure.
//!
//! Each record has the hash of the text before, so that none can be taken out of their row unnoticed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use logferry_ledger::{Batch, BatchId, SignedRecord, WindowPart};
use logferry_text::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::{PublicKey, SigningKeyFile};

/// What is signed of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowRecord {
    /// The ledger's id.
    pub(crate) ledger: String,
    pub(crate) number: u64,
    /// SHA-256 of the text of the record before; empty for the first.
    pub(crate) previous: String,
    pub(crate) window_start: i64,
    pub(crate) window_seconds: u32,
    /// The numbers of the covered batches are larger than this,
    pub(crate) after: i64,
    /// and at most this.
    pub(crate) last: i64,
    pub(crate) sources: u64,
    pub(crate) batches: u64,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// SHA-256 over the rows of the covered batches: [`rows_digest`].
    pub(crate) rows: String,
    pub(crate) signed_at: Timestamp,
    /// The public key.
    pub(crate) key: String,
    /// The version of logferry that signed.
    pub(crate) version: String,
    /// Whether the file of the chain's end was there when the record was made. Earlier versions had none.
    #[serde(default)]
    pub(crate) with_chain_end: bool,
}

/// Why a record is not what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordFault {
    /// The text is no record, or says something else than its row.
    Text,
    /// The signature does not fit the text.
    Signature,
    /// The record before is missing, or another one.
    Chain,
}

/// Makes the next record. `before`: the last one.
pub(crate) fn make_record(
    ledger: &str,
    before: Option<&SignedRecord>,
    covers: WindowPart,
    rows: &[Batch],
    key: &SigningKeyFile,
    now: Timestamp,
) -> Option<SignedRecord> {
    let sources: BTreeSet<_> = rows.iter().map(|batch| &batch.source).collect();
    let batches = u64::try_from(rows.len()).ok()?;
    let record = WindowRecord {
        ledger: ledger.to_owned(),
        number: before.map_or(0, |before| before.number) + 1,
        previous: before
            .map(|before| text_hash(&before.content))
            .unwrap_or_default(),
        window_start: covers.window_start,
        window_seconds: covers.window_seconds,
        after: covers.after.number(),
        last: covers.last.number(),
        sources: u64::try_from(sources.len()).ok()?,
        batches,
        lines: rows.iter().map(|batch| batch.contents.lines).sum(),
        bytes: rows.iter().map(|batch| batch.contents.bytes).sum(),
        rows: rows_digest(rows),
        signed_at: now,
        key: key.public().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        with_chain_end: true,
    };
    let content = serde_json::to_string(&record).ok()?;
    Some(SignedRecord {
        number: record.number,
        covers,
        batches,
        signature: key.sign(content.as_bytes()),
        content,
    })
}

impl WindowRecord {
    /// Reads a record and checks it: its signature by the key that it names, its row, and that it follows `before`. Without one
    /// before it must be the first.
    pub(crate) fn read(signed: &SignedRecord, before: Option<&SignedRecord>) -> Result<Self, RecordFault> {
        let (record, _) = Self::of_text(&signed.content, &signed.signature)?;
        if (record.number, record.covers(), record.batches) != (signed.number, signed.covers, signed.batches)
        {
            return Err(RecordFault::Text);
        }
        let (number, hash) = before.map_or((0, String::new()), |before| {
            (before.number, text_hash(&before.content))
        });
        if record.number != number + 1 || record.previous != hash {
            return Err(RecordFault::Chain);
        }
        Ok(record)
    }

    /// Reads the text of a record and checks its signature. Also returns the key that it names, which fits the signature.
    pub(crate) fn of_text(content: &str, signature: &str) -> Result<(Self, PublicKey), RecordFault> {
        let record: Self = serde_json::from_str(content).map_err(|_| RecordFault::Text)?;
        let own = PublicKey::of_text(record.key.as_bytes()).ok_or(RecordFault::Text)?;
        if own.has_signed(content.as_bytes(), signature) {
            Ok((record, own))
        } else {
            Err(RecordFault::Signature)
        }
    }

    fn covers(&self) -> WindowPart {
        WindowPart {
            window_start: self.window_start,
            window_seconds: self.window_seconds,
            after: BatchId::of_number(self.after),
            last: BatchId::of_number(self.last),
        }
    }
}

/// SHA-256 over what never changes of delivered batches: one line for each, in the order of their opening.
pub(crate) fn rows_digest(rows: &[Batch]) -> String {
    lines_digest(rows.iter().map(row_line))
}

/// The same over the lines.
pub(super) fn lines_digest(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.as_ref());
        hash.update("\n");
    }
    hex(&hash.finalize())
}

/// What never changes of a delivered batch: number, name, window, source, group, log, lines, bytes, CRC-32C and SHA-256, with tabs
/// between them.
pub(super) fn row_line(batch: &Batch) -> String {
    let log = batch.log.as_ref().map(ToString::to_string).unwrap_or_default();
    let (contents, sha256) = (batch.contents, batch.sha256.as_deref().unwrap_or_default());
    format!(
        "{}\t{}\t{}\t{}\t{}\t{log}\t{}\t{}\t{}\t{sha256}",
        batch.id,
        batch.name(),
        batch.window.start,
        batch.source,
        batch.group,
        contents.lines,
        contents.bytes,
        contents.crc32c,
    )
}

pub(super) fn text_hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}
