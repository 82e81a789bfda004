//! Finding out which stream a file is: the sender asks with the file's head, the relay answers with every stream of
//! that source and log that begins so, and the sender compares their tails with the file.

use serde::{Deserialize, Serialize};

use crate::names::{LogName, SourceId};
use crate::stream::{FileKey, Head, Offset, StreamId, Tail};

/// Most files that one request may ask for.
pub const MAX_QUERIES: usize = 1000;

/// Which streams could these files be?
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
}

/// The relay's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveResponse {
    /// The source as the relay sees it.
    pub source: SourceId,
    /// Most bytes that a chunk's body may have here.
    pub max_chunk: u64,
    /// For each file of the request, in its order, the streams it could be.
    pub candidates: Vec<Vec<KnownStream>>,
}

/// A stream the relay has bytes of.
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
}
