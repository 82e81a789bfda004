//! A file about one signed window, to be checked elsewhere: its records as they were signed, and the rows that they cover. Pure.
//!
//! The file needs no ledger. Who has it and the public key can tell that nothing in it was changed: the signature covers the
//! sums and the hash of the rows, and the rows name each file with its lines, bytes and SHA-256.

use jiff::Timestamp;
use logferry_ledger::{Batch, SignedRecord};
use serde::{Deserialize, Serialize};

use super::key::PublicKey;
use super::record::{WindowRecord, lines_digest, row_line};

/// What the file is, for people and for programs.
const KIND: &str = "logferry signed window";

/// One signed window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowProof {
    kind: String,
    /// The records of the window, in the order of signing: late parts have one of their own.
    records: Vec<ProofRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ProofRecord {
    /// The signed text.
    content: String,
    /// In hex.
    signature: String,
    /// The rows that it covers: number, name, window, source, group, log, lines, bytes, CRC-32C, SHA-256.
    rows: Vec<String>,
}

/// What a genuine file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenWindow {
    /// First second of the window.
    pub start: i64,
    /// Its length in seconds.
    pub seconds: u32,
    /// Batches of all records.
    pub batches: u64,
    /// Their lines.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last record was signed.
    pub signed_at: Timestamp,
    /// The key that fits all signatures.
    pub key: PublicKey,
}

/// Why a file about a window proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// It is another text.
    #[error("it is no file about a signed window")]
    NoProof,
    /// A signature does not fit.
    #[error("a record in it was changed after it was signed")]
    Changed,
    /// The rows are not those that were signed.
    #[error("the rows in it are not those that were signed")]
    Rows,
    /// The records do not belong together.
    #[error("the records in it are not of one window, one ledger and one key")]
    Mixed,
    /// Each record goes on where the one before it ended.
    #[error("a record of the window is missing in it, or there twice")]
    Row,
}

