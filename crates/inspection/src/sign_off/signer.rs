//! What the monitor signs at each look.

use std::ops::Range;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use logferry_durable::DiskError;
use logferry_ledger::{Ledger, LedgerError, SignedRecord};

use super::chain_end::{ChainEndFile, LedgerChain, write_chain_end};
use super::key::{KeyError, SigningKeyFile};
use super::record::make_record;

/// A window is signed so long after its end: most late lines have come by then.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Most looks read the windows from so much before the newest signed one to so much after the next: some ten thousand rows with 300
/// sources.
const LOOK_AROUND: SignedDuration = SignedDuration::from_hours(24);

/// Windows that are signed in one transaction: some ten milliseconds.
const WINDOWS_MAX: u32 = 50;

/// Which windows a look considers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningReach {
    /// Those of the last day and the next ones.
    Recent,
    /// All: also one that was delivered long after newer ones were signed. It reads every row once, which takes a second for two
    /// million.
    All,
}

/// Why windows cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file of the chain's end cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The records are not those that were signed: new ones would hide it.
    #[error("no further window is signed: {0}")]
    Chain(String),
}

/// Signs the windows that are complete and not signed, as long as `may_go_on` says so. Returns how many.
pub fn sign_windows(
    ledger: &mut Ledger,
    data_dir: &Path,
    reach: SigningReach,
    now: Timestamp,
    mut may_go_on: impl FnMut() -> bool,
) -> Result<usize, SignError> {
    let mut signed = 0;
    while may_go_on() {
        let Some(starts) = recent(ledger)? else {
            return Ok(signed);
        };
        match sign_some(ledger, data_dir, starts, now)? {
            0 => break,
            some => signed += some,
        }
    }
    while reach == SigningReach::All && may_go_on() {
        match sign_some(ledger, data_dir, Timestamp::MIN..Timestamp::MAX, now)? {
            0 => break,
            some => signed += some,
        }
    }
    Ok(signed)
}

/// When the windows start that are most likely to be signed next; `None`: there are none.
fn recent(ledger: &Ledger) -> Result<Option<Range<Timestamp>>, LedgerError> {
    let (newest, next) = ledger.signing_place()?;
    let Some((oldest, latest)) = newest.or(next).zip(next.or(newest)) else {
        return Ok(None);
    };
    Ok(Some(Range {
        start: oldest.checked_sub(LOOK_AROUND).unwrap_or(oldest),
        end: latest.checked_add(LOOK_AROUND).unwrap_or(latest),
    }))
}

fn sign_some(
    ledger: &mut Ledger,
    data_dir: &Path,
    starts: Range<Timestamp>,
    now: Timestamp,
) -> Result<usize, SignError> {
    let settled = now.checked_sub(SETTLED_AFTER).unwrap_or(now);
    let windows = ledger.windows_to_sign(starts, settled, WINDOWS_MAX)?;
    if windows.is_empty() {
        return Ok(0);
    }
    let key = SigningKeyFile::open_or_create(data_dir)?;
    let file = ChainEndFile::read(data_dir)?;
    let chain = LedgerChain::read(ledger, &file)?;
    if let Some(fault) = file.fault(&chain, Some(&key.public())) {
        return Err(SignError::Chain(fault));
    }
    if !file.is_of(&chain) {
        write_chain_end(data_dir, &chain.ledger, chain.last.as_ref(), &key, now)?;
    }
    let LedgerChain {
        ledger: id, mut last, ..
    } = chain;
    let mut records: Vec<SignedRecord> = Vec::new();
    for window in windows {
        let rows = ledger.covered_batches(&window)?;
        if let Some(record) = make_record(&id, last.as_ref(), window, &rows, &key, now) {
            last = Some(record.clone());
            records.push(record);
        }
    }
    // A crash before this leaves the windows unsigned: the next look signs them. After it, the file is about an earlier record.
    ledger.add_window_records(&records)?;
    write_chain_end(data_dir, &id, last.as_ref(), &key, now)?;
    Ok(records.len())
}
