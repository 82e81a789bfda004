//! Lines that may be stored twice since the ledger was rebuilt from the spool.

use logferry_ledger::{BatchFilter, Ledger, LedgerError, PossibleDuplicate};
use logferry_text::count;

use super::includes_event;
use super::report::{Discrepancy, DiscrepancyKind};

/// One warning for each stream that went on in the rebuilt ledger, at an offset before the end of its stored lines.
pub(super) fn warnings(ledger: &Ledger, filter: &BatchFilter) -> Result<Vec<Discrepancy>, LedgerError> {
    let duplicates = ledger.possible_duplicates()?.into_iter();
    let included = duplicates.filter(|it| includes_event(filter, &it.source, it.noticed_at));
    let warning = |duplicate: PossibleDuplicate| {
        let (log, stream) = (&duplicate.log, duplicate.stream);
        let (from, until) = (count(duplicate.from.get()), count(duplicate.until.get()));
        let detail = format!(
            "the ledger was rebuilt: lines of log {log} (stream {stream}, bytes {from} to {until}) may be stored twice"
        );
        Discrepancy::of_source(&duplicate.source, DiscrepancyKind::MaybeDoubled, detail)
    };
    Ok(included.map(warning).collect())
}
