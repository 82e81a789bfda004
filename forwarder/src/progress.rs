//! How far the batches in flight are, for people to look at: the sessions post it, the worker puts it into the ledger.
//! No clock in here.
//!
//! A batch shows only once it has been under way for [`POST_EVERY`]: most are through before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use logferry_ledger::{BatchId, TransferProgress};

/// How often a session posts, and the worker passes on.
pub(crate) const POST_EVERY: Duration = Duration::from_secs(1);

/// How far one batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) batch: BatchId,
    /// Bytes of it that are sent, or compared with what is there.
    pub(crate) done: u64,
    /// Its size in bytes.
    pub(crate) total: u64,
}

/// What the sessions of one destination have posted, by session.
#[derive(Debug, Default)]
pub(crate) struct Board {
    posts: Mutex<BTreeMap<usize, Post>>,
}

#[derive(Debug)]
struct Post {
    at: Instant,
    batches: Vec<TransferProgress>,
}

impl Board {
    /// Replaces what a session posted; an empty post takes it down.
    pub(crate) fn post(&self, session: usize, progress: impl IntoIterator<Item = Progress>, now: Instant) {
        let mut posts = self.posts();
        let before = posts.remove(&session);
        let with_rate = |progress: Progress| TransferProgress {
            batch: progress.batch,
            bytes_done: progress.done,
            bytes_total: progress.total,
            bytes_per_second: before.as_ref().map_or(0, |post| post.rate(progress, now)),
        };
        let batches: Vec<_> = progress.into_iter().map(with_rate).collect();
        if !batches.is_empty() {
            posts.insert(session, Post { at: now, batches });
        }
    }

    /// All that is posted.
    pub(crate) fn batches(&self) -> Vec<TransferProgress> {
        self.posts()
            .values()
            .flat_map(|post| post.batches.iter().copied())
            .collect()
    }

    /// The posts, also after a session ended by a defect: no change is made in two parts.
    fn posts(&self) -> MutexGuard<'_, BTreeMap<usize, Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    /// Bytes a second that a batch has got on since.
    fn rate(&self, progress: Progress, now: Instant) -> u64 {
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
    use crate::plan::tests::batches;

    #[test]
    fn rate_is_what_moved_since_the_last_post_and_an_empty_post_takes_all_down() {
        let (board, batch, start) = (Board::default(), batches(&[0])[0].id, Instant::now());
        let at = |done| Progress {
            batch,
            done,
            total: 900,
        };
        board.post(0, [at(100)], start);
        assert_eq!(board.batches()[0].bytes_per_second, 0, "not known yet");
        board.post(0, [at(400)], start + Duration::from_millis(1500));
        board.post(1, [at(7)], start);
        let posted: Vec<_> = board
            .batches()
            .iter()
            .map(|it| (it.bytes_done, it.bytes_total, it.bytes_per_second))
            .collect();
        assert_eq!(posted, [(400, 900, 200), (7, 900, 0)]);
        // What is read back starts at its beginning.
        board.post(0, [at(0)], start + Duration::from_secs(2));
        assert_eq!(board.batches()[0].bytes_per_second, 0);
        board.post(0, [], start);
        board.post(1, [], start);
        assert_eq!(board.batches(), []);
    }
}
