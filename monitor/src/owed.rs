//! Which batches are owed to which destination.
//!
//! Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::DestinationName;

/// Whether a destination wants a batch.
pub(crate) fn takes(subscriber: &Subscriber, batch: &Batch) -> bool {
    let wants = &subscriber.filter;
    wants.accepts(&batch.source, &batch.group, batch.log.as_ref())
}

/// Whether a batch that is not sent is wanted by none of these destinations. Without any, nobody knows.
pub(crate) fn is_unwanted(batch: &Batch, subscribers: &[Subscriber]) -> bool {
    !subscribers.is_empty() && !subscribers.iter().any(|subscriber| takes(subscriber, batch))
}

/// From when on each destination is owed what it wants.
#[derive(Debug)]
pub(crate) struct Debts<'a> {
    subscribers: &'a [Subscriber],
    since: BTreeMap<DestinationName, Timestamp>,
}

impl<'a> Debts<'a> {
    /// `since`: from when on each is configured as it is.
    pub(crate) fn new(subscribers: &'a [Subscriber], since: BTreeMap<DestinationName, Timestamp>) -> Self {
        Self { subscribers, since }
    }

    /// The destinations that a sealed batch is owed to: all that want it, if it is not sent; else those that wanted
    /// it when it was. What was sent before a destination was configured as it is, is not owed to it.
    pub(crate) fn of(&self, batch: &Batch) -> impl Iterator<Item = &'a DestinationName> {
        let wanting = self
            .subscribers
            .iter()
            .filter(|subscriber| takes(subscriber, batch));
        wanting.map(|subscriber| &subscriber.name).filter(|name| {
            let since = self.since.get(name);
            match batch.state {
                BatchState::Open => false,
                BatchState::Ready | BatchState::Failed => true,
                BatchState::Sent => since.is_some_and(|since| batch.sent_at > Some(*since)),
            }
        })
    }
}
