//! Storing bodies that belong to no stream, as the old shippers post them: each once, though it may come again.
//!
//! Such a body says neither which file it is of nor where in it. All that can be known is whether the same lines are
//! durable already and their answer has perhaps not got through. Then they are a repeat; else they are new.
//!
//! Invariants:
//! - A body is remembered in the transaction that makes it durable, so a crash before the answer forgets nothing.
//! - It is forgotten only after its answer is known to have got through.
//!
//! The lines of a source's uploads make up a stream of their own in each group, whose offset counts their bytes.

use std::collections::HashSet;

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{Commit, Ledger, LedgerError, UploadChanges, UploadedBody};
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::names::{GroupName, LogName};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};

use crate::committer::{Chunk, Committer};
use crate::sequence::Verdict;
use crate::split::Split;

/// The log that uploads are taken for: the old shipper reads `access.log` only.
const LOG: &str = "access";

/// What the ledger will be told of uploads with the next commit.
#[derive(Debug, Default)]
pub(crate) struct PendingUploads {
    stored: HashSet<UploadedBody>,
    answered: HashSet<UploadedBody>,
}

impl PendingUploads {
    /// Forgets what was staged; what has been answered stays so.
    pub(crate) fn recover(&mut self) {
        self.stored.clear();
    }

    fn is_repeat(&self, body: &UploadedBody, ledger: &Ledger, now: Timestamp) -> Result<bool, LedgerError> {
        if self.stored.contains(body) {
            return Ok(true);
        }
        if self.answered.contains(body) {
            return Ok(false);
        }
        ledger.is_unanswered(body, now)
    }
}

impl<D: Disk, B: AsRef<[u8]>, T> Committer<D, B, T> {
    /// Whether an uploaded body is to be stored; if so, it is remembered with the next commit.
    pub(crate) fn judge_upload(
        &mut self,
        body: &UploadedBody,
        now: Timestamp,
    ) -> Result<Verdict, LedgerError> {
        if self.uploads.is_repeat(body, &self.ledger, now)? {
            return Ok(Verdict::Duplicate);
        }
        self.uploads.stored.insert(body.clone());
        Ok(Verdict::Take)
    }

    /// Notes that the answer to an uploaded body has got through: if it comes again, it is new.
    pub(crate) fn upload_answered(&mut self, body: UploadedBody) {
        self.uploads.answered.insert(body);
    }

    /// Tells the ledger of answered uploads, if no commit has done so meanwhile.
    pub(crate) fn forget_answered(&mut self) -> Result<(), LedgerError> {
        if self.uploads.answered.is_empty() {
            return Ok(());
        }
        let answered: Vec<_> = self.uploads.answered.iter().cloned().collect();
        self.ledger.forget_uploads(&answered)?;
        self.uploads.answered.clear();
        Ok(())
    }

    /// Records a commit, with what is to be remembered of uploads.
    pub(crate) fn record(&mut self, commit: &Commit, now: Timestamp) -> Result<(), LedgerError> {
        let stored: Vec<_> = self.uploads.stored.iter().cloned().collect();
        let answered: Vec<_> = self.uploads.answered.iter().cloned().collect();
        let changes = UploadChanges {
            answered: &answered,
            stored: &stored,
        };
        self.ledger.commit_with_uploads(commit, changes, now)?;
        self.uploads = PendingUploads::default();
        Ok(())
    }
}

/// An uploaded body as the committer takes it. `lines` are whole lines, `split` is how they are sorted by window.
pub(crate) fn chunk<B: AsRef<[u8]>>(
    group: &GroupName,
    upload: UploadedBody,
    lines: B,
    split: Split,
) -> Chunk<B> {
    // No file has such a number or begins so, so no sender's stream is taken for this one.
    let file = FileKey { dev: 0, inode: 0 };
    let head = Head::of(format!("\0upload {group}\n").as_bytes()).expect("a whole line");
    let body = lines.as_ref();
    let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let header = ChunkHeader {
        stream: StreamId::derive(file, head, 0),
        log: LOG.parse::<LogName>().expect("a plain word"),
        file,
        head,
        // Only its length counts: where it begins is where the stream ends when its turn comes.
        range: ByteRange::new(Offset::ZERO, Offset::new(len)).expect("forwards"),
        tail: Tail::of(body),
        lines: LineCounts {
            sent: split.lines(),
            excluded: 0,
        },
        line_end: LineEnd::Whole,
        stream_end: StreamEnd::Live,
        crc32c: crc32c::crc32c(body),
    };
    Chunk {
        source: upload.source.clone(),
        upload: Some(upload),
        header,
        body: lines,
        split,
    }
}
