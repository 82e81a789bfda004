//! Reads one file from its beginning, with many reads in flight, and delivers the data in order.
//!
//! Each requested read is a segment. Complete segments are delivered from the front. A server may return fewer bytes
//! than requested; the job then requests the rest. A segment's bytes count in the budget from the first request
//! until the caller has taken them.

use std::collections::VecDeque;

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::jobs::{JobOutcome, NextSend, Progress, RequestPurpose, SessionLimits};
use crate::packets::reply::Reply;
use crate::packets::request::{OpenFor, Request};
use crate::status::StatusCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DownloadStage {
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
#[derive(Debug)]
pub(crate) struct Download {
    path: String,
    /// The requested length, in bytes.
    wanted: u64,
    stage: DownloadStage,
    handle: Vec<u8>,
    /// The offset of the next read.
    next: u64,
    /// Ordered by start.
    segments: VecDeque<Segment>,
    /// Requests sent and not answered.
    awaiting: usize,
    /// The end of the file, if a reply has shown it.
    end: Option<u64>,
    delivered: u64,
    failure: Option<JobError>,
}

impl Download {
    pub(crate) fn new(path: String, wanted: u64) -> Self {
        Self {
            path,
            wanted,
            stage: DownloadStage::Open,
            handle: Vec::new(),
            next: 0,
            segments: VecDeque::new(),
            awaiting: 0,
            end: None,
            delivered: 0,
            failure: None,
        }
    }

    pub(crate) fn next_send(&self, limits: &SessionLimits) -> NextSend {
        match self.stage {
            DownloadStage::Open => NextSend::Control,
            DownloadStage::Reading if self.first_short().is_some() => NextSend::Control,
            DownloadStage::Reading if self.wants_more() => NextSend::Data(self.piece(limits)),
            DownloadStage::Reading if self.awaiting == 0 => NextSend::Control,
            DownloadStage::Opening | DownloadStage::Reading | DownloadStage::Closing => NextSend::Wait,
        }
    }

    /// Sends no further reads.
    pub(crate) fn stop(&mut self) {
        self.wanted = self.next;
    }

    fn wants_more(&self) -> bool {
        self.failure.is_none() && self.end.is_none() && self.next < self.wanted
    }

    /// The first segment whose rest must be requested.
    fn first_short(&self) -> Option<usize> {
        if self.failure.is_some() {
            return None;
        }
        self.segments
            .iter()
            .position(|segment| segment.state == SegmentState::Short)
    }

    fn piece(&self, limits: &SessionLimits) -> u32 {
        u32::try_from(self.wanted - self.next).map_or(limits.read_len, |left| left.min(limits.read_len))
    }

    pub(crate) fn take_request(&mut self, limits: &SessionLimits) -> Option<(RequestPurpose, Request<'_>)> {
        match self.stage {
            DownloadStage::Open => {
                self.stage = DownloadStage::Opening;
                self.awaiting += 1;
                Some((
                    RequestPurpose::Open,
                    Request::Open {
                        path: &self.path,
                        open_for: OpenFor::Reading,
                    },
                ))
            }
            DownloadStage::Opening | DownloadStage::Closing => None,
            DownloadStage::Reading => {
                if let Some(short) = self.first_short() {
                    return self.request_rest(short);
                }
                if self.wants_more() {
                    let (start, len) = (self.next, self.piece(limits));
                    self.next += u64::from(len);
                    self.segments.push_back(Segment {
                        start,
                        len,
                        got: Vec::new(),
                        state: SegmentState::Requested,
                    });
                    self.awaiting += 1;
                    let request = Request::Read {
                        handle: &self.handle,
                        offset: start,
                        len,
                    };
                    return Some((RequestPurpose::Read { start }, request));
                }
                if self.awaiting > 0 {
                    return None;
                }
                self.stage = DownloadStage::Closing;
                self.awaiting += 1;
                Some((RequestPurpose::Close, Request::Close { handle: &self.handle }))
            }
        }
    }

    fn request_rest(&mut self, short: usize) -> Option<(RequestPurpose, Request<'_>)> {
        let segment = self.segments.get_mut(short)?;
        segment.state = SegmentState::Requested;
        self.awaiting += 1;
        let offset = segment.start + segment.got.len() as u64;
        Some((
            RequestPurpose::Read { start: segment.start },
            Request::Read {
                handle: &self.handle,
                offset,
                len: segment.rest(),
            },
        ))
    }

    pub(crate) fn on_reply(
        &mut self,
        purpose: RequestPurpose,
        reply: Reply<'_>,
    ) -> Result<Progress, ProtocolError> {
        self.awaiting -= 1;
        let mut progress = Progress::default();
        match purpose {
            RequestPurpose::Open => match reply {
                Reply::Handle(handle) => {
                    self.handle = handle.to_vec();
                    self.stage = DownloadStage::Reading;
                }
                Reply::Status(status) if status.code != StatusCode::Ok => {
                    let path = self.path.clone();
                    progress.ended = Some(Err(JobError::Refused {
                        step: RequestKind::Open,
                        path,
                        status,
                    }));
                }
                other => return Err(other.unexpected("a file handle")),
            },
            RequestPurpose::Read { start } => {
                self.on_read_reply(start, reply)?;
                self.deliver(&mut progress);
            }
            RequestPurpose::Close => {
                if let Some(status) = reply.into_refusal()? {
                    let path = self.path.clone();
                    self.failure.get_or_insert(JobError::Refused {
                        step: RequestKind::Close,
                        path,
                        status,
                    });
                }
                progress.freed = self.segments.drain(..).map(|segment| segment.len as usize).sum();
                progress.ended = Some(match self.failure.take() {
                    Some(failure) => Err(failure),
                    None => Ok(JobOutcome::Read {
                        bytes: self.delivered,
                    }),
                });
            }
            _ => unreachable!("a download makes no other request"),
        }
        Ok(progress)
    }

    fn on_read_reply(&mut self, start: u64, reply: Reply<'_>) -> Result<(), ProtocolError> {
        let Ok(index) = self
            .segments
            .binary_search_by_key(&start, |segment| segment.start)
        else {
            return Ok(());
        };
        let Some(segment) = self.segments.get_mut(index) else {
            return Ok(());
        };
        match reply {
            // Some servers mark the end of the file by empty data.
            Reply::Data([]) => self.end_at(index),
            Reply::Data(data) => {
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
            Reply::Status(status) if status.code == StatusCode::Eof => self.end_at(index),
            Reply::Status(status) if status.code != StatusCode::Ok => {
                let path = self.path.clone();
                self.failure.get_or_insert(JobError::Refused {
                    step: RequestKind::Read,
                    path,
                    status,
                });
            }
            other => return Err(other.unexpected("data")),
        }
        Ok(())
    }

    /// The file ends with the present bytes of segment `index`.
    fn end_at(&mut self, index: usize) {
        let Some(segment) = self.segments.get_mut(index) else {
            return;
        };
        segment.state = SegmentState::Complete;
        let end = segment.start + segment.got.len() as u64;
        self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
    }

    /// Delivers the complete segments at the front. Segments beyond the end of the file are dropped.
    fn deliver(&mut self, progress: &mut Progress) {
        while self.failure.is_none()
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
}
