//! What waits for one destination, shared by its sessions: the worker puts it there in order, they take it.
//!
//! Invariants: a batch that was taken is not given out again before it is settled; nothing is given out once the queue
//! was closed. Oldest window first, but every fourth batch is the newest: a backlog does not hold up what is fresh.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logferry_ledger::{BatchId, ManifestId};

use crate::schedule::plan::DeliveryTask;
use crate::session::letter::Letter;

/// One in so many batches is the newest.
const TAKES_PER_NEWEST: u64 = 4;

/// A further session pays its publish_method only if so many bytes wait for each before it. What a session can have in flight
/// over a long publish_method is bounded by the server's window; a short backlog is through before a second one is connected.
const BYTES_PER_SESSION: u64 = 64 << 20;

/// What came of waiting for a batch.
#[derive(Debug)]
pub(crate) enum QueueItem {
    DeliveryTask(Box<DeliveryTask>),
    /// There are letters.
    Letters,
    /// None came in time.
    Nothing,
    /// None will come.
    Closed,
}

/// What waits, and what is in hand.
#[derive(Debug, Default)]
pub(crate) struct DeliveryQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Oldest window first.
    due: VecDeque<DeliveryTask>,
    /// Of those that are due.
    bytes: u64,
    taken: HashSet<BatchId>,
    /// Only the first session takes them.
    letters: Vec<Letter>,
    posting: HashSet<ManifestId>,
    takes: u64,
    closed: bool,
}

impl DeliveryQueue {
    /// Puts out what is due, oldest window first, in place of what was; what is in hand stays so.
    pub(crate) fn replace(&self, due: Vec<DeliveryTask>) {
        let mut state = self.state();
        let taken = std::mem::take(&mut state.taken);
        state.due = due
            .into_iter()
            .filter(|task| !taken.contains(&task.batch.id))
            .collect();
        state.taken = taken;
        state.bytes = state.due.iter().map(|task| task.batch.contents.bytes).sum();
        drop(state);
        self.changed.notify_all();
    }

    /// Puts out letters, in place of those that were; those in hand stay so.
    pub(crate) fn replace_letters(&self, mut letters: Vec<Letter>) {
        let mut state = self.state();
        letters.retain(|letter| !state.posting.contains(&letter.id));
        state.letters = letters;
        drop(state);
        self.changed.notify_all();
    }

    /// Takes back what was not taken.
    pub(crate) fn clear(&self) {
        self.replace_letters(Vec::new());
        self.replace(Vec::new());
    }

    /// Takes the next letter, for a session of that number.
    pub(crate) fn take_letter(&self, session: usize) -> Option<Letter> {
        let mut state = self.state();
        if state.closed || session != 0 || state.letters.is_empty() {
            return None;
        }
        let letter = state.letters.remove(0);
        state.posting.insert(letter.id);
        Some(letter)
    }

    /// Says that a letter is no longer in hand.
    pub(crate) fn complete_letter(&self, letter: ManifestId) {
        self.state().posting.remove(&letter);
    }

    /// Takes the next batch, for a session of that number, counted from 0.
    pub(crate) fn take(&self, session: usize) -> Option<DeliveryTask> {
        self.state().take(session)
    }

