//! What a ledger that was made anew cannot be certain of.

use logferry_ledger::{BatchFilter, Ledger, LedgerError, PossibleDuplicate};

use super::{Discrepancy, DiscrepancyKind};
use crate::words::count;

/// Streams that went on in a rebuilt ledger from where it is not certain that nothing after it was there.
pub(super) fn warnings(ledger: &Ledger, filter: &BatchFilter) -> Result<Vec<Discrepancy>, LedgerError> {
    let mut doubts = ledger.possible_duplicates()?;
    doubts.retain(|doubt| {
        filter
            .source
            .as_ref()
            .is_none_or(|source| *source == doubt.source)
            && filter.since.is_none_or(|since| doubt.noticed_at >= since)
            && filter.until.is_none_or(|until| doubt.noticed_at < until)
    });
    let warning = |doubt: PossibleDuplicate| Discrepancy {
        kind: DiscrepancyKind::MaybeDoubled,
        source: Some(doubt.source.to_string()),
        batch: None,
        detail: format!(
            "the ledger was made anew, and lines of log {} (stream {}, bytes {} to {}) may have come twice",
            doubt.log,
            doubt.stream,
            count(doubt.from.get()),
            count(doubt.until.get())
        ),
        gap: None,
    };
    Ok(doubts.into_iter().map(warning).collect())
}