impl WindowProof {
    /// Of these records of one window, each with the rows that it covers.
    pub fn new(records: impl IntoIterator<Item = (SignedRecord, Vec<Batch>)>) -> Self {
        let records = records.into_iter().map(|(signed, rows)| ProofRecord {
            content: signed.content,
            signature: signed.signature,
            rows: rows.iter().map(row_line).collect(),
        });
        Self {
            kind: KIND.to_owned(),
            records: records.collect(),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        // Texts only: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Whether a text looks like such a file, genuine or not.
    pub fn is_meant(text: &[u8]) -> bool {
        text.trim_ascii_start().starts_with(b"{")
    }

    /// Checks a text, and says what it proves.
    pub fn check(text: &[u8]) -> Result<ProvenWindow, ProofFault> {
        let proof: Self = serde_json::from_slice(text).map_err(|_| ProofFault::NoProof)?;
        if proof.kind != KIND {
            return Err(ProofFault::NoProof);
        }
        let mut proven: Option<ProvenWindow> = None;
        let mut before: Option<WindowRecord> = None;
        for signed in &proof.records {
            let (record, key) =
                WindowRecord::of_text(&signed.content, &signed.signature).map_err(|_| ProofFault::Changed)?;
            if lines_digest(&signed.rows) != record.rows {
                return Err(ProofFault::Rows);
            }
            let window = proven.get_or_insert(ProvenWindow {
                start: record.window_start,
                seconds: record.window_seconds,
                batches: 0,
                lines: 0,
                bytes: 0,
                signed_at: record.signed_at,
                key,
            });
            let is_same_ledger = before
                .as_ref()
                .is_none_or(|before| before.ledger == record.ledger);
            let is_same = (window.start, window.seconds, window.key)
                == (record.window_start, record.window_seconds, key);
            if !is_same || !is_same_ledger {
                return Err(ProofFault::Mixed);
            }
            let (number, last) = before.map_or((0, 0), |before| (before.number, before.last));
            if record.number <= number || record.after != last {
                return Err(ProofFault::Row);
            }
            window.batches += record.batches;
            window.lines += record.lines;
            window.bytes += record.bytes;
            window.signed_at = window.signed_at.max(record.signed_at);
            before = Some(record);
        }
        proven.ok_or(ProofFault::NoProof)
    }
}

#[cfg(test)]
mod tests {
    use logferry_ledger::{BatchFilter, BatchState, Ledger, WindowPart};
    use logferry_testkit::batches::{add_batch, new_batch};

    use super::super::record::make_record;
    use super::super::{SigningKeyFile, sign_page};
    use super::*;

    /// Two records of one window, signed with the key.
    fn proof(dir: &std::path::Path, key: &SigningKeyFile) -> WindowProof {
        let mut ledger = Ledger::open_or_create(dir).expect("a ledger");
        let now = Timestamp::from_second(1_795_300_000).expect("a time");
        let mut records = Vec::new();
        let (mut before, mut after) = (None, None);
        for name in ["b1", "b2"] {
            let new = new_batch("198.51.100.1", name);
            let batch = add_batch(&mut ledger, &new, b"one\ntwo\n", BatchState::Sent, now);
            let covers = WindowPart {
                window_start: batch.window.start,
                window_seconds: batch.window.seconds,
                after: after.unwrap_or(batch.id.before()),
                last: batch.id,
            };
            let rows = ledger.covered_batches(&covers).expect("read");
            let record = make_record("l", before.as_ref(), covers, &rows, key, now).expect("a record");
            (before, after) = (Some(record.clone()), Some(batch.id));
            records.push((record, rows));
        }
        assert_eq!(ledger.batches(&BatchFilter::default()).expect("read").len(), 2);
        WindowProof::new(records)
    }

    #[test]
    fn a_file_proves_its_sums_and_rows_and_any_change_of_them_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = SigningKeyFile::open_or_create(dir.path()).expect("a key");
        let text = proof(dir.path(), &key).to_text();
        let proven = WindowProof::check(text.as_bytes()).expect("genuine");
        assert_eq!((proven.batches, proven.lines, proven.bytes), (2, 4, 16));
        assert_eq!((proven.start, proven.seconds), (1_795_227_600, 1200));
        assert_eq!(proven.key, key.public());
        for (from, to) in [
            ("b1\\t", "b9\\t"),
            ("\\\"lines\\\":2", "\\\"lines\\\":3"),
            ("\\t2\\t8\\t", "\\t3\\t8\\t"),
            ("\"signature\": \"", "\"signature\": \"0"),
            ("logferry signed window", "another"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from} is in it");
            assert!(WindowProof::check(changed.as_bytes()).is_err(), "{from}");
        }
        assert!(WindowProof::check(b"{}").is_err());
        let none = "{\"kind\": \"logferry signed window\", \"records\": []}";
        assert_eq!(WindowProof::check(none.as_bytes()), Err(ProofFault::NoProof));
    }

    #[test]
    fn records_of_two_keys_prove_nothing() {
        let (dir, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let keys = [&dir, &other].map(|dir| SigningKeyFile::open_or_create(dir.path()).expect("a key"));
        let (mut one, two) = (proof(dir.path(), &keys[0]), proof(other.path(), &keys[1]));
        one.records.extend(two.records);
        assert_eq!(
            WindowProof::check(one.to_text().as_bytes()),
            Err(ProofFault::Mixed)
        );
    }

    #[test]
    fn a_record_that_is_left_out_or_repeated_is_noticed_except_the_last() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = SigningKeyFile::open_or_create(dir.path()).expect("a key");
        let whole = proof(dir.path(), &key);
        let check = |numbers: &[usize]| {
            let records = numbers.iter().map(|number| whole.records[*number].clone());
            let part = WindowProof {
                records: records.collect(),
                ..whole.clone()
            };
            WindowProof::check(part.to_text().as_bytes()).map(|proven| proven.batches)
        };
        assert_eq!(check(&[0, 1]), Ok(2));
        for part in [&[1][..], &[0, 0], &[0, 1, 1], &[1, 0]] {
            assert_eq!(check(part), Err(ProofFault::Row), "{part:?}");
        }
        assert_eq!(check(&[0]), Ok(1), "nothing says that one is missing");
    }

    #[test]
    fn a_page_is_told_from_a_file_about_a_window() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = SigningKeyFile::open_or_create(dir.path()).expect("a key");
        assert!(WindowProof::is_meant(
            proof(dir.path(), &key).to_text().as_bytes()
        ));
        assert!(!WindowProof::is_meant(
            sign_page("<!doctype html>\n", &key).as_bytes()
        ));
    }
}
