//! Reads what the server says to a bulk request, for each document. Pure.

use std::time::Duration;

use serde::Deserialize;

use crate::error::advice;

/// Most characters of a reason that are shown.
const REASON_MAX: usize = 300;

/// What became of a bulk request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkAnswer {
    /// Each document has an answer, in the order of the request.
    Items(Vec<ItemAnswer>),
    /// The server took none of it.
    Refused {
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// Its reason.
        reason: String,
    },
    /// The request, or its answer, is too long.
    TooLong,
    /// There is no answer that can be used: it may have been taken or not.
    Lost {
        /// The reason.
        reason: String,
    },
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemAnswer {
    /// Its id.
    pub id: String,
    /// Its HTTP status.
    pub status: u16,
    /// The type of its error; empty without one.
    pub kind: String,
    /// The reason of its error; empty without one.
    pub reason: String,
}

/// Whether an index has a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentAnswer {
    /// It has.
    There,
    /// It has not, or there is no such index.
    Absent,
    /// The user of the configuration may not ask.
    Forbidden,
    /// There is no answer that can be used.
    Lost {
        /// The reason.
        reason: String,
    },
}

#[derive(Deserialize)]
struct BulkBody {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: ItemOutcome,
}

#[derive(Deserialize)]
struct ItemOutcome {
    #[serde(rename = "_id")]
    id: String,
    status: u16,
    #[serde(default)]
    error: Option<ItemError>,
}

#[derive(Default, Deserialize)]
struct ItemError {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    caused_by: Option<Box<ItemError>>,
}

impl ItemError {
    /// The reasons, the outermost first.
    fn text(&self) -> String {
        let causes = std::iter::successors(Some(self), |error| error.caused_by.as_deref());
        let reasons = causes.map(|error| error.reason.as_deref().unwrap_or(&error.kind));
        shortened(&reasons.collect::<Vec<_>>().join(": "))
    }
}

/// The answer of each document in the body of an answer with status 200.
pub(crate) fn items(body: &[u8]) -> Result<Vec<ItemAnswer>, serde_json::Error> {
    let answer: BulkBody = serde_json::from_slice(body)?;
    let item = |Item { create }: Item| {
        let error = create.error.unwrap_or_default();
        ItemAnswer {
            id: create.id,
            status: create.status,
            reason: error.text(),
            kind: error.kind,
        }
    };
    Ok(answer.items.into_iter().map(item).collect())
}

/// What the answer to a request for one document says. An absence counts only in the server's own words: a proxy that answers 404
/// knows nothing of the index.
pub(crate) fn document_answer(status: u16, body: &[u8]) -> DocumentAnswer {
    #[derive(Deserialize)]
    struct DocumentBody {
        #[serde(default)]
        found: Option<bool>,
        #[serde(default)]
        error: Option<ItemError>,
    }
    let parsed: Option<DocumentBody> = serde_json::from_slice(body).ok();
    let found = parsed.as_ref().and_then(|body| body.found);
    let is_no_index = parsed
        .and_then(|body| body.error)
        .is_some_and(|error| error.kind == "index_not_found_exception");
    match (status, found) {
        (200, Some(true)) => DocumentAnswer::There,
        (404, Some(false)) => DocumentAnswer::Absent,
        (404, None) if is_no_index => DocumentAnswer::Absent,
        (403, _) => DocumentAnswer::Forbidden,
        _ => DocumentAnswer::Lost {
            reason: format!(
                "asked for a document, it answers with status {status}: {}{}",
                error_text(body),
                advice(status)
            ),
        },
    }
}

/// The reason in the body of an answer with an error, or its first line.
pub(crate) fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct RefusalBody {
        error: ItemError,
    }
    #[derive(Deserialize)]
    struct PlainRefusal {
        error: String,
    }
    if let Ok(RefusalBody { error }) = serde_json::from_slice(body) {
        return error.text();
    }
    if let Ok(PlainRefusal { error }) = serde_json::from_slice(body) {
        return shortened(&error);
    }
    let text = String::from_utf8_lossy(body.get(..4096).unwrap_or(body));
    shortened(text.lines().next().unwrap_or_default())
}

fn shortened(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(REASON_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_its_status_and_all_its_reasons() {
        let body = br#"{"took":3,"errors":true,"items":[
            {"create":{"_index":"i","_id":"a","status":201,"result":"created"}},
            {"create":{"_index":"i","_id":"b","status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse",
             "caused_by":{"type":"illegal_argument_exception","reason":"no date"}}}}]}"#;
        let [a, b]: [ItemAnswer; 2] = items(body).expect("an answer").try_into().expect("two");
        assert_eq!((&*a.id, a.status, &*a.reason), ("a", 201, ""));
        assert_eq!((b.status, &*b.kind), (400, "mapper_parsing_exception"));
        assert_eq!(b.reason, "failed to parse: no date");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let bodies: [&[u8]; 5] = [
            b"",
            b"<html>",
            b"{}",
            br#"{"items":[{"index":{"_id":"a","status":201}}]}"#,
            br#"{"items":[{"create":{"_id":"a","sta"#,
        ];
        for body in bodies {
            assert!(items(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn only_the_servers_own_words_say_that_a_document_is_absent() {
        use DocumentAnswer::{Absent, Forbidden, There};
        for (status, body, expected) in [
            (200, r#"{"_id":"a","found":true}"#, Some(There)),
            (404, r#"{"_id":"a","found":false}"#, Some(Absent)),
            (
                404,
                r#"{"error":{"type":"index_not_found_exception","reason":"no such index"},"status":404}"#,
                Some(Absent),
            ),
            (403, r#"{"error":{"type":"security_exception"}}"#, Some(Forbidden)),
            (404, "<html>not found</html>", None),
            (404, "", None),
            (200, "<html>it works</html>", None),
            (
                503,
                r#"{"error":{"type":"no_shard_available_action_exception"}}"#,
                None,
            ),
            (401, "", None),
        ] {
            let answer = document_answer(status, body.as_bytes());
            match expected {
                Some(expected) => assert_eq!(answer, expected, "{status} {body}"),
                None => assert!(matches!(answer, DocumentAnswer::Lost { .. }), "{status} {body}"),
            }
        }
    }

    #[test]
    fn reason_of_a_refusal_is_found_in_every_form() {
        for (body, expected) in [
            (
                r#"{"error":{"type":"t","reason":"no rights"},"status":403}"#,
                "no rights",
            ),
            (r#"{"error":"not allowed","status":405}"#, "not allowed"),
            ("Unauthorized\r\nmore", "Unauthorized"),
            ("", ""),
        ] {
            assert_eq!(error_text(body.as_bytes()), expected);
        }
    }
}
