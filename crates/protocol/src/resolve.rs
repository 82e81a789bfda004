//! Identifies the stream of a file: the sender sends the file's head, the relay answers with every stream of that source
//! and log with the same head, and the sender compares the tails of these streams with the file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{GroupName, LogName, SourceId};
use crate::stream::{FileKey, Hash16, Head, Offset, ParseError, StreamId, Tail};

/// Most files that one request may ask for.
pub const MAX_QUERIES: usize = 1000;

/// Asks which streams match the heads of some files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// The files, at most [`MAX_QUERIES`].
    pub files: Vec<FileQuery>,
}

/// One file asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileQuery {
    /// The log it belongs to.
    pub log: LogName,
    /// Its beginning.
    pub head: Head,
    /// The streams with this head that have acknowledged bytes. Absent if the sender remembers none. Only a relay whose
    /// ledger was rebuilt from its spool reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Vec<AcknowledgedStream>>,
    /// An earlier query of the sender has the same log and head, and more streams and files: the others with this head need not be
    /// listed again. Older senders do not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_continued: bool,
    /// Device and inode of the files with this head. Their streams are searched under the names of other logs too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileKey>,
}

/// A stream that the sender remembers and its relay may have forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgedStream {
    /// The stream, committed as far as it was acknowledged.
    pub stream: KnownStream,
    /// Ends of the chunks that were posted and not answered, as far as the sender remembers them.
    pub unanswered: Vec<StreamPosition>,
    /// Nothing from here on was ever posted.
    pub sent_until: Offset,
    /// Whether it was acknowledged that the stream is at its end.
    pub finished: bool,
    /// Until when all this is certain, in seconds since 1970; `None`: until now. A sender that was started again knows what its state
    /// folder holds: from the time when the one before it stopped, or, if that did not stop in order, from a time that nobody knows (0).
    /// Older senders do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certain_until: Option<i64>,
}

/// An offset in a stream, and the raw bytes that end there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// The offset.
    pub offset: Offset,
    /// The bytes before it.
    pub tail: Tail,
}

/// The relay's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveResponse {
    /// The source as the relay sees it.
    pub source: SourceId,
    /// The group whose port was asked. Older relays do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Most bytes that a chunk's body may have here, uncompressed.
    pub max_chunk: u64,
    /// The id of the relay's ledger. Older relays do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerId>,
    /// Whether that ledger was rebuilt from the spool: it has lines of streams that it does not know. Older relays do not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<bool>,
    /// When that ledger was restored from a backup last, in milliseconds since 1970; 0: never. What the relay got between backup
    /// and restore is not in it. Older relays do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<i64>,
    /// For each file of the request, in its order, the streams it could be.
    pub candidates: Vec<Vec<KnownStream>>,
    /// For each file of the request, in its order, streams with its head that were shipped under the name of another log:
    /// those that the sender remembers, and those whose ids come from the files' keys. A log may have got a new name.
    /// Older relays do not send it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_other_logs: Vec<Vec<KnownStream>>,
}

/// Identifies a relay's ledger: it is the same on every address of a relay, and new after the relay was emptied.
///
/// Text form: 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LedgerId(Hash16);

impl LedgerId {
    /// The ledger of this number.
    pub const fn new(number: u128) -> Self {
        Self(Hash16(number.to_be_bytes()))
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LedgerId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let id = text.parse().map(Self);
        id.map_err(|_| ParseError::new("a ledger's id of 32 hex digits", text))
    }
}

/// A stream of which the relay has bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStream {
    /// Its id.
    pub stream: StreamId,
    /// Device and inode of the file when its last chunk came.
    pub file: FileKey,
    /// Its beginning.
    pub head: Head,
    /// How far it is durable.
    pub committed: Offset,
    /// The raw bytes that end at `committed`.
    pub tail: Tail,
    /// Whether the last of its bytes came from another sender than the one that asks. Older relays do not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_other: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledgers_id_reads_back_and_nothing_else_does() {
        let id = LedgerId::new(0xbeef);
        assert_eq!(id.to_string(), "0000000000000000000000000000beef");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "beef", "+000000000000000000000000000beef"] {
            assert!(text.parse::<LedgerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_without_a_ledger_and_other_logs_is_an_older_relays() {
        let answer: ResolveResponse =
            serde_json::from_str(r#"{"source":"192.0.2.1","max_chunk":9,"candidates":[]}"#)
                .expect("an answer");
        assert_eq!(
            (answer.ledger, answer.rebuilt, answer.of_other_logs, answer.group),
            (None, None, Vec::new(), None)
        );
        assert_eq!(answer.restored, None);
    }
}
