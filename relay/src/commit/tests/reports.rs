//! Reports of senders that come in parts, and their questions.

use std::time::Instant;

use logferry_ledger::{SENDERS_KEPT, SourceRecord};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::heartbeat::{Heartbeat, HostTime, StreamProgress};
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{FileQuery, MAX_QUERIES, ResolveRequest};
use logferry_protocol::sender::SenderId;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

use super::{CommitterFixture, chunk, line, moment, now, stream};
use crate::commit::committer::SenderReport;

/// A report of so many streams at this time, in parts of a few.
fn parts(streams: u64, at: i64) -> Vec<Heartbeat> {
    let head = Head::of(b"line\n").expect("a line");
    let progress = |number: u64| StreamProgress {
        stream: StreamId::derive(
            FileKey {
                dev: 1,
                inode: number,
            },
            head,
            0,
        ),
        log: "access".parse().expect("a name"),
        path: format!("/log/{number}"),
        read: Offset::ZERO,
        sent: Offset::ZERO,
        acked: Offset::ZERO,
        size: Offset::new(10),
        oldest_unread_ms: 0,
        lines: LineCounts::default(),
        rotated: false,
        deleted: false,
    };
    let report = Heartbeat {
        at: Some(HostTime::from_millis(at)),
        streams: (0..streams).map(progress).collect(),
        ..Heartbeat::default()
    };
    report.into_parts(5000)
}

impl CommitterFixture {
    fn report(&mut self, part: Heartbeat) {
        let sender = ("198.51.100.1".parse().expect("valid"), None);
        self.committer()
            .heartbeat(sender, part, moment(now()))
            .expect("noted");
    }

    fn source(&mut self) -> SourceRecord {
        let sources = self.committer().ledger.sources().expect("listed");
        sources.into_iter().next().expect("a source")
    }
}

#[test]
fn a_report_in_parts_counts_once_all_of_it_is_here() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let parts = parts(40, 1);
    assert!(parts.len() > 2);
    for part in parts {
        if !part.is_whole() {
            fixture.report(part);
            assert_eq!(fixture.source().heartbeat, None, "only a part is here");
            continue;
        }
        fixture.report(part);
    }
    let source = fixture.source();
    assert_eq!((source.streams.len(), source.lag_bytes), (40, 400));
    assert_eq!(source.known_lag_bytes(), Some(400));
}

#[test]
fn a_report_whose_first_parts_are_missing_leaves_the_lag_unknown() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let mut of_report = parts(40, 1);
    let last = of_report.pop().expect("a part");
    fixture.report(of_report.remove(0));
    fixture.restart();
    fixture.report(last);
    assert_eq!(fixture.source().known_lag_bytes(), None);
    for part in parts(40, 2) {
        fixture.report(part);
    }
    assert_eq!(
        fixture.source().known_lag_bytes(),
        Some(400),
        "the next report is whole"
    );
}

#[test]
fn parts_that_are_never_completed_are_forgotten() {
    let mut fixture = CommitterFixture::new(1 << 30);
    fixture.report(parts(40, 1).remove(0));
    assert_eq!(fixture.committer().partial_reports.len(), 1);
    let old = Instant::now().checked_sub(std::time::Duration::from_mins(1));
    for report in fixture.committer().partial_reports.values_mut() {
        *report = SenderReport {
            heartbeat: Heartbeat::default(),
            received_at: old.expect("the machine runs for a minute"),
        };
    }
    fixture.seal_due(now());
    assert!(fixture.committer().partial_reports.is_empty());
}

#[test]
fn a_host_that_names_itself_anew_each_time_takes_no_more_memory() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let whole = parts(1, 1).remove(0);
    let part = parts(40, 1).remove(0);
    let other: SourceId = "198.51.100.2".parse().expect("valid");
    let host: SourceId = "198.51.100.1".parse().expect("valid");
    let mut report = |sender, heartbeat: &Heartbeat| {
        let noted = fixture
            .committer()
            .heartbeat(sender, heartbeat.clone(), moment(now()));
        noted.expect("noted");
    };
    report((other.clone(), None), &whole);
    for id in 0..u128::from(SENDERS_KEPT) + 10 {
        let name = |number| Some(SenderId::new(number));
        report((host.clone(), name(id)), &whole);
        report((host.clone(), name(id + 1_000_000)), &part);
    }
    let kept = SENDERS_KEPT as usize;
    assert_eq!(fixture.committer().reports.len(), kept + 1);
    assert_eq!(fixture.committer().partial_reports.len(), kept);
    assert!(fixture.committer().reports.contains_key(&(other, None)));
    let first = (host, Some(SenderId::new(0)));
    assert!(
        !fixture.committer().reports.contains_key(&first),
        "the oldest is gone"
    );
}

/// A question about the head of [`stream`] 1.
fn query(files: Vec<FileKey>) -> FileQuery {
    let (_, head, _) = stream(1);
    FileQuery {
        is_continued: false,
        log: "access".parse().expect("valid"),
        head,
        acknowledged: None,
        files,
    }
}

/// The stream of a file that begins as that of [`stream`] 1.
fn alike(file: FileKey) -> StreamId {
    let (_, head, _) = stream(1);
    StreamId::derive(file, head, 0)
}

impl CommitterFixture {
    /// With fifty streams that begin alike.
    fn with_fifty_alike() -> Self {
        let mut fixture = Self::new(1 << 30);
        let body = line(20, "a");
        let (_, head, _) = stream(1);
        let chunk = |number| {
            let mut chunk = chunk(number, 0, &body);
            (chunk.header.head, chunk.header.stream) = (head, alike(chunk.header.file));
            chunk
        };
        fixture.send((1..=50).map(chunk).collect());
        fixture
    }

    /// The streams that each query is answered with.
    fn ask(&mut self, files: Vec<FileQuery>) -> Vec<Vec<StreamId>> {
        let sender = ("198.51.100.1".parse().expect("valid"), None);
        let answer = self
            .committer()
            .resolve(&sender, &ResolveRequest { files }, now());
        let found = answer.expect("a ledger").candidates.into_iter();
        let ids = found.map(|streams| streams.into_iter().map(|known| known.stream).collect());
        ids.collect()
    }
}

#[test]
fn of_very_many_streams_with_one_head_those_are_named_that_the_sender_asks_for() {
    let mut fixture = CommitterFixture::with_fifty_alike();
    let mut listed = fixture.ask(vec![query(Vec::new()); MAX_QUERIES]);
    let all: usize = listed.iter().map(Vec::len).sum();
    let newest = listed.pop().expect("an answer");
    assert_eq!((listed[0].len(), newest.len(), all), (50, 20, 40_000));
    let mut files = (1..=50).map(|number| stream(number).0);
    let unnamed = files.find(|&file| !newest.contains(&alike(file)));
    let file = unnamed.expect("thirty of them");
    let named = fixture.ask(vec![query(vec![file]); MAX_QUERIES]);
    let named = named.last().expect("an answer");
    assert!(named.len() == 21 && named.contains(&alike(file)), "{named:?}");
}

#[test]
fn a_query_that_goes_on_with_a_head_is_answered_with_what_it_asks_for_only() {
    let mut fixture = CommitterFixture::with_fifty_alike();
    let (file, ..) = stream(7);
    let further = FileQuery {
        is_continued: true,
        ..query(vec![file])
    };
    let named = fixture.ask(vec![query(Vec::new()), further]);
    assert_eq!((named.len(), named[0].len()), (2, 50));
    assert_eq!(named[1], [alike(file)]);
}
