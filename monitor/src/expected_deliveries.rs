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
    !subscribers.is_empty()
        && !subscribers
            .iter()
            .any(|subscriber| wants_batch(subscriber, batch))
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
        let wanting = self
            .subscribers
            .iter()
            .filter(|subscriber| wants_batch(subscriber, batch));
        wanting
            .map(|subscriber| &subscriber.name)
            .filter(|name| match batch.state {
                BatchState::Open => false,
                BatchState::Ready | BatchState::Failed => true,
                BatchState::Sent => self
                    .since
                    .get(name)
                    .is_some_and(|since| batch.sent_at > Some(*since)),
            })
    }
}
