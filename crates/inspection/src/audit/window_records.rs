//! The signed records of windows against the ledger's rows.
//!
//! Of the windows that match the filter every signature is checked, and the sums. The rows themselves are read for the newest
//! windows and for some drawn by lot, so that the audit of millions of batches takes seconds; with `--full` for all.

use std::collections::BTreeMap;
use std::path::Path;

use logferry_ledger::{BatchFilter, Ledger, SignedRecord};
use logferry_text::{count, count_of};

use super::includes_window;
use super::report::{Discrepancy, DiscrepancyKind, SignedWindows};
use super::survey::{Survey, WindowSums};
use crate::error::InspectionError;
use crate::sign_off::{ChainEndFile, LedgerChain, PublicKey, RecordFault, WindowRecord, rows_digest};
use crate::time::clamped_timestamp;

/// Signed windows whose rows are read in any case: the newest.
const NEWEST: usize = 72;

/// Of the older ones, so many drawn by lot.
const DRAWN: usize = 128;

/// The result of the comparison.
#[derive(Debug, Default)]
pub(super) struct RecordCheck {
    pub(super) signed: SignedWindows,
    pub(super) discrepancies: Vec<Discrepancy>,
    pub(super) warnings: Vec<Discrepancy>,
}

/// Whose rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowCheck {
    /// Of the newest windows, and of some drawn by lot.
    Sample,
    /// Of all.
    Full,
}

/// Compares the records of the windows that match the filter. `survey`: of these windows; with a source in the filter its sums
/// are not the windows' own, and are not compared. `records`: of these windows, each after the one before it in the ledger, read
/// at the same moment as the sums.
pub(super) fn check(
    ledger: &Ledger,
    data_dir: &Path,
    filter: &BatchFilter,
    survey: &Survey,
    records: &[SignedRecord],
    rows: RowCheck,
) -> Result<RecordCheck, InspectionError> {
    let key = PublicKey::read(data_dir)?;
    let mut check = RecordCheck::default();
    check.signed.key = key.map(|key| key.to_string());
    let cut_off = chain_fault(ledger, data_dir, key.as_ref())?;
    let cut_off = cut_off.map(|fault| Discrepancy::new(DiscrepancyKind::RecordDiffers, fault));
    check.discrepancies.extend(cut_off);
    let windows = read(records, key.as_ref(), filter, &mut check);
    check.signed.windows = windows.len() as u64;
    if filter.source.is_some() {
        return Ok(check);
    }
    let last = windows.len();
    for (number, (window, records)) in windows.iter().enumerate() {
        let sums = survey.windows.get(window).copied().unwrap_or_default();
        let told = add_up(records);
        // A part that came after the last record is signed later; what was signed stays.
        let has_more = sums.batches > told.batches && sums.lines >= told.lines && sums.bytes >= told.bytes;
        if sums != told && !has_more {
            let detail = sums_differ(&sums, &told);
            check.discrepancies.push(differs(*window, &detail));
            continue;
        }
        // Of rows that were deleted for their age only the sums are left.
        if survey.forgotten.contains(window) {
            continue;
        }
        let is_drawn = number + NEWEST >= last || rand::random_range(0..last.max(1)) < DRAWN;
        if rows == RowCheck::Full || is_drawn || has_more {
            let differences = row_differences(ledger, *window, records)?;
            check.signed.row_by_row += u64::from(differences.is_some());
            check.discrepancies.extend(differences.into_iter().flatten());
        }
    }
    Ok(check)
}

/// Why the newest records are not those that were signed.
fn chain_fault(
    ledger: &Ledger,
    data_dir: &Path,
    key: Option<&PublicKey>,
) -> Result<Option<String>, InspectionError> {
    let look = || {
        let end = ChainEndFile::read(data_dir)?;
        let fault = end.fault(&LedgerChain::read(ledger, &end)?, key);
        Ok::<_, InspectionError>((fault, end))
    };
    match look()? {
        // The monitor may have written the first one since.
        (Some(_), ChainEndFile::Missing) => Ok(look()?.0),
        (fault, _) => Ok(fault),
    }
}

