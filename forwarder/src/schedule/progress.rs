//! How far the batches in flight are, for people to look at: the sessions post it, the worker puts it into the ledger.
//! No clock in here.
//!
//! A batch shows only once it has been under publish_method for [`PROGRESS_EVERY`]: most are through before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use logferry_ledger::{BatchId, TransferRecord};

/// How often a session posts, and the worker passes on.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How far one batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransferProgress {
    pub(crate) batch: BatchId,
    /// Bytes of it that are sent, or compared with what is there.
    pub(crate) done: u64,
    /// Its size in bytes.
    pub(crate) total: u64,
}

/// What the sessions of one destination have posted, by session.
#[derive(Debug, Default)]
pub(crate) struct ProgressTable {
    posts: Mutex<BTreeMap<usize, SessionProgress>>,
}

#[derive(Debug)]
struct SessionProgress {
    at: Instant,
    batches: Vec<TransferRecord>,
}

impl ProgressTable {
    /// Replaces what a session posted; an empty post takes it down.
    pub(crate) fn post(
        &self,
        session: usize,
        progress: impl IntoIterator<Item = TransferProgress>,
        now: Instant,
    ) {
        let mut posts = self.posts();
        let before = posts.remove(&session);
        let with_rate = |progress: TransferProgress| TransferRecord {
            batch: progress.batch,
            bytes_done: progress.done,
            bytes_total: progress.total,
            bytes_per_second: before.as_ref().map_or(0, |post| post.rate(progress, now)),
        };
        let batches: Vec<_> = progress.into_iter().map(with_rate).collect();
        if !batches.is_empty() {
            posts.insert(session, SessionProgress { at: now, batches });
        }
    }

    /// All that is posted.
    pub(crate) fn batches(&self) -> Vec<TransferRecord> {
        self.posts()
            .values()
            .flat_map(|post| post.batches.iter().copied())
            .collect()
    }

    /// The posts, also after a session ended by a defect: no change is made in two parts.
    fn posts(&self) -> MutexGuard<'_, BTreeMap<usize, SessionProgress>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionProgress {
    /// Bytes a second that a batch has got on since.
    fn rate(&self, progress: TransferProgress, now: Instant) -> u64 {
        let millis = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let then = self.batches.iter().find(|then| then.batch == progress.batch);
        let moved = progress
            .done
            .saturating_sub(then.map_or(0, |then| then.bytes_done));
        moved.saturating_mul(1000) / millis.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::plan::tests::batches;

    #[test]
    fn rate_is_what_moved_since_the_last_post_and_an_empty_post_takes_all_down() {
        let (progress_table, batch, start) = (ProgressTable::default(), batches(&[0])[0].id, Instant::now());
        let at = |done| TransferProgress {
            batch,
            done,
            total: 900,
        };
        progress_table.post(0, [at(100)], start);
        assert_eq!(progress_table.batches()[0].bytes_per_second, 0, "not known yet");
        progress_table.post(0, [at(400)], start + Duration::from_millis(1500));
        progress_table.post(1, [at(7)], start);
        let posted: Vec<_> = progress_table
            .batches()
            .iter()
            .map(|it| (it.bytes_done, it.bytes_total, it.bytes_per_second))
            .collect();
        assert_eq!(posted, [(400, 900, 200), (7, 900, 0)]);
        // What is read back starts at its beginning.
        progress_table.post(0, [at(0)], start + Duration::from_secs(2));
        assert_eq!(progress_table.batches()[0].bytes_per_second, 0);
        progress_table.post(0, [], start);
        progress_table.post(1, [], start);
        assert_eq!(progress_table.batches(), []);
    }
}
