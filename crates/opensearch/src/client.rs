//! What is asked of the server: documents in bulk, the index template, counts, and who it is.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::Method;
use logferry_config::OpenSearchSettings;
use logferry_http_client::HttpError;
use serde::Deserialize;
use serde_json::json;

use crate::bulk_answer::{BulkAnswer, DocumentAnswer, document_answer, error_text, items};
use crate::error::OpenSearchError;
use crate::index_template;
use crate::request::{SearchConnection, ServerAnswer, ServerRequest, unexpected};

/// Answers are short by this: of each document only what decides.
const BULK_PATH: &str = "/_bulk?filter_path=items.*._id,items.*.status,items.*.error.type,items.*.error.reason,\
                         items.*.error.caused_by.reason";

/// Who answers at the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFound {
    /// `OpenSearch 2.19.1`, `Elasticsearch 8.15.0`.
    pub name: String,
}

/// The server, over one connection.
pub struct OpenSearchClient {
    connection: SearchConnection,
}

#[derive(Deserialize)]
struct ServerInfo {
    version: ServerVersion,
}

#[derive(Deserialize)]
struct ServerVersion {
    number: String,
    #[serde(default)]
    distribution: Option<String>,
}

#[derive(Deserialize)]
struct CountAnswer {
    count: u64,
    #[serde(default, rename = "_shards")]
    shards: ShardCounts,
}

#[derive(Default, Deserialize)]
struct ShardCounts {
    #[serde(default)]
    failed: u64,
}

impl OpenSearchClient {
    /// It connects with the first request.
    pub fn new(settings: OpenSearchSettings) -> Self {
        Self {
            connection: SearchConnection::new(settings),
        }
    }

    /// Sends documents with their actions.
    ///
    /// Safe to cancel; then it is not known what was taken.
    pub async fn bulk(&mut self, body: Bytes) -> BulkAnswer {
        let request = ServerRequest {
            method: Method::POST,
            path: BULK_PATH.to_owned(),
            content_type: "application/x-ndjson",
            body,
        };
        let lost = |error: &OpenSearchError| BulkAnswer::Lost { reason: chain(error) };
        match self.connection.exchange(&request).await {
            Ok(ServerAnswer {
                status: 200, body, ..
            }) => match items(&body) {
                Ok(items) => BulkAnswer::Items(items),
                Err(error) => lost(&self.unexpected(error.to_string())),
            },
            Ok(answer) => BulkAnswer::Refused {
                status: answer.status,
                retry_after: answer.retry_after,
                reason: error_text(&answer.body),
            },
            Err(OpenSearchError::Http(HttpError::AnswerTooLong { .. })) => BulkAnswer::TooLong,
            Err(error) => lost(&error),
        }
    }

    /// Whether an index has a document. What a bulk request has stored is found at once, without a refresh.
    pub async fn find(&mut self, index: &str, id: &str) -> DocumentAnswer {
        let path = format!("/{index}/_doc/{}?_source=false", path_segment(id));
        let request = ServerRequest::json(Method::GET, path, Bytes::new());
        match self.connection.exchange(&request).await {
            Ok(answer) => document_answer(answer.status, &answer.body),
            Err(error) => DocumentAnswer::Lost {
                reason: chain(&error),
            },
        }
    }

    /// Puts the index template, unless one of its name is there: a person may have changed it. Returns whether it was put.
    pub async fn put_template(&mut self) -> Result<bool, OpenSearchError> {
        let index = &self.connection.settings().index;
        let path = format!("/_index_template/{}?create=true", index_template::name(index));
        let body = index_template::body(index).to_string();
        let answer = self
            .connection
            .exchange(&ServerRequest::json(Method::PUT, path, body))
            .await?;
        let is_there = answer.status == 400 && error_text(&answer.body).contains("already exists");
        if is_there {
            return Ok(false);
        }
        self.accepted(&answer).map(|_| true)
    }

    /// Makes all that is stored visible to [`Self::count`].
    pub async fn refresh(&mut self, indices: &[String]) -> Result<(), OpenSearchError> {
        let path = format!("/{}/_refresh?{LENIENT}", indices.join(","));
        let answer = self
            .connection
            .exchange(&ServerRequest::json(Method::POST, path, Bytes::new()))
            .await?;
        self.accepted(&answer).map(drop)
    }

