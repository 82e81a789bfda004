//! Tests of streams that the ledger does not have: a rebuilt ledger restores them, and no other ledger does.

use jiff::Timestamp;
use logferry_protocol::resolve::{AcknowledgedStream, FileQuery, KnownStream, ResolveRequest};
use logferry_protocol::stream::{Offset, Tail};

use super::{ChunkOutcome, CommitterFixture, chunk, line, now, receipt, stream};

/// Resolves the stream of which a relay has acknowledged all of `sent`.
fn resolve(fixture: &mut CommitterFixture, sent: &[u8], at: Timestamp) -> Vec<KnownStream> {
    let (file, head, id) = stream(1);
    let committed = Offset::new(u64::try_from(sent.len()).expect("small"));
    let acknowledged = AcknowledgedStream {
        stream: KnownStream {
            stream: id,
            file,
            head,
            committed,
            tail: Tail::of(sent),
            by_other: false,
        },
        unanswered: Vec::new(),
        sent_until: committed,
        finished: false,
        certain_until: None,
    };
    let query = FileQuery {
        is_continued: false,
        log: "access".parse().expect("valid"),
        head,
        acknowledged: Some(vec![acknowledged]),
        files: Vec::new(),
    };
    let request = ResolveRequest { files: vec![query] };
    let source = "198.51.100.1".parse().expect("valid");
    let answer = fixture.committer().resolve(&(source, None), &request, at);
    answer.expect("a ledger").candidates.remove(0)
}

#[test]
fn an_unknown_stream_continues_in_a_rebuilt_ledger() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (old, new) = (line(20, "old"), line(20, "new"));
    assert_eq!(
        resolve(&mut fixture, &old, now()),
        [],
        "it may be another relay's"
    );
    fixture.ledger().restore(&[], &[], &[], now()).expect("a ledger");
    fixture.restart();
    let known = resolve(&mut fixture, &old, now());
    assert_eq!(known[0].committed.get(), old.len() as u64);
    let answers = fixture.send(vec![chunk(1, old.len() as u64, &new)]);
    let all = old.len() + new.len();
    assert_eq!(answers.get(&0), Some(&receipt(all, ChunkOutcome::Stored)));
    assert_eq!(fixture.stored(), new);
    // From now on the ledger has the stream.
    assert_eq!(resolve(&mut fixture, &old, now())[0].committed.get(), all as u64);
    assert_eq!(fixture.ledger().possible_duplicates().expect("a ledger"), []);
}

#[test]
fn a_stream_is_told_under_the_new_name_of_its_log_and_is_then_of_that_log() {
    let mut fixture = CommitterFixture::new(1 << 30);
    let (old, new) = (line(20, "old"), line(20, "new"));
    fixture.send(vec![chunk(1, 0, &old)]);
    let (file, head, id) = stream(1);
    let ask = |fixture: &mut CommitterFixture, log: &str, files: &[_]| {
        let query = FileQuery {
            is_continued: false,
            log: log.parse().expect("valid"),
            head,
            acknowledged: None,
            files: files.to_vec(),
        };
        let request = ResolveRequest { files: vec![query] };
        let source = "198.51.100.1".parse().expect("valid");
        let found = fixture.committer().resolve(&(source, None), &request, now());
        let mut found = found.expect("the ledger works");
        let ids =
            |streams: Vec<KnownStream>| -> Vec<_> { streams.iter().map(|known| known.stream).collect() };
        (
            ids(found.candidates.remove(0)),
            ids(found.of_other_logs.remove(0)),
        )
    };
    assert_eq!(ask(&mut fixture, "access", &[file]), (vec![id], Vec::new()));
    assert_eq!(ask(&mut fixture, "other", &[file]), (Vec::new(), vec![id]));
    assert_eq!(ask(&mut fixture, "other", &[]), (Vec::new(), Vec::new()));
    let start = u64::try_from(old.len()).expect("small");
    let mut next = chunk(1, start, &new);
    next.header.log = "other".parse().expect("valid");
    fixture.send(vec![next]);
    assert_eq!(fixture.stored(), [old, new].concat());
    assert_eq!(ask(&mut fixture, "other", &[]), (vec![id], Vec::new()));
}
