//! The batches whose failures took the destination for down, and which batch is tried next there. Pure.
//!
//! A failure that would meet every batch, such as a full disk, may be one of this batch alone: it is too large for the quota, or
//! its folder has other rights. So the next attempt is made with another batch. If that gets through and the first one fails again,
//! its failures count against it and stop no other batch.

use std::collections::{HashMap, HashSet};

use logferry_ledger::BatchId;

use crate::publish::task::DeliveryTask;

/// The batches that failed as if the destination had.
#[derive(Debug, Default)]
pub(crate) struct SuspectBatches {
    /// Since the destination is taken for down, each with the number of its last failure.
    since_down: HashMap<BatchId, u64>,
    failures: u64,
    /// Others got through after their failure.
    passed: HashSet<BatchId>,
}

impl SuspectBatches {
    /// A batch failed as if the destination had.
    pub(crate) fn add(&mut self, batch: BatchId) {
        self.failures += 1;
        self.since_down.insert(batch, self.failures);
    }

    /// The batch is delivered.
    pub(crate) fn on_delivered(&mut self, batch: BatchId) {
        self.since_down.remove(&batch);
        self.passed.remove(&batch);
    }

    /// Something got through.
    pub(crate) fn on_up(&mut self) {
        self.passed
            .extend(self.since_down.drain().map(|(batch, _)| batch));
    }

    /// Whether another such failure of the batch says nothing about the destination.
    pub(crate) fn is_cause(&self, batch: BatchId) -> bool {
        self.passed.contains(&batch)
    }

    /// The batch to try next: the smallest one that has not failed. If all have, it is the one that failed longest ago, so that each
    /// has its turn; if none has, it is the oldest.
    pub(crate) fn probe(&self, due: Vec<DeliveryTask>) -> Option<DeliveryTask> {
        let none_failed = self.since_down.is_empty();
        // Of equal ones it is the first, so the oldest.
        due.into_iter().min_by_key(|task| {
            let batch = task.batch();
            match batch.and_then(|batch| self.since_down.get(&batch.id)) {
                Some(failure) => (true, *failure),
                None => (false, if none_failed { 0 } else { task.bytes() }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use logferry_ledger::Batch;

    use super::*;
    use crate::publish::task::DeliveryItem;
    use crate::schedule::plan::tests::batches;

    /// Due batches of these sizes, oldest first.
    fn due(sizes: &[u64]) -> Vec<DeliveryTask> {
        let starts: Vec<_> = (0..).take(sizes.len()).collect();
        let task = |(mut batch, bytes): (Batch, &u64)| {
            batch.contents.bytes = *bytes;
            DeliveryTask {
                item: DeliveryItem::Batch(batch),
                file: None,
                attempts: 0,
                publishing: None,
            }
        };
        batches(&starts).into_iter().zip(sizes).map(task).collect()
    }

    fn id(task: &DeliveryTask) -> BatchId {
        task.batch().unwrap().id
    }

    fn size(task: Option<DeliveryTask>) -> u64 {
        task.unwrap().bytes()
    }

    #[test]
    fn next_attempt_is_with_the_smallest_batch_that_has_not_failed() {
        let tasks = due(&[900, 30, 20, 40]);
        let mut suspects = SuspectBatches::default();
        assert_eq!(size(suspects.probe(tasks.clone())), 900, "no batch has failed");
        suspects.add(id(&tasks[0]));
        assert_eq!(size(suspects.probe(tasks.clone())), 20);
        suspects.add(id(&tasks[2]));
        assert_eq!(size(suspects.probe(tasks.clone())), 30);
        assert_eq!(size(suspects.probe(due(&[900]))), 900, "there is no other");
        assert!(suspects.probe(Vec::new()).is_none());
    }

    #[test]
    fn each_batch_has_its_turn_once_all_have_failed() {
        let tasks = due(&[900, 30, 20, 40]);
        let mut suspects = SuspectBatches::default();
        for number in [0, 2, 1, 3] {
            suspects.add(id(&tasks[number]));
        }
        assert_eq!(size(suspects.probe(tasks.clone())), 900);
        suspects.add(id(&tasks[0]));
        assert_eq!(size(suspects.probe(tasks)), 20);
    }

    #[test]
    fn batch_is_the_cause_once_another_got_through_and_until_it_is_delivered() {
        let bad = id(&due(&[900])[0]);
        let mut suspects = SuspectBatches::default();
        suspects.add(bad);
        assert!(!suspects.is_cause(bad));
        suspects.on_up();
        assert!(suspects.is_cause(bad));
        suspects.on_delivered(bad);
        assert!(!suspects.is_cause(bad));
    }
}
