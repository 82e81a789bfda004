//! Reads one file from its beginning, with many reads in flight, and delivers the data in order.
//!
//! Each requested read is a segment. Complete segments are delivered from the front. A server may return fewer bytes
//! than requested; the job then requests the rest. A segment's bytes count in the budget from the first request
//! until the caller has taken them.

use std::collections::VecDeque;

use crate::error::{ProtocolError, RequestKind};
use crate::jobs::{JobOutcome, Progress, RemoteFile, RequestPurpose, SessionLimits, piece};
use crate::packets::reply::Reply;
use crate::packets::request::{OpenFor, RequestWriter};
use crate::status::{ServerStatus, StatusCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum DownloadStage {
    #[default]
    Open,
    Opening,
    Reading,
    Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SegmentState {
    /// A read is sent and not answered.
    Requested,
    /// The server returned fewer bytes than requested: the request for the rest is due.
    Short,
    /// Filled, or cut by the end of the file.
    Complete,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    len: u32,
    got: Vec<u8>,
    state: SegmentState,
}

/// A job that reads one file.
#[derive(Debug, Default)]
pub(crate) struct Download {
    file: RemoteFile,
    /// The requested length, in bytes.
    wanted: u64,
    stage: DownloadStage,
    /// The offset of the next segment.
    next: u64,
    /// Ordered by start.
    segments: VecDeque<Segment>,
    /// The end of the file, if a reply has shown it.
    end: Option<u64>,
    delivered: u64,
}

impl Download {
    pub(crate) fn new(path: String, wanted: u64) -> Self {
        Self {
            file: RemoteFile::new(path),
            wanted,
            ..Self::default()
        }
    }

    pub(crate) fn next(&self, limits: &SessionLimits) -> Option<RequestPurpose> {
        match self.stage {
            DownloadStage::Open => Some(RequestPurpose::Open),
            DownloadStage::Reading => {
                let next = self.next_read(limits).filter(|_| self.file.failure.is_none());
                next.or_else(|| (self.file.awaiting == 0).then_some(RequestPurpose::Close))
            }
            DownloadStage::Opening | DownloadStage::Closing => None,
        }
    }

    /// The rest of a short segment, or a further segment.
    fn next_read(&self, limits: &SessionLimits) -> Option<RequestPurpose> {
        let is_short = |segment: &&Segment| segment.state == SegmentState::Short;
        if let Some(short) = self.segments.iter().find(is_short) {
            return Some(RequestPurpose::Read {
                start: short.start,
                offset: short.end(),
                len: short.rest(),
            });
        }
        let start = self.next;
        (self.end.is_none() && start < self.wanted).then(|| RequestPurpose::Read {
            start,
            offset: start,
            len: piece(self.wanted - start, limits.read_len),
        })
    }

    /// Sends no further reads.
    pub(crate) fn stop(&mut self) {
        self.wanted = self.next;
    }

    pub(crate) fn send(&mut self, purpose: RequestPurpose, out: RequestWriter<'_>) {
        let RemoteFile { path, handle, .. } = &self.file;
        match purpose {
            RequestPurpose::Open => {
                out.open(path, OpenFor::Reading);
                self.stage = DownloadStage::Opening;
            }
            RequestPurpose::Read { start, offset, len } => {
                out.read(handle, offset, len);
                if let Some(short) = self.segment(start) {
                    short.state = SegmentState::Requested;
                } else {
                    self.next += u64::from(len);
                    self.segments.push_back(Segment {
                        start,
                        len,
                        got: Vec::new(),
                        state: SegmentState::Requested,
                    });
                }
            }
            _ => {
                out.close(handle);
                self.stage = DownloadStage::Closing;
            }
        }
        self.file.awaiting += 1;
    }

    fn segment(&mut self, start: u64) -> Option<&mut Segment> {
        let found = self
            .segments
            .binary_search_by_key(&start, |segment| segment.start);
        self.segments.get_mut(found.ok()?)
    }

    pub(crate) fn on_reply(
        &mut self,
        purpose: RequestPurpose,
        reply: Reply<'_>,
    ) -> Result<Progress, ProtocolError> {
        self.file.awaiting -= 1;
        let mut progress = Progress::default();
        match purpose {
            RequestPurpose::Open => {
                self.stage = if self.file.on_open(reply)? {
                    DownloadStage::Reading
                } else {
                    DownloadStage::Closing
                };
            }
            RequestPurpose::Read { start, .. } => {
                self.on_read_reply(start, reply)?;
                self.deliver(&mut progress);
            }
            RequestPurpose::Close => self.file.on_status(RequestKind::Close, reply)?,
            _ => unreachable!("a download makes no other request"),
        }
        if self.stage == DownloadStage::Closing {
            progress.freed = self.segments.drain(..).map(|segment| segment.len as usize).sum();
            let bytes = self.delivered;
            progress.ended = Some(
                self.file
                    .failure
                    .take()
                    .map_or(Ok(JobOutcome::Read { bytes }), Err),
            );
        }
        Ok(progress)
    }

    fn on_read_reply(&mut self, start: u64, reply: Reply<'_>) -> Result<(), ProtocolError> {
        let Some(segment) = self.segment(start) else {
            return Ok(());
        };
        match reply {
            Reply::Data(data) if !data.is_empty() => {
                if data.len() > segment.rest() as usize {
                    return Err(ProtocolError::TooMuchData {
                        sent: data.len(),
                        asked: segment.rest() as usize,
                    });
                }
                segment.got.extend_from_slice(data);
                segment.state = if segment.rest() == 0 {
                    SegmentState::Complete
                } else {
                    SegmentState::Short
                };
            }
            // The file ends with the present bytes of the segment. Some servers show that by empty data.
            Reply::Data(_)
            | Reply::Status(ServerStatus {
                code: StatusCode::Eof,
                ..
            }) => {
                segment.state = SegmentState::Complete;
                let end = segment.end();
                self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
            }
            Reply::Status(status) if status.code != StatusCode::Ok => {
                self.file.refuse(RequestKind::Read, status);
            }
            other => return Err(other.unexpected("data")),
        }
        Ok(())
    }

    /// Delivers the complete segments at the front. Segments beyond the end of the file are dropped.
    fn deliver(&mut self, progress: &mut Progress) {
        while self.file.failure.is_none()
            && let Some(segment) = self
                .segments
                .pop_front_if(|front| front.state == SegmentState::Complete)
        {
            let beyond_end = self.end.is_some_and(|end| segment.start >= end);
            if segment.got.is_empty() || beyond_end {
                progress.freed += segment.len as usize;
                continue;
            }
            progress.freed += segment.rest() as usize;
            self.delivered += segment.got.len() as u64;
            progress.pieces.push(segment.got);
        }
    }
}

impl Segment {
    /// Bytes still missing.
    fn rest(&self) -> u32 {
        u32::try_from(self.got.len()).map_or(0, |got| self.len.saturating_sub(got))
    }

    /// The offset after the present bytes.
    fn end(&self) -> u64 {
        self.start + self.got.len() as u64
    }
}