/// Each record with the text that was signed, read.
type Windows<'r> = BTreeMap<(i64, u32), Vec<(&'r SignedRecord, WindowRecord)>>;

/// The genuine records by window, whichever key has signed them. What is not genuine, and by another key, is told.
fn read<'r>(
    records: &'r [SignedRecord],
    key: Option<&PublicKey>,
    filter: &BatchFilter,
    check: &mut RecordCheck,
) -> Windows<'r> {
    let (mut windows, mut before, mut other_keys) = (Windows::new(), None, BTreeMap::new());
    let key = key.map(ToString::to_string);
    for signed in records {
        let window = (signed.covers.window_start, signed.covers.window_seconds);
        // It is there only for the hash in the next one.
        if !includes_window(filter, window) {
            before = Some(signed);
            continue;
        }
        match WindowRecord::read(signed, before) {
            Ok(record) => {
                if key.as_ref().is_some_and(|key| *key != record.key) {
                    *other_keys.entry(record.key.clone()).or_insert(0_u64) += 1;
                }
                windows.entry(window).or_default().push((signed, record));
            }
            Err(fault) => {
                let number = signed.number;
                let detail = match fault {
                    RecordFault::Text => format!("record {number} of it is not the text that was signed"),
                    RecordFault::Signature => {
                        format!("the signature of record {number} does not fit its text")
                    }
                    RecordFault::Chain => {
                        format!(
                            "record {number} does not follow the one before: a record was removed or replaced"
                        )
                    }
                };
                check.discrepancies.push(differs(window, &detail));
            }
        }
        before = Some(signed);
    }
    let warning = |(key, records): (String, u64)| {
        let detail = format!(
            "{} signed windows are signed by key {key}, not by audit.pub: the key was made anew, or somebody else signed",
            count(records)
        );
        Discrepancy::new(DiscrepancyKind::RecordOfOtherKey, detail)
    };
    check.warnings.extend(other_keys.into_iter().map(warning));
    windows
}

fn add_up(records: &[(&SignedRecord, WindowRecord)]) -> WindowSums {
    let mut sums = WindowSums::default();
    for (_, record) in records {
        sums.batches += record.batches;
        sums.lines += record.lines;
        sums.bytes += record.bytes;
    }
    sums
}

fn sums_differ(found: &WindowSums, signed: &WindowSums) -> String {
    let text = |sums: &WindowSums| {
        let (batches, lines) = (count_of(sums.batches, "batch"), count_of(sums.lines, "line"));
        format!("{batches}, {lines} and {}", count_of(sums.bytes, "byte"))
    };
    format!(
        "it was signed with {}, the ledger now has {}",
        text(signed),
        text(found)
    )
}

/// How the rows of a window differ from its records. `None`: there are none to compare, since the housekeeper has deleted them
/// for their age. It may do that after the sums were read: the files of the spool are read between, which takes minutes.
fn row_differences(
    ledger: &Ledger,
    window: (i64, u32),
    records: &[(&SignedRecord, WindowRecord)],
) -> Result<Option<Vec<Discrepancy>>, InspectionError> {
    ledger.at_one_moment(|ledger| {
        let mut found = Vec::new();
        for (signed, record) in records {
            let rows = ledger.covered_batches(&signed.covers)?;
            if rows_digest(&rows) != record.rows {
                let detail = format!(
                    "rows of its batches (numbers {} to {}) are not as they were signed at {}",
                    record.after + 1,
                    record.last,
                    record.signed_at
                );
                found.push(differs(window, &detail));
            }
        }
        let is_forgotten = !found.is_empty() && ledger.is_forgotten(window)?;
        Ok((!is_forgotten).then_some(found))
    })
}

fn differs((start, seconds): (i64, u32), detail: &str) -> Discrepancy {
    let (start, end) = (
        clamped_timestamp(start),
        clamped_timestamp(start.saturating_add(i64::from(seconds))),
    );
    let detail = format!("window {start} to {end}: {detail}; somebody or something changed ledger.db");
    Discrepancy::new(DiscrepancyKind::RecordDiffers, detail)
}

#[cfg(test)]
mod tests;