    /// How many documents of a batch these indices have.
    pub async fn count(&mut self, indices: &[String], batch: &str) -> Result<u64, OpenSearchError> {
        let path = format!("/{}/_count?{LENIENT}", indices.join(","));
        // Without the template `batch` is a text of words, and its exact form is beside it.
        let terms = [
            json!({"term": {"batch": batch}}),
            json!({"term": {"batch.keyword": batch}}),
        ];
        let query = json!({"query": {"bool": {"should": terms, "minimum_should_match": 1}}});
        let request = ServerRequest::json(Method::POST, path, query.to_string());
        let answer = self.connection.exchange(&request).await?;
        let found: CountAnswer = self.parsed(&answer)?;
        if found.shards.failed > 0 {
            return Err(self.unexpected("some of its shards did not answer; try again when all are there"));
        }
        Ok(found.count)
    }

    /// Tries address, login and rights, and leaves nothing behind.
    pub async fn probe(&mut self, index: &str) -> Result<ServerFound, OpenSearchError> {
        let request = ServerRequest::json(Method::GET, "/", Bytes::new());
        let answer = self.connection.exchange(&request).await?;
        let info: ServerInfo = self.parsed(&answer)?;
        // No alias has this name, so that nothing is made; who may not write is told so before.
        let action = json!({"create": {"_index": index, "_id": "logferry-check", "require_alias": true}});
        let body = Bytes::from(format!("{action}\n{{}}\n"));
        match self.bulk(body).await {
            BulkAnswer::Items(items) => {
                let refused = items.iter().find(|item| matches!(item.status, 401 | 403));
                if let Some(item) = refused {
                    return Err(self.refused(item.status, item.reason.clone()));
                }
            }
            BulkAnswer::Refused { status, reason, .. } => return Err(self.refused(status, reason)),
            BulkAnswer::TooLong => return Err(self.unexpected("it is too long")),
            BulkAnswer::Lost { reason } => return Err(self.unexpected(reason)),
        }
        let distribution = match info.version.distribution.as_deref() {
            Some("opensearch") => "OpenSearch",
            Some(other) => other,
            None => "Elasticsearch",
        };
        Ok(ServerFound {
            name: format!("{distribution} {}", info.version.number),
        })
    }

    /// The body of an answer with status 200.
    fn accepted<'b>(&self, answer: &'b ServerAnswer) -> Result<&'b Bytes, OpenSearchError> {
        match answer.status {
            200 | 201 => Ok(&answer.body),
            status => Err(self.refused(status, error_text(&answer.body))),
        }
    }

    fn parsed<T: for<'de> Deserialize<'de>>(&self, answer: &ServerAnswer) -> Result<T, OpenSearchError> {
        let body = self.accepted(answer)?;
        serde_json::from_slice(body).map_err(|error| self.unexpected(error.to_string()))
    }

    fn refused(&self, status: u16, reason: String) -> OpenSearchError {
        OpenSearchError::Refused {
            url: self.connection.settings().url.to_string(),
            status,
            reason,
        }
    }

    fn unexpected(&self, reason: impl Into<String>) -> OpenSearchError {
        unexpected(&self.connection.settings().url, reason)
    }
}

/// An index that is not there has no documents.
const LENIENT: &str = "ignore_unavailable=true&allow_no_indices=true";

/// The text as one part of a path (RFC 3986, section 3.3): what is not unreserved is written as its bytes.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            other => {
                // Writing to a String cannot fail.
                let _: std::fmt::Result = write!(segment, "%{other:02X}");
            }
        }
    }
    segment
}

fn chain(error: &dyn std::error::Error) -> String {
    logferry_text::error_chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_a_document_is_one_part_of_a_path() {
        assert_eq!(path_segment("b_1-2.3@000000000012"), "b_1-2.3%40000000000012");
        assert_eq!(path_segment("a/../b ü?"), "a%2F..%2Fb%20%C3%BC%3F");
    }
}
