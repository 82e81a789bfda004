//! Which destinations must receive a batch. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::DestinationName;

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

/// The deliveries that the configuration asks for.
#[derive(Debug)]
pub(crate) struct ExpectedDeliveries<'a> {
    pub(crate) subscribers: &'a [Subscriber],
    /// Since when each destination has been configured as it is.
    pub(crate) since: BTreeMap<DestinationName, Timestamp>,
}

impl<'a> ExpectedDeliveries<'a> {
    /// The destinations that must receive a sealed batch: if it is not sent, all that want it; else those that wanted it
    /// when it was sent. A batch sent before a destination was configured as it is now is not expected there.
    pub(crate) fn destinations_of(&self, batch: &Batch) -> impl Iterator<Item = &'a DestinationName> {
        let wanting = self.subscribers.iter().filter(|it| wants_batch(it, batch));
        let names = wanting.map(|subscriber| &subscriber.name);
        names.filter(|name| match (batch.state, self.since.get(name)) {
            (BatchState::Open, _) | (BatchState::Sent, None) => false,
            (BatchState::Ready | BatchState::Failed, _) => true,
            (BatchState::Sent, Some(since)) => batch.sent_at > Some(*since),
        })
    }
}
