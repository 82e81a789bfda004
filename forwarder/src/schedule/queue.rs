//! The items that wait for one destination: the worker queues them in order, the sessions take them.
//!
//! Invariants: an item that was taken is not handed out again before it is completed; nothing is handed out after the
//! queue was closed. Batches go oldest window first, but every fourth batch is the newest one, so that a backlog does not
//! delay fresh lines. Window manifests are small and few: the first session takes them before batches.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::lock;
use crate::publish::task::{DeliveryId, DeliveryTask};

/// Every so many batches, the newest is taken.
const TAKES_PER_NEWEST: u64 = 4;

/// A further session gets work only if this many bytes wait for each session before it. The server's window bounds the
/// bytes in flight over one session; a short backlog is gone before a second session is connected.
const BYTES_PER_SESSION: u64 = 64 << 20;

/// The most window manifests in hand at once.
const MANIFESTS_IN_HAND_MAX: usize = 4;

/// The result of waiting for an item.
#[derive(Debug)]
pub(crate) enum QueueItem {
    Task(Box<DeliveryTask>),
    /// None came in time.
    TimedOut,
    /// None will come.
    Closed,
}

/// The items that wait, and those in hand.
#[derive(Debug, Default)]
pub(crate) struct DeliveryQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Oldest window first.
    batches: VecDeque<DeliveryTask>,
    /// Sum over `batches`.
    bytes: u64,
    manifests: VecDeque<DeliveryTask>,
    in_hand: HashSet<DeliveryId>,
    batches_taken: u64,
    closed: bool,
}

impl DeliveryQueue {
    /// Replaces the batches that wait, oldest window first. Those in hand stay in hand.
    pub(crate) fn replace(&self, mut due: Vec<DeliveryTask>) {
        let mut state = lock(&self.state);
        due.retain(|task| !state.in_hand.contains(&task.id()));
        state.bytes = due.iter().map(DeliveryTask::bytes).sum();
        state.batches = due.into();
        drop(state);
        self.changed.notify_all();
    }

    /// Replaces the window manifests that wait. Those in hand stay in hand.
    pub(crate) fn replace_manifests(&self, mut due: Vec<DeliveryTask>) {
        let mut state = lock(&self.state);
        due.retain(|task| !state.in_hand.contains(&task.id()));
        state.manifests = due.into();
        drop(state);
        self.changed.notify_all();
    }

    /// Removes the items that were not taken.
    pub(crate) fn clear(&self) {
        self.replace_manifests(Vec::new());
        self.replace(Vec::new());
    }

    /// Takes the next item, for a session of that number, counted from 0.
    pub(crate) fn take(&self, session: usize) -> Option<DeliveryTask> {
        lock(&self.state).take(session)
    }

    /// Takes the next item and waits for one if need be. Without a session, only waits.
    pub(crate) fn wait(&self, session: Option<usize>, limit: Duration) -> QueueItem {
        let nothing_new =
            |state: &mut QueueState| !state.closed && !session.is_some_and(|session| state.has_for(session));
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, limit, nothing_new);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return QueueItem::Closed;
        }
        let task = session.and_then(|session| state.take(session));
        task.map_or(QueueItem::TimedOut, |task| QueueItem::Task(Box::new(task)))
    }

    /// Notes that these items are no longer in hand.
    pub(crate) fn complete<'a>(&self, tasks: impl IntoIterator<Item = &'a DeliveryTask>) {
        let mut state = lock(&self.state);
        for task in tasks {
            state.in_hand.remove(&task.id());
        }
    }

    /// Whether anything waits or is in hand.
    pub(crate) fn is_busy(&self) -> bool {
        let state = lock(&self.state);
        !(state.batches.is_empty() && state.manifests.is_empty() && state.in_hand.is_empty())
    }

    /// Hands out no more.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl QueueState {
    fn has_for(&self, session: usize) -> bool {
        self.has_manifest_for(session) || self.has_batch_for(session)
    }

    fn has_batch_for(&self, session: usize) -> bool {
        !self.batches.is_empty() && self.bytes >= BYTES_PER_SESSION.saturating_mul(session as u64)
    }

    fn has_manifest_for(&self, session: usize) -> bool {
        let in_hand = self
            .in_hand
            .iter()
            .filter(|id| matches!(id, DeliveryId::WindowManifest(_)));
        session == 0 && !self.manifests.is_empty() && in_hand.count() < MANIFESTS_IN_HAND_MAX
    }

    fn take(&mut self, session: usize) -> Option<DeliveryTask> {
        if self.closed {
            return None;
        }
        let task = if self.has_manifest_for(session) {
            self.manifests.pop_front()
        } else if self.has_batch_for(session) {
            self.take_batch()
        } else {
            None
        }?;
        self.in_hand.insert(task.id());
        Some(task)
    }

    fn take_batch(&mut self) -> Option<DeliveryTask> {
        let newest = self.batches_taken % TAKES_PER_NEWEST == TAKES_PER_NEWEST - 1;
        self.batches_taken += 1;
        let task = if newest {
            self.batches.pop_back()
        } else {
            self.batches.pop_front()
        }?;
        self.bytes -= task.bytes();
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::task::DeliveryItem;
    use crate::schedule::plan::tests::batches;

    /// Due batches of some bytes each, whose windows start at 0, 1, 2...
    fn due(count: i64, bytes: u64) -> Vec<DeliveryTask> {
        let starts: Vec<_> = (0..count).collect();
        let task = |mut batch: logferry_ledger::Batch| {
            batch.contents.bytes = bytes;
            DeliveryTask {
                item: DeliveryItem::Batch(batch),
                file: None,
                attempts: 0,
                publishing: None,
            }
        };
        batches(&starts).into_iter().map(task).collect()
    }

    fn starts(tasks: impl IntoIterator<Item = DeliveryTask>) -> Vec<i64> {
        tasks
            .into_iter()
            .map(|task| task.batch().unwrap().window.start)
            .collect()
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
        // A new plan: items in hand stay in hand, and the count towards the newest batch continues.
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
        queue.complete([&taken]);
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
        assert!(matches!(queue.wait(None, Duration::ZERO), QueueItem::TimedOut));
        assert!(matches!(queue.wait(Some(0), Duration::MAX), QueueItem::Task(_)));
        queue.close();
        assert!(matches!(queue.wait(Some(0), Duration::MAX), QueueItem::Closed));
        assert!(queue.take(0).is_none());
    }
}
