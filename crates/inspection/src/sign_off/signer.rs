//! What the monitor signs at each look.

use std::ops::Range;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{Ledger, LedgerError, SignedRecord};

use super::key::{KeyError, SigningKeyFile};
use super::record::make_record;

/// A window is signed so long after its end: most late lines have come by then.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Late parts get a record while their window is at most so much older than the newest signed one. So many rows are read at
/// each look: some ten thousand with 300 sources.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24);

/// Windows that one look signs: some ten milliseconds. The first look at an old ledger has thousands to sign.
const WINDOWS_MAX: u32 = 20;

/// Why windows cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Signs some of the windows that are complete and not signed. Returns how many.
pub fn sign_windows(ledger: &mut Ledger, data_dir: &Path, now: Timestamp) -> Result<usize, SignError> {
    let (newest, next) = ledger.signing_place()?;
    let Some((oldest, latest)) = newest.or(next).zip(next.or(newest)) else {
        return Ok(0);
    };
    let starts = Range {
        start: oldest.checked_sub(LOOK_BACK).unwrap_or(oldest),
        end: latest.checked_add(LOOK_BACK).unwrap_or(latest),
    };
    let settled = now.checked_sub(SETTLED_AFTER).unwrap_or(now);
    let windows = ledger.windows_to_sign(starts, settled, WINDOWS_MAX)?;
    if windows.is_empty() {
        return Ok(0);
    }
    let (key, id) = (SigningKeyFile::open_or_create(data_dir)?, ledger.id()?);
    let mut last = ledger.last_window_record()?;
    let mut records: Vec<SignedRecord> = Vec::new();
    for window in windows {
        let rows = ledger.covered_batches(&window)?;
        if let Some(record) = make_record(&id.to_string(), last.as_ref(), window, &rows, &key, now) {
            last = Some(record.clone());
            records.push(record);
        }
    }
    // A crash before this leaves the windows unsigned: the next look signs them.
    ledger.add_window_records(&records)?;
    Ok(records.len())
}
