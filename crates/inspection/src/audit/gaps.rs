//! Losses on the sources.

use logferry_ledger::{BatchFilter, GapRecord, Ledger, LedgerError};
use logferry_protocol::stream::Offset;
use logferry_text::count;

use super::includes_event;
use super::report::{Discrepancy, DiscrepancyKind};

/// The known losses, and the files that disappeared before their sender had read them to a known end.
///
/// With `since` or `until` in the filter, those that were noticed in that time.
pub(super) fn gaps(
    ledger: &Ledger,
    filter: &BatchFilter,
) -> Result<(Vec<Discrepancy>, Vec<Discrepancy>), LedgerError> {
    let mut gaps = ledger.gaps()?;
    gaps.retain(|gap| includes_event(filter, &gap.source, gap.noticed_at));
    let found = gaps.iter().map(discrepancy);
    Ok(found.partition(|found| found.kind == DiscrepancyKind::Gap))
}

fn discrepancy(gap: &GapRecord) -> Discrepancy {
    let (path, from) = (&gap.path, count(gap.from.get()));
    let (kind, detail) = match gap.until {
        Some(until) => {
            let until = count(until.get());
            let detail = format!(
                "{path} was deleted or truncated before it was sent: bytes {from} to {until} are lost"
            );
            (DiscrepancyKind::Gap, detail)
        }
        None if gap.from == Offset::ZERO => (
            DiscrepancyKind::Unfinished,
            format!(
                "{path} disappeared, or was cut, before its sender could read it; its lines may be in another file, or it is \
                 out of sight"
            ),
        ),
        None => (
            DiscrepancyKind::Unfinished,
            format!(
                "{path} disappeared before its sender read it to a known end; the {from} bytes read are stored"
            ),
        ),
    };
    Discrepancy {
        gap: Some(gap.clone().into()),
        ..Discrepancy::of_source(&gap.source, kind, detail)
    }
}
