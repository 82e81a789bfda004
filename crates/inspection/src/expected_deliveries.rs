//! Which destinations must receive a batch. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::{DestinationName, GroupName, LogName, SourceId};

/// Whether a destination wants a batch.
pub(crate) fn wants_batch(subscriber: &Subscriber, batch: &Batch) -> bool {
    let wants = &subscriber.filter;
    wants.accepts(&batch.source, &batch.group, batch.log.as_ref())
}

/// Whether no destination wants this batch, which is not sent. False if no destination is configured here.
pub(crate) fn is_unwanted(batch: &Batch, subscribers: &[Subscriber]) -> bool {
    let mut wanting = subscribers.iter().filter(|it| wants_batch(it, batch));
    !subscribers.is_empty() && wanting.next().is_none()
}

/// For each configured destination, whether it wants the batches of a source, group and log.
#[derive(Debug)]
pub(crate) struct Wanting(Vec<bool>);

/// The deliveries that the configuration asks for.
#[derive(Debug)]
pub(crate) struct ExpectedDeliveries<'a> {
    pub(crate) subscribers: &'a [Subscriber],
    /// Since when each destination has been configured as it is.
    pub(crate) since: BTreeMap<DestinationName, Timestamp>,
}

impl ExpectedDeliveries<'_> {
    pub(crate) fn wanting(&self, source: &SourceId, group: &GroupName, log: Option<&LogName>) -> Wanting {
        let accepts = |subscriber: &Subscriber| subscriber.filter.accepts(source, group, log);
        Wanting(self.subscribers.iter().map(accepts).collect())
    }

    /// For each configured destination, whether it must receive a sealed batch: if it is not sent, if it wants it; else if
    /// it wanted it when it was sent. A batch sent before a destination was configured as it is now is not expected there.
    pub(crate) fn of(
        &self,
        wanting: &Wanting,
        state: BatchState,
        sent_at: Option<Timestamp>,
    ) -> impl Iterator<Item = bool> {
        self.subscribers
            .iter()
            .zip(&wanting.0)
            .map(move |(subscriber, is_wanted)| {
                *is_wanted
                    && match (state, self.since.get(&subscriber.name)) {
                        (BatchState::Open, _) | (BatchState::Sent, None) => false,
                        (BatchState::Ready | BatchState::Failed, _) => true,
                        (BatchState::Sent, Some(since)) => sent_at > Some(*since),
                    }
            })
    }
}
