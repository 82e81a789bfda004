//! A stream that no file is known to hold: its file was truncated or rewritten, or it comes from the checkpoint.

use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{AcknowledgedStream, KnownStream};
use logferry_protocol::stream::{FileKey, Head, Offset};

use crate::checkpoint::CheckpointStream;
use crate::streams::tracked_stream::{ShippedAmount, StreamPhase, StreamPosition, TrackedStream};

/// A stream without a file.
#[derive(Debug)]
pub(crate) struct OrphanStream {
    /// How far it is, with the chunks of it that are still out.
    pub(crate) stream: TrackedStream,
    pub(crate) file: FileKey,
    pub(crate) path: String,
    /// The largest size that its file was seen to have.
    pub(crate) extent: Offset,
    /// It comes from the checkpoint: nobody saw what became of its file.
    pub(crate) is_remembered: bool,
    search: Search,
}

/// How far the search for a file that holds it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// The folders have to be looked through: there may be a copy.
    Started,
    /// They were; the relay has to be asked how far the stream is.
    Scanned,
    /// It was asked, after the last chunk of the stream was answered.
    Asking,
    /// It has answered.
    Asked,
}

impl OrphanStream {
    /// A stream that has lost its file.
    pub(crate) fn new(stream: TrackedStream, file: FileKey, path: String, extent: Offset) -> Self {
        Self {
            stream,
            file,
            path,
            extent,
            is_remembered: false,
            search: Search::Started,
        }
    }

    /// A stream of the checkpoint.
    pub(crate) fn remembered(remembered: CheckpointStream) -> Self {
        let KnownStream {
            stream,
            file,
            head,
            committed,
            tail,
        } = remembered.stream;
        let mut stream = TrackedStream::new(
            stream,
            head,
            StreamPosition {
                offset: committed,
                tail,
            },
        );
        if remembered.finished {
            stream.phase = StreamPhase::Finished;
        }
        Self {
            stream,
            file,
            path: remembered.path,
            extent: remembered.seen,
            is_remembered: true,
            search: Search::Started,
        }
    }

    /// For the checkpoint.
    pub(crate) fn remember(&self, log: &LogName) -> CheckpointStream {
        let finished = self.stream.phase == StreamPhase::Finished;
        CheckpointStream {
            log: log.clone(),
            path: self.path.clone(),
            stream: self.known(),
            finished,
            seen: self.extent,
        }
    }

    /// What the relay is told in case it has forgotten the stream.
    pub(crate) fn acknowledged(&self) -> AcknowledgedStream {
        // What an earlier run had posted when it ended is not remembered; more than the file held it cannot have been.
        let sent_until = if self.is_remembered {
            self.extent
        } else {
            self.stream.read.offset
        };
        self.stream.acknowledged(self.file, sent_until)
    }

    pub(crate) fn known(&self) -> KnownStream {
        self.stream.known(self.file)
    }

    /// The folders were looked through.
    pub(crate) fn scanned(&mut self) {
        if self.search == Search::Started {
            self.search = Search::Scanned;
        }
    }

    /// Whether it is too early to ask: the relay does not know yet what it has while a chunk is out, and a copy would
    /// be shipped anew.
    pub(crate) fn is_waiting(&self) -> bool {
        self.search == Search::Started || self.stream.is_awaiting()
    }

    /// The head to ask the relay about, if it is to be asked now.
    pub(crate) fn ask(&mut self) -> Option<Head> {
        if self.is_waiting() || self.search == Search::Asked {
            return None;
        }
        self.search = Search::Asking;
        Some(self.stream.head)
    }

    /// The relay's answer: the stream as it knows it, if it does.
    pub(crate) fn answered(&mut self, truth: Option<&KnownStream>) -> ShippedAmount {
        if self.search != Search::Asking {
            return ShippedAmount::default();
        }
        self.search = Search::Asked;
        let Some(truth) = truth else {
            return ShippedAmount::default();
        };
        let finished = self.stream.phase == StreamPhase::Finished;
        let settled = self.stream.resume(StreamPosition {
            offset: truth.committed,
            tail: truth.tail,
        });
        if finished {
            self.stream.phase = StreamPhase::Finished;
        }
        settled
    }

    /// Whether it is known how far the stream is. Until then no file can be named: it might be its.
    pub(crate) fn is_certain(&self) -> bool {
        self.search == Search::Asked
    }
}