    /// Takes the next batch, and waits for one if need be; without a session, only waits.
    pub(crate) fn wait(&self, session: Option<usize>, limit: Duration) -> QueueItem {
        let nothing_new = |state: &mut QueueState| {
            let has_some =
                session.is_some_and(|session| state.has_for(session) || state.has_letters_for(session));
            !state.closed && !has_some
        };
        let waited = self.changed.wait_timeout_while(self.state(), limit, nothing_new);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return QueueItem::Closed;
        }
        match session.and_then(|session| state.take(session)) {
            Some(task) => QueueItem::DeliveryTask(Box::new(task)),
            None if session.is_some_and(|session| state.has_letters_for(session)) => QueueItem::Letters,
            None => QueueItem::Nothing,
        }
    }

    /// Says that a batch is no longer in hand.
    pub(crate) fn complete(&self, batch: BatchId) {
        self.state().taken.remove(&batch);
    }

    /// Whether anything is due or in hand.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state();
        let batches = state.due.len() + state.taken.len();
        batches + state.letters.len() + state.posting.len() > 0
    }

    /// Gives out no more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// The state, also after a thread ended by a defect: no change is made in two parts.
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn has_for(&self, session: usize) -> bool {
        let enough = BYTES_PER_SESSION.saturating_mul(session as u64);
        !self.due.is_empty() && self.bytes >= enough
    }

    fn has_letters_for(&self, session: usize) -> bool {
        session == 0 && !self.letters.is_empty()
    }

    fn take(&mut self, session: usize) -> Option<DeliveryTask> {
        if self.closed || !self.has_for(session) {
            return None;
        }
        let newest = self.takes % TAKES_PER_NEWEST == TAKES_PER_NEWEST - 1;
        self.takes += 1;
        let task = if newest {
            self.due.pop_back()
        } else {
            self.due.pop_front()
        }?;
        self.bytes -= task.batch.contents.bytes;
        self.taken.insert(task.batch.id);
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::plan::tests::batches;

    /// Due batches of some bytes each, whose windows start at 0, 1, 2...
    fn due(count: i64, bytes: u64) -> Vec<DeliveryTask> {
        let starts: Vec<_> = (0..count).collect();
        let task = |mut batch: logferry_ledger::Batch| {
            batch.contents.bytes = bytes;
            DeliveryTask {
                batch,
                attempts: 0,
                publishing: None,
            }
        };
        batches(&starts).into_iter().map(task).collect()
    }

    fn starts(tasks: impl IntoIterator<Item = DeliveryTask>) -> Vec<i64> {
        tasks.into_iter().map(|task| task.batch.window.start).collect()
    }

    #[test]
    fn every_fourth_batch_is_the_newest() {
        let queue = DeliveryQueue::default();
        queue.replace(due(8, 1));
        let taken = std::iter::from_fn(|| queue.take(0));
        assert_eq!(starts(taken), [0, 1, 2, 7, 3, 4, 5, 6]);
    }

    #[test]
    fn each_destination_has_an_order_of_its_own_and_a_backlog_of_one_does_not_hold_up_another() {
        let (backlog, other) = (DeliveryQueue::default(), DeliveryQueue::default());
        backlog.replace(due(8, 1));
        other.replace(due(3, 1));
        let of_backlog: Vec<_> = (0..4).filter_map(|_| backlog.take(0)).collect();
        // It is planned anew meanwhile: what is in hand stays so, and the turn of the newest is kept.
        backlog.replace(due(10, 1));
        let then = std::iter::from_fn(|| backlog.take(0));
        assert_eq!(
            starts(of_backlog.into_iter().chain(then)),
            [0, 1, 2, 7, 3, 4, 5, 9, 6, 8]
        );
        assert_eq!(starts(std::iter::from_fn(|| other.take(0))), [0, 1, 2]);
    }

    #[test]
    fn batch_in_hand_is_not_given_out_again_before_it_is_settled() {
        let queue = DeliveryQueue::default();
        queue.replace(due(1, 1));
        let taken = queue.take(0).unwrap();
        queue.replace(due(1, 1));
        assert!(queue.take(0).is_none());
        assert!(queue.is_busy());
        queue.complete(taken.batch.id);
        assert!(!queue.is_busy());
        queue.replace(due(1, 1));
        assert!(queue.take(0).is_some());
    }

    #[test]
    fn further_sessions_have_work_only_while_much_waits() {
        let queue = DeliveryQueue::default();
        queue.replace(due(3, BYTES_PER_SESSION));
        assert!(queue.take(4).is_none());
        assert!(queue.take(3).is_some());
        assert!(queue.take(3).is_none());
        assert!(queue.take(1).is_some());
        assert!(queue.take(1).is_some());
        assert!(queue.take(1).is_none());
    }

    #[test]
    fn closed_queue_gives_out_nothing() {
        let queue = DeliveryQueue::default();
        queue.replace(due(2, 1));
        assert!(matches!(queue.wait(None, Duration::ZERO), QueueItem::Nothing));
        assert!(matches!(
            queue.wait(Some(0), Duration::MAX),
            QueueItem::DeliveryTask(_)
        ));
        queue.close();
        assert!(matches!(queue.wait(Some(0), Duration::MAX), QueueItem::Closed));
        assert!(queue.take(0).is_none());
    }
}
