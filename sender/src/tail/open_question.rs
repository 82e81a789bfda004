//! A question to the relay, in as many requests as it needs. No I/O.
//!
//! A relay takes 1 MiB in one request, and looks at so many streams and files of one query. Logs that all begin with the same line
//! may have thousands of each: they are asked for in several queries, and nothing is decided before all are answered.

use std::collections::{BTreeSet, VecDeque};

use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{
    AcknowledgedStream, FileQuery, KnownStream, MAX_QUERIES, ResolveRequest, ResolveResponse,
};
use logferry_protocol::stream::{FileKey, Head};

use crate::tail::log::resolve::ResolvedHead;

/// Most streams, and most files, of one query that a relay looks at.
const STREAMS_MAX: usize = 100;
const FILES_MAX: usize = 200;
/// Most bytes of the queries in one request. An older relay answers each query of a head with all streams of the head.
const REQUEST_BYTES: usize = 256 * 1024;

/// What a log asks about one head.
#[derive(Debug)]
pub(super) struct HeadQuestion {
    /// The number of the log.
    pub(super) log: usize,
    pub(super) head: Head,
    /// The log's name, and those it had before.
    pub(super) names: Vec<LogName>,
    pub(super) acknowledged: Vec<AcknowledgedStream>,
    pub(super) files: Vec<FileKey>,
}

impl HeadQuestion {
    fn queries(&self) -> impl Iterator<Item = FileQuery> {
        let (mut streams, mut files) = (
            self.acknowledged.chunks(STREAMS_MAX),
            self.files.chunks(FILES_MAX),
        );
        let parts = std::iter::from_fn(move || match (streams.next(), files.next()) {
            (None, None) => None,
            (streams, files) => Some((streams.unwrap_or_default(), files.unwrap_or_default())),
        });
        let mut parts: Vec<_> = parts.collect();
        if parts.is_empty() {
            parts.push((&[], &[]));
        }
        parts
            .into_iter()
            .enumerate()
            .flat_map(move |(part, (streams, files))| {
                self.names.iter().map(move |name| FileQuery {
                    is_continued: part > 0,
                    log: name.clone(),
                    head: self.head,
                    acknowledged: Some(streams.to_vec()),
                    files: files.to_vec(),
                })
            })
    }
}

/// What one log has asked about one head.
#[derive(Debug)]
struct AskedHead {
    log: usize,
    head: Head,
    files: BTreeSet<FileKey>,
    queries: usize,
}

#[derive(Debug, Default)]
pub(super) struct OpenQuestion {
    asked: Vec<AskedHead>,
    queries: VecDeque<FileQuery>,
    /// How many queries the request has that was sent and not answered.
    sent: usize,
    candidates: Vec<Vec<KnownStream>>,
    of_other_logs: Vec<Vec<KnownStream>>,
}

impl OpenQuestion {
    /// `None` once it has enough queries. The rest is asked for later.
    pub(super) fn add(&mut self, question: &HeadQuestion) -> Option<()> {
        let before = self.queries.len();
        if before >= MAX_QUERIES {
            return None;
        }
        self.queries.extend(question.queries());
        self.asked.push(AskedHead {
            log: question.log,
            head: question.head,
            files: question.files.iter().copied().collect(),
            queries: self.queries.len() - before,
        });
        Some(())
    }

    /// The next request, if the one before is answered.
    pub(super) fn next_request(&mut self) -> Option<ResolveRequest> {
        if self.sent > 0 {
            return None;
        }
        let (mut files, mut bytes) = (Vec::new(), 0);
        while let Some(query) = self.queries.front() {
            bytes += serde_json::to_vec(query).map_or(REQUEST_BYTES, |text| text.len());
            if files.len() == MAX_QUERIES || (bytes > REQUEST_BYTES && !files.is_empty()) {
                break;
            }
            files.extend(self.queries.pop_front());
        }
        self.sent = files.len();
        (self.sent > 0).then_some(ResolveRequest { files })
    }

