//! The progress of the batches in flight, for `logferry status`: the sessions post it, the worker puts it into the ledger.
//! No clock in here.
//!
//! A batch is shown only after [`PROGRESS_EVERY`] in flight: most batches are delivered before.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use logferry_ledger::TransferRecord;

use crate::lock;

/// How often a session posts its progress, and the worker notes it.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The posted progress of a destination's sessions, by session.
#[derive(Debug, Default)]
pub(crate) struct TransferProgressTable {
    posts: Mutex<BTreeMap<usize, SessionProgress>>,
}

#[derive(Debug)]
struct SessionProgress {
    at: Instant,
    batches: Vec<TransferRecord>,
}

impl TransferProgressTable {
    /// Replaces the progress of a session and computes the rates; without batches, removes it.
    pub(crate) fn post(
        &self,
        session: usize,
        progress: impl IntoIterator<Item = TransferRecord>,
        now: Instant,
    ) {
        let mut posts = lock(&self.posts);
        let before = posts.remove(&session);
        let with_rate = |progress: TransferRecord| TransferRecord {
            bytes_per_second: before.as_ref().map_or(0, |post| post.rate(progress, now)),
            ..progress
        };
        let batches: Vec<_> = progress.into_iter().map(with_rate).collect();
        if !batches.is_empty() {
            posts.insert(session, SessionProgress { at: now, batches });
        }
    }

    /// All batches in flight.
    pub(crate) fn batches(&self) -> Vec<TransferRecord> {
        let posts = lock(&self.posts);
        posts
            .values()
            .flat_map(|post| post.batches.iter().copied())
            .collect()
    }
}

impl SessionProgress {
    /// Bytes per second of a batch since this post.
    fn rate(&self, progress: TransferRecord, now: Instant) -> u64 {
        let millis = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let then = self.batches.iter().find(|then| then.batch == progress.batch);
        let moved = progress
            .bytes_done
            .saturating_sub(then.map_or(0, |then| then.bytes_done));
        moved.saturating_mul(1000) / millis.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::plan::tests::batches;

    #[test]
    fn rate_is_measured_since_the_last_post_and_an_empty_post_removes_all() {
        let (table, batch, start) = (
            TransferProgressTable::default(),
            batches(&[0])[0].id,
            Instant::now(),
        );
        let at = |bytes_done| TransferRecord {
            batch,
            bytes_done,
            bytes_total: 900,
            bytes_per_second: 0,
        };
        table.post(0, [at(100)], start);
        assert_eq!(
            table.batches()[0].bytes_per_second,
            0,
            "unknown at the first post"
        );
        table.post(0, [at(400)], start + Duration::from_millis(1500));
        table.post(1, [at(7)], start);
        let posted: Vec<_> = table
            .batches()
            .iter()
            .map(|it| (it.bytes_done, it.bytes_total, it.bytes_per_second))
            .collect();
        assert_eq!(posted, [(400, 900, 200), (7, 900, 0)]);
        // A read-back starts at the beginning again.
        table.post(0, [at(0)], start + Duration::from_secs(2));
        assert_eq!(table.batches()[0].bytes_per_second, 0);
        table.post(0, [], start);
        table.post(1, [], start);
        assert_eq!(table.batches(), []);
    }
}
