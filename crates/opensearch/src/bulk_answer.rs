//! Reads what the server says to a bulk request, for each document. Pure.

use serde::Deserialize;

use std::time::Duration;

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
