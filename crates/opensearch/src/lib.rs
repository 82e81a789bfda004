//! Lines of logs as documents in OpenSearch or Elasticsearch.
//!
//! The indexer sends them; `logferry audit --index` counts them, and `logferry check --connect` tries the server.
//!
//! Invariants:
//! - **A document has the id of its line** ([`document_id`]), and is only ever created, in the index that its batch is bound
//!   to. So a request may be sent any number of times: a document that is there already is answered with 409.
//! - A document is done only by its own answer: it is stored, it was there, or it is refused for itself and the index has not got
//!   it. Everything else,
//!   such as a full server, missing rights, an answer that cannot be read or none, sends it again.
//!
//! `document`, `bulk_answer`, `delivery` and `index_template` are pure. `request` talks (`crates/http_client`); `client` puts both
//! together.

mod bulk_answer;
mod client;
mod delivery;
mod document;
mod error;
mod index_template;
mod request;

pub use bulk_answer::{BulkAnswer, DocumentAnswer, ItemAnswer};
pub use client::{OpenSearchClient, ServerFound};
pub use delivery::{BulkCounts, BulkDelivery, BulkStep, RefusedItem};
pub use document::{DocumentOrigin, DocumentWriter, document_id};
pub use error::OpenSearchError;
