//! Decides what to do with each batch, from the ledger's row and the files found.
//!
//! Pure. Invariant: nothing is planned for a batch that is not sent, at any age and with any settings.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_ledger::{Batch, BatchState};
use logferry_spool::FileForm;

use crate::sent_files::SentBatch;

/// Something to do with one batch. It may be repeated, and continues where a crash stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remove the remaining files of an expired batch.
    Clear(Batch),
    /// Mark the batch as expired in the ledger, then remove its files.
    Expire(Batch),
    /// Replace `NAME.log` by `NAME.log.gz`.
    Compress(Batch),
}

impl Action {
    /// The batch.
    pub(crate) fn batch(&self) -> &Batch {
        match self {
            Self::Clear(batch) | Self::Expire(batch) | Self::Compress(batch) => batch,
        }
    }
}

/// The actions due at `now`. Deletions come first, since compression needs space.
pub(crate) fn plan(found: Vec<SentBatch>, now: Timestamp, rules: &HousekeeperSettings) -> Vec<Action> {
    let mut actions: Vec<Action> = found
        .into_iter()
        .filter_map(|found| action(found, now, rules))
        .collect();
    actions.sort_by_key(|action| matches!(action, Action::Compress(_)));
    actions
}

fn action(
    SentBatch { batch, forms }: SentBatch,
    now: Timestamp,
    rules: &HousekeeperSettings,
) -> Option<Action> {
    if batch.state != BatchState::Sent {
        return None;
    }
    if batch.expired_at.is_some() {
        return (!forms.is_empty()).then_some(Action::Clear(batch));
    }
    let sealed_at = batch.sealed_at?;
    if is_due(sealed_at, rules.delete_after, now) {
        return Some(Action::Expire(batch));
    }
    let is_old = is_due(sealed_at, rules.compress_after, now);
    is_compressible(&forms, &batch, is_old).then_some(Action::Compress(batch))
}

/// The delivered batches that go before their age when the disk fills, those that were sealed first before the others. The
/// caller carries them out one by one, as long as the disk is too full.
pub(crate) fn plan_early(found: Vec<SentBatch>) -> Vec<Action> {
    let is_early = |found: &SentBatch| {
        let SentBatch { batch, forms } = found;
        batch.state == BatchState::Sent && batch.expired_at.is_none() && !forms.is_empty()
    };
    let mut batches: Vec<Batch> = found
        .into_iter()
        .filter(is_early)
        .map(|found| found.batch)
        .collect();
    batches.sort_by_key(|batch| batch.sealed_at);
    batches.into_iter().map(Action::Expire).collect()
}

/// Whether there is an original to compress, or a compression to finish. It is unfinished if the `.log.gz` is there, and
/// the original is there too or the ledger does not have it as compressed.
fn is_compressible(forms: &BTreeSet<FileForm>, batch: &Batch, is_old: bool) -> bool {
    let has_original = forms.contains(&FileForm::Plain);
    if forms.contains(&FileForm::Compressed) {
        has_original || batch.compressed_at.is_none()
    } else {
        has_original && is_old
    }
}

