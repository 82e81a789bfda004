//! Restores of the ledger from a backup, for a month after each.
//!
//! It is a warning: what arrived between the backup and the restore is not in this ledger, and the senders ship it again as far
//! as their logs still have it. Nobody can know what the logs did not have any more.

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{Ledger, LedgerError, RestoreRecord};

use super::report::{Discrepancy, DiscrepancyKind};

/// So long a restore is told.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn warnings(ledger: &Ledger, now: Timestamp) -> Result<Vec<Discrepancy>, LedgerError> {
    let restores = ledger.restores()?.into_iter();
    let recent = restores.filter(|restore| now.duration_since(restore.restored_at) < TOLD_FOR);
    Ok(recent.map(warning).collect())
}

fn warning(
    RestoreRecord {
        backup_at,
        restored_at,
    }: RestoreRecord,
) -> Discrepancy {
    let detail = format!(
        "the ledger was restored at {restored_at} from a backup of {backup_at}: of the lines that arrived between, those are not in \
         it that no sender had on its disk any more"
    );
    Discrepancy::new(DiscrepancyKind::Restored, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_told_for_a_month() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let mut ledger = Ledger::open_or_create(folder.path())?;
        let now = Timestamp::from_second(1_795_230_000)?;
        assert_eq!(warnings(&ledger, now)?, []);
        ledger.note_restore(now - SignedDuration::from_hours(1), now)?;
        let told = warnings(&ledger, now)?;
        assert_eq!(
            (told.len(), told.first().map(|it| it.kind)),
            (1, Some(DiscrepancyKind::Restored))
        );
        assert_eq!(warnings(&ledger, now + TOLD_FOR)?, []);
        Ok(())
    }
}
