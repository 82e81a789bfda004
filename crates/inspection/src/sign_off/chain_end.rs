//! Up to which record the monitor has signed, in a signed file beside the key. The records are a chain, so none between two others
//! can be taken out unnoticed; this file shows when the newest ones are cut off.

use std::path::Path;

use jiff::Timestamp;
use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::{LAST_RECORD_FILE, Ledger, LedgerError, SignedRecord};
use serde::{Deserialize, Serialize};

use super::key::{KEY_FILE, PUBLIC_KEY_FILE, PublicKey, SigningKeyFile};
use super::record::{WindowRecord, text_hash};

/// The newest record when the file was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainEnd {
    /// The ledger's id.
    ledger: String,
    /// The record's number; 0 if there was none.
    number: u64,
    /// SHA-256 of its text; empty if there was none.
    record: String,
    signed_at: Timestamp,
    /// The public key.
    key: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct SignedEnd {
    /// The signed text.
    content: String,
    /// In hex.
    signature: String,
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChainEndFile {
    Missing,
    /// Something else than was written.
    Changed,
    Signed(ChainEnd, Box<PublicKey>),
}

/// What the ledger has of the chain.
#[derive(Debug)]
pub(crate) struct LedgerChain {
    pub(super) ledger: String,
    pub(super) last: Option<SignedRecord>,
    /// The record with the number in the file.
    at_end: Option<SignedRecord>,
    /// When the ledger was restored from a backup last.
    restored_at: Option<Timestamp>,
}

impl ChainEndFile {
    /// The file of a data folder. To be read before the ledger, which only grows.
    pub(crate) fn read(data_dir: &Path) -> Result<Self, DiskError> {
        let bytes = RealDisk.read(&data_dir.join(LAST_RECORD_FILE))?;
        Ok(bytes.map_or(Self::Missing, |bytes| {
            Self::of_text(&bytes).unwrap_or(Self::Changed)
        }))
    }

    fn of_text(text: &[u8]) -> Option<Self> {
        let signed: SignedEnd = serde_json::from_slice(text).ok()?;
        let end: ChainEnd = serde_json::from_str(&signed.content).ok()?;
        let key = PublicKey::of_text(end.key.as_bytes())?;
        key.has_signed(signed.content.as_bytes(), &signed.signature)
            .then(|| Self::Signed(end, Box::new(key)))
    }

    fn number(&self) -> u64 {
        match self {
            Self::Missing | Self::Changed => 0,
            Self::Signed(end, _) => end.number,
        }
    }

    /// Whether the file is about the newest record.
    pub(super) fn is_of(&self, chain: &LedgerChain) -> bool {
        let (number, record) = newest(chain.last.as_ref());
        matches!(self, Self::Signed(end, _) if (&end.ledger, end.number, &end.record) == (&chain.ledger, number, &record))
    }

    /// Why the ledger's records are not those that were signed up to the file, and what to do; `None` if they are, or if a restore
    /// explains it. `key`: the one of this host.
    pub(crate) fn fault(&self, chain: &LedgerChain, key: Option<&PublicKey>) -> Option<String> {
        match self {
            // After that the file says nothing of the records.
            Self::Signed(_, own) if key.is_some_and(|key| *key != **own) => Some(format!(
                "{LAST_RECORD_FILE} is signed by another key than this host's: if the key was made anew, move {LAST_RECORD_FILE} away; \
                 if not, somebody or something changed that file or the key"
            )),
            _ => self.difference(chain, key).map(|difference| {
                format!(
                    "{difference}; somebody or something changed ledger.db or that file. See what else `logferry audit` finds; to \
                     go on from the records that are there, move {KEY_FILE}, {PUBLIC_KEY_FILE} and {LAST_RECORD_FILE} away: a new \
                     key is made"
                )
            }),
        }
    }

    /// How the ledger's records differ from the file, whichever key has signed it.
    fn difference(&self, chain: &LedgerChain, key: Option<&PublicKey>) -> Option<String> {
        let is_explained = |at: Timestamp| chain.restored_at.is_some_and(|restored| restored >= at);
        match self {
            Self::Changed => Some(format!("{LAST_RECORD_FILE} is not as it was written")),
            // Records of earlier versions came without the file.
            Self::Missing => {
                let last = chain.last.as_ref()?;
                let (record, own) = WindowRecord::of_text(&last.content, &last.signature).ok()?;
                let is_lost = record.with_chain_end && key == Some(&own) && !is_explained(record.signed_at);
                is_lost.then(|| {
                    format!(
                        "{LAST_RECORD_FILE} is missing, which was written with record {}",
                        record.number
                    )
                })
            }
            Self::Signed(end, _) if is_explained(end.signed_at) => None,
            Self::Signed(end, _) if end.ledger != chain.ledger => Some(format!(
                "{LAST_RECORD_FILE} is about another ledger, {}",
                end.ledger
            )),
            Self::Signed(end, _) => {
                let (_, found) = newest(chain.at_end.as_ref());
                let last = chain.last.as_ref().map_or(0, |last| last.number);
                (found != end.record).then(|| {
                    format!(
                        "{} records were signed until {}, and record {0} is missing or another one: the last in the ledger is \
                         number {last}",
                        end.number, end.signed_at
                    )
                })
            }
        }
    }
}

impl LedgerChain {
    pub(crate) fn read(ledger: &Ledger, file: &ChainEndFile) -> Result<Self, LedgerError> {
        Ok(Self {
            ledger: ledger.id()?.to_string(),
            last: ledger.last_window_record()?,
            at_end: ledger.window_record(file.number())?,
            restored_at: ledger.restores()?.last().map(|restore| restore.restored_at),
        })
    }
}

/// Writes the file for this newest record.
pub(super) fn write_chain_end(
    data_dir: &Path,
    ledger: &str,
    last: Option<&SignedRecord>,
    key: &SigningKeyFile,
    now: Timestamp,
) -> Result<(), DiskError> {
    let (number, record) = newest(last);
    let end = ChainEnd {
        ledger: ledger.to_owned(),
        number,
        record,
        signed_at: now,
        key: key.public().to_string(),
    };
    // Texts and a number only: this cannot fail.
    let content = serde_json::to_string(&end).unwrap_or_default();
    let signature = key.sign(content.as_bytes());
    let text = serde_json::to_string(&SignedEnd { content, signature }).unwrap_or_default() + "\n";
    RealDisk.replace(&data_dir.join(LAST_RECORD_FILE), text.as_bytes())
}

/// Number and hash of a record; 0 and an empty text for none.
fn newest(record: Option<&SignedRecord>) -> (u64, String) {
    record.map_or_else(Default::default, |record| {
        (record.number, text_hash(&record.content))
    })
}