    /// Takes the answer to the last request. Returns whether the question is answered.
    pub(super) fn answered(&mut self, response: &mut ResolveResponse) -> bool {
        let all = self.candidates.len() + std::mem::take(&mut self.sent);
        self.candidates.append(&mut response.candidates);
        self.of_other_logs.append(&mut response.of_other_logs);
        // Older relays do not send these.
        self.of_other_logs.resize(all, Vec::new());
        self.queries.is_empty()
    }

    /// The answers for each log.
    pub(super) fn into_answers(self, logs: usize) -> Vec<Vec<ResolvedHead>> {
        let mut answers: Vec<Vec<ResolvedHead>> = (0..logs).map(|_| Vec::new()).collect();
        let (mut candidates, mut of_other_logs) =
            (self.candidates.into_iter(), self.of_other_logs.into_iter());
        for asked in self.asked {
            let queries = asked.queries;
            let resolved = ResolvedHead {
                head: asked.head,
                files: asked.files,
                streams: candidates.by_ref().take(queries).flatten().collect(),
                of_other_logs: of_other_logs.by_ref().take(queries).flatten().collect(),
            };
            if let Some(answers) = answers.get_mut(asked.log) {
                answers.push(resolved);
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use logferry_protocol::stream::{Offset, StreamId};

    use super::*;
    use crate::streams::tracked_stream::{TrackedStream, stream_start};

    fn question(streams: u64, files: u64) -> HeadQuestion {
        let head = Head::of(b"#Fields: date time\n").expect("a line");
        let key = |inode| FileKey { dev: 1, inode };
        let known = |inode| {
            let id = StreamId::derive(key(inode), head, 0);
            TrackedStream::new(id, head, stream_start()).acknowledged(key(inode), Offset::ZERO)
        };
        HeadQuestion {
            log: 0,
            head,
            names: vec!["access".parse().expect("a name")],
            acknowledged: (0..streams).map(known).collect(),
            files: (0..files).map(key).collect(),
        }
    }

    fn response(request: ResolveRequest) -> ResolveResponse {
        let known = |query: FileQuery| {
            let streams = query.acknowledged.into_iter().flatten();
            streams.map(|known| known.stream).collect()
        };
        ResolveResponse {
            source: "192.0.2.1".parse().expect("an address"),
            group: None,
            max_chunk: 1,
            ledger: None,
            rebuilt: None,
            restored: None,
            candidates: request.files.into_iter().map(known).collect(),
            of_other_logs: Vec::new(),
        }
    }

    #[test]
    fn thousands_of_files_with_one_first_line_are_asked_for_in_requests_that_a_relay_takes() {
        let (mut open, mut requests) = (OpenQuestion::default(), 0);
        for (streams, files) in [(7000, 3000), (0, 0), (0, 500)] {
            open.add(&question(streams, files)).expect("room");
        }
        while let Some(request) = open.next_request() {
            assert_eq!(open.next_request(), None, "one at a time");
            assert!(serde_json::to_vec(&request).expect("JSON").len() < 1 << 20);
            for query in &request.files {
                let streams = query.acknowledged.as_ref().map_or(0, Vec::len);
                assert!(streams <= STREAMS_MAX && query.files.len() <= FILES_MAX);
            }
            requests += 1;
            let is_answered = open.answered(&mut response(request));
            assert_eq!(is_answered, open.queries.is_empty());
        }
        let answers = open.into_answers(1);
        let streams: Vec<_> = answers[0].iter().map(|answer| answer.streams.len()).collect();
        assert_eq!((streams, requests > 5), (vec![7000, 0, 0], true));
    }

    #[test]
    fn a_question_has_an_end_and_the_rest_is_asked_later() {
        let mut open = OpenQuestion::default();
        let added = (0..).take_while(|_| open.add(&question(0, 0)).is_some());
        assert_eq!(added.count(), MAX_QUERIES);
    }
}