/// Whether `after` has passed since `since`. A clock that was set back may put `since` in the future: then not.
fn is_due(since: Timestamp, after: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|age| age >= after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::host::{HOUR, batch, rules, sealed_at};
    use proptest::prelude::*;

    const PLAIN: &[FileForm] = &[FileForm::Plain];
    const GZIP: &[FileForm] = &[FileForm::Compressed];
    const BOTH: &[FileForm] = &[FileForm::Plain, FileForm::Compressed];

    fn found(batch: &Batch, forms: &[FileForm]) -> SentBatch {
        SentBatch {
            batch: batch.clone(),
            forms: forms.iter().copied().collect(),
        }
    }

    /// The plan for one batch, as a word.
    fn planned(batch: &Batch, forms: &[FileForm], age: Duration) -> &'static str {
        match plan(vec![found(batch, forms)], sealed_at() + age, &rules()).as_slice() {
            [] => "-",
            [Action::Clear(_)] => "clear",
            [Action::Expire(_)] => "expire",
            [Action::Compress(_)] => "compress",
            more => panic!("one batch, {} actions", more.len()),
        }
    }

    #[test]
    fn plan_for_a_sent_batch_depends_on_age_files_and_marks() {
        let sent = batch();
        let marked = Batch {
            compressed_at: Some(sealed_at()),
            ..batch()
        };
        let expired = Batch {
            expired_at: Some(sealed_at()),
            ..batch()
        };
        let partial: &[FileForm] = &[FileForm::Plain, FileForm::Partial];
        let only_partial: &[FileForm] = &[FileForm::Partial];
        // Batch and its files; the plan at an age under 3 h, from 3 h, and from 4 h.
        let golden = [
            (&sent, PLAIN, ["-", "compress", "expire"]),
            (&sent, partial, ["-", "compress", "expire"]),
            (&sent, only_partial, ["-", "-", "expire"]),
            (&sent, BOTH, ["compress", "compress", "expire"]),
            (&sent, GZIP, ["compress", "compress", "expire"]),
            (&sent, &[], ["-", "-", "expire"]),
            (&marked, GZIP, ["-", "-", "expire"]),
            (&marked, BOTH, ["compress", "compress", "expire"]),
            (&expired, PLAIN, ["clear", "clear", "clear"]),
            (&expired, only_partial, ["clear", "clear", "clear"]),
            (&expired, &[], ["-", "-", "-"]),
        ];
        for (batch, forms, [young, old, older]) in golden {
            let ages = [10_799, 10_800, 14_399, 14_400].map(Duration::from_secs);
            let words = ages.map(|age| planned(batch, forms, age));
            assert_eq!(words, [young, old, old, older], "{forms:?}");
        }
    }

    #[test]
    fn deletions_come_before_compressions_each_in_the_order_given() {
        let aged = |hours: u32, part: u32| {
            let mut batch = batch();
            batch.part = part;
            batch.sealed_at = Some(sealed_at() - hours * HOUR);
            found(&batch, PLAIN)
        };
        let all = vec![aged(3, 1), aged(5, 2), aged(3, 3), aged(5, 4)];
        let actions = plan(all, sealed_at(), &rules());
        let parts: Vec<u32> = actions.iter().map(|action| action.batch().part).collect();
        assert_eq!(parts, [2, 4, 1, 3]);
    }

    #[test]
    fn a_full_disk_takes_delivered_batches_that_have_files_oldest_first() {
        let sealed = |hours: u32, part: u32| Batch {
            part,
            sealed_at: Some(sealed_at() - hours * HOUR),
            ..batch()
        };
        let undelivered = [BatchState::Open, BatchState::Ready, BatchState::Failed];
        let others = undelivered.map(|state| {
            found(
                &Batch {
                    state,
                    ..sealed(9, 7)
                },
                PLAIN,
            )
        });
        let expired = Batch {
            expired_at: Some(sealed_at()),
            ..sealed(8, 8)
        };
        let mut all = vec![
            found(&sealed(1, 1), PLAIN),
            found(&sealed(3, 2), GZIP),
            found(&sealed(2, 3), PLAIN),
            found(&sealed(9, 4), &[]),
            found(&expired, PLAIN),
        ];
        all.extend(others);
        let actions = plan_early(all);
        let parts: Vec<u32> = actions.iter().map(|action| action.batch().part).collect();
        assert_eq!(parts, [2, 3, 1]);
    }

    #[test]
    fn a_clock_set_back_delays() {
        let rules = HousekeeperSettings {
            compress_after: Duration::ZERO,
            delete_after: Duration::ZERO,
            ..rules()
        };
        assert!(plan(vec![found(&batch(), PLAIN)], sealed_at() - HOUR, &rules).is_empty());
    }

    proptest! {
        #[test]
        fn batch_that_is_not_sent_is_left_alone(
            state in prop::sample::select(&[BatchState::Open, BatchState::Ready, BatchState::Failed]),
            forms in prop::collection::btree_set(prop::sample::select(&FileForm::SENT), 0..=3),
            is_marked: bool,
            age_s in 0_i64..1_000_000_000,
        ) {
            let mark = is_marked.then(sealed_at);
            let batch = Batch { state, compressed_at: mark, expired_at: mark, ..batch() };
            let rules = HousekeeperSettings { compress_after: Duration::ZERO, delete_after: Duration::ZERO, ..rules() };
            let now = sealed_at() + jiff::SignedDuration::from_secs(age_s);
            let found = vec![SentBatch { batch, forms }];
            prop_assert_eq!(plan_early(found.clone()), vec![]);
            prop_assert_eq!(plan(found, now, &rules), vec![]);
        }
    }
}
