//! A legacy upload as a chunk.
//!
//! The uploads of a source form one stream for each group. Its offset counts their bytes.

use logferry_ledger::UploadedBody;
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::names::{GroupName, LogName};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};

use crate::chunk::{Moment, ReceivedChunk, WindowSplit};

/// The log name of uploads: the legacy shipper reads `access.log` only.
pub(crate) fn upload_log() -> LogName {
    "access".parse().expect("a plain word")
}

/// The chunk of an upload. `lines` are whole lines, `split` assigns them to windows.
pub(crate) fn upload_chunk<B: AsRef<[u8]>>(
    group: &GroupName,
    upload: UploadedBody,
    arrived: Moment,
    lines: B,
    split: WindowSplit,
) -> ReceivedChunk<B> {
    // No file has this inode or this first line, so no sender's stream is confused with this one.
    let file = FileKey { dev: 0, inode: 0 };
    let head = Head::of(format!("\0upload {group}\n").as_bytes()).expect("a whole line");
    let body = lines.as_ref();
    let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let header = ChunkHeader {
        stream: StreamId::derive(file, head, 0),
        log: upload_log(),
        file,
        head,
        // Only the length counts. The committer stores the lines at the end of the stream.
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
    ReceivedChunk {
        source: upload.source.clone(),
        sender: None,
        upload: Some(upload),
        header,
        arrived,
        body: lines,
        split,
    }
}
