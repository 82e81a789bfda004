//! The sink: sends each durable line to OpenSearch or Elasticsearch as a document.
//!
//! It has a thread, a connection to the ledger and a place of its own, and reads the lines from the spool. So a server that is
//! slow or down delays neither the indexer's own work nor the relay: the sink waits, and its lag is in `status` and metrics.
//!
//! A round (`session` and `document_set`): look into the ledger, make documents of the new lines of many batches, send them
//! until each is done (`crates/opensearch`), then record the places of the batches with the refusals, in one transaction.
//! Each batch is bound to its index by a record before its first line is sent.
//!
//! A crash before the record: the same lines are sent again, with the same ids to the same indices, and are found there. After
//! it: they are done.
//!
//! In this room anything may be changed that keeps that order.

mod document_set;
mod session;
mod thread;

pub(crate) use thread::SinkThread;
#[cfg(test)]
pub(crate) use thread::{OpenSink, RoundEnd, Sink};
