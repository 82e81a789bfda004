//! The sink against a server that answers in every way: each line is in the index once, or in a gap, or set aside.

use std::cell::Cell;
use std::time::Duration;

use logferry_config::Backoff;
use logferry_embedded_servers::{BulkFault, SearchServer};
use logferry_ledger::{Batch, BatchState};
use logferry_numbers::IndexDb;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::crashes::age;
use super::relay_host::RelayHost;
use crate::opensearch::{OpenSink, RoundEnd, Sink};

/// 2026-11-21 is the day of the batches' window.
const INDEX: &str = "logferry-2026.11.21";

const SOON: Backoff = Backoff {
    initial: Duration::from_millis(1),
    max: Duration::from_millis(2),
};

const NEVER: Backoff = Backoff {
    initial: Duration::from_hours(1),
    max: Duration::from_hours(1),
};

struct SinkHost {
    host: RelayHost,
    server: SearchServer,
    /// Whether a session was killed after the server took documents that it had not recorded yet.
    has_unrecorded: Cell<bool>,
}

impl SinkHost {
    async fn new() -> Self {
        let server = SearchServer::start().await.expect("a server");
        // A set of some lines, so that there are many of them.
        let settings = format!(
            "  opensearch: {{url: \"{}\", batch_bytes: 64KiB}}\n",
            server.url()
        );
        Self {
            host: RelayHost::new(&settings),
            server,
            has_unrecorded: Cell::new(false),
        }
    }

    fn sink(&self, backoff: Backoff) -> (Sink, OpenSink) {
        let settings = self.host.settings.opensearch.clone().expect("a section");
        let sink = Sink::new(&self.host.settings, settings, CancellationToken::new(), backoff);
        let open = sink.open().expect("opened");
        (sink, open)
    }

    /// Sends all that there is.
    async fn send_all(&self) {
        let (mut sink, mut open) = self.sink(SOON);
        sink.put_template(&mut open).await.expect("put");
        let mut idle = 0;
        // A file that is missing is a gap after some rounds.
        while idle <= crate::catalog::SEARCHES_MAX {
            if sink.round(&mut open).await.expect("a round") == RoundEnd::Whole {
                idle += 1;
            }
        }
    }

    /// One session that meets these faults, and is killed at the first one that makes it wait.
    async fn killed_at(&self, fault: BulkFault) {
        let is_taken = matches!(fault, BulkFault::CloseAfter);
        self.has_unrecorded.set(self.has_unrecorded.get() || is_taken);
        self.server.fail_next([fault]);
        let (mut sink, mut open) = self.sink(NEVER);
        // A session begins with it. It looks into the ledger, too.
        sink.put_template(&mut open).await.expect("put");
        let work = async {
            while self.server.faults_left() > 0
                && sink.round(&mut open).await.expect("a round") == RoundEnd::HasMore
            {}
        };
        let met = async {
            while self.server.faults_left() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = met => {}
        }
        self.server.fail_next([]);
    }

    /// Each committed line is a document once, or in a gap at the end of its batch, or refused. A line in a gap can be a document
    /// too: the server took it, and the file was deleted before the next session could send it again and record it.
    fn assert_whole(&self) {
        let reader = self.host.reader();
        let sent = reader.sent_batches().expect("read");
        let indices = self.server.indices();
        assert!(indices.keys().all(|index| index == INDEX), "{:?}", indices.keys());
        let documents = indices.get(INDEX).cloned().unwrap_or_default();
        let (mut lines, mut in_gaps) = (0, 0);
        for (batch, written) in &self.host.written {
            let Some(sent) = sent.get(batch) else {
                assert!(written.is_empty(), "{batch}: it has no place");
                continue;
            };
            let refused = reader.refused_documents(batch).expect("read");
            let (mut offset, mut here, mut set_aside) = (0, 0, 0);
            let (mut at, gap_at) = (0, written.len() as u64 - sent.gap_bytes);
            for line in written.split_inclusive(|byte| *byte == b'\n') {
                let id = format!("{batch}@{at:012}");
                let is_there = documents.get(&id).is_some_and(|document| {
                    let message = String::from_utf8_lossy(line);
                    assert_eq!(document["message"], message.trim_end(), "{id}");
                    assert_eq!(document["offset"], at, "{id}");
                    true
                });
                at += line.len() as u64;
                if offset >= gap_at {
                    in_gaps += u64::from(is_there);
                    continue;
                }
                if is_there {
                    here += 1;
                } else {
                    assert!(
                        refused.iter().any(|refused| refused.from == offset),
                        "{id} is missing"
                    );
                    set_aside += 1;
                }
                offset += line.len() as u64;
            }
            assert_eq!(
                offset + sent.gap_bytes,
                written.len() as u64,
                "{batch}: to its end"
            );
            assert_eq!((sent.documents, sent.refused), (here, set_aside), "{batch}");
            assert_eq!(refused.len() as u64, set_aside, "{batch}: refused once");
            lines += here;
        }
        assert_eq!(
            documents.len() as u64,
            lines + in_gaps,
            "no document of another line"
        );
        assert!(
            in_gaps == 0 || self.has_unrecorded.get(),
            "{in_gaps} documents in gaps"
        );
        let state = reader.sink_state().expect("read").expect("it has run");
        assert_eq!(state.totals.documents, lines);
        assert_eq!(state.index.lag.bytes, 0);
    }
}

fn lines(first: u32, count: u32) -> String {
    let line = |number: u32| format!("[21/Nov/2026:02:{}:03 +0000] {number}\n", 20 + number % 20);
    (first..first + count).map(line).collect()
}

#[tokio::test]
async fn each_kind_of_answer_ends_with_each_line_in_the_index_once() {
    let mut sink = SinkHost::new().await;
    let batch = sink.host.open("s0", "b0");
    let faults = [
        BulkFault::CloseBefore,
        BulkFault::CloseAfter,
        BulkFault::Truncate,
        BulkFault::Garbage,
        BulkFault::Refuse(429),
        BulkFault::Refuse(503),
        BulkFault::Refuse(401),
        BulkFault::Refuse(403),
        BulkFault::RefuseHalf(429),
        BulkFault::RefuseHalf(503),
        BulkFault::RefuseHalf(403),
        BulkFault::Slow(Duration::from_millis(20)),
    ];
    sink.server.set_script(|script| script.max_bytes = Some(5_000));
    for (number, fault) in (0_u32..).zip(faults) {
        sink.host.write(&batch, lines(number * 40, 40).as_bytes());
        sink.server.fail_next([fault]);
        sink.send_all().await;
    }
    sink.assert_whole();
    assert_eq!(sink.server.faults_left(), 0);
    assert_eq!(sink.server.count(), 480);
    assert!(sink.server.repeated() > 0, "lost answers made repeats");
}

#[tokio::test]
async fn lines_that_the_server_refuses_are_set_aside_with_the_reason_and_the_others_go_on() {
    let mut sink = SinkHost::new().await;
    sink.server
        .set_script(|script| script.unwanted = Some("] 7\"".to_owned()));
    let batch = sink.host.open("s0", "b0");
    sink.host.write(&batch, lines(0, 20).as_bytes());
    sink.send_all().await;
    sink.assert_whole();
    assert_eq!(sink.server.count(), 19);
    let refused = sink.host.reader().refused_documents("b0").expect("read");
    assert_eq!(
        (refused[0].status, &*refused[0].reason),
        (400, "failed to parse field")
    );
    assert!(
        String::from_utf8_lossy(&refused[0].document)
            .contains("\"message\":\"[21/Nov/2026:02:27:03 +0000] 7\"")
    );
}

#[tokio::test]
async fn batch_stays_in_the_index_that_it_was_bound_to_when_the_setting_changes() {
    let mut sink = SinkHost::new().await;
    let batch = sink.host.open("s0", "b0");
    sink.host.write(&batch, lines(0, 20).as_bytes());
    sink.killed_at(BulkFault::CloseAfter).await;
    assert_eq!(sink.server.count(), 20, "it took them");
    let settings = format!(
        "indexer:\n  opensearch: {{url: \"{}\", index: other}}\n",
        sink.server.url()
    );
    let other = logferry_config::parse(&settings, "c.yaml".as_ref(), &|_| None).expect("valid");
    sink.host.settings.opensearch = other.indexer.expect("a section").opensearch;
    sink.send_all().await;
    sink.assert_whole();
    assert_eq!(sink.server.count(), 20);
    // The killed session may have repeated them itself before its end: an answer that is lost on a kept connection is asked
    // for again at once.
    assert!(matches!(sink.server.repeated(), 20 | 40));
}

#[tokio::test]
async fn batch_that_was_deleted_before_it_was_sent_is_a_counted_gap() {
    let mut sink = SinkHost::new().await;
    let (first, second) = (sink.host.open("s0", "b0"), sink.host.open("s1", "b1"));
    sink.send_all().await;
    for batch in [&first, &second] {
        sink.host.write(batch, lines(0, 20).as_bytes());
    }
    for _ in 0..4 {
        age(&mut sink.host, &first);
    }
    sink.send_all().await;
    sink.assert_whole();
    let totals = sink
        .host
        .reader()
        .sink_state()
        .expect("read")
        .expect("a state")
        .totals;
    assert_eq!((totals.gaps, totals.gap_bytes), (1, lines(0, 20).len() as u64));
}

#[tokio::test]
async fn stored_document_that_is_called_too_large_afterwards_is_not_set_aside() {
    let mut sink = SinkHost::new().await;
    let batch = sink.host.open("s0", "b0");
    sink.host.write(&batch, lines(0, 1).as_bytes());
    sink.killed_at(BulkFault::CloseAfter).await;
    assert_eq!(
        sink.server.count(),
        1,
        "it took the document, and its answer was lost"
    );
    sink.server.set_script(|script| script.max_bytes = Some(10));
    sink.host.write(&batch, lines(1, 1).as_bytes());
    sink.send_all().await;
    sink.assert_whole();
    let refused = sink.host.reader().refused_documents("b0").expect("read");
    let offsets: Vec<_> = refused.iter().map(|document| document.from).collect();
    assert_eq!(offsets, [lines(0, 1).len() as u64], "only what it has not got");
}

#[tokio::test]
async fn everything_in_the_spool_is_sent_again_to_a_new_server_when_it_is_asked_for() {
    let mut sink = SinkHost::new().await;
    let (gone, batch) = (sink.host.open("s0", "b0"), sink.host.open("s1", "b1"));
    for batch in [&gone, &batch] {
        sink.host.write(batch, lines(0, 20).as_bytes());
    }
    let (mut running, mut open) = sink.sink(SOON);
    while running.round(&mut open).await.expect("a round") != RoundEnd::Whole {}
    for _ in 0..4 {
        age(&mut sink.host, &gone);
    }
    assert_eq!(sink.server.count(), 40);
    // The cluster was lost, and there is a new one at its address.
    sink.server.change_indices(std::collections::BTreeMap::clear);
    let mut db = IndexDb::open_or_create(&sink.host.settings.store_dir).expect("opened");
    db.request_resend(0).expect("asked");
    while running.round(&mut open).await.expect("a round") != RoundEnd::Whole {}
    assert_eq!(
        sink.server.count(),
        20,
        "all that the spool still has, by the running sink"
    );
    assert_eq!(sink.server.repeated(), 0);
    let reader = sink.host.reader();
    let sent = reader.sent_batches().expect("read");
    assert_eq!(sent.keys().collect::<Vec<_>>(), ["b1"]);
    assert_eq!((sent["b1"].documents, sent["b1"].gap_bytes), (20, 0));
    let totals = reader.sink_state().expect("read").expect("a state").totals;
    assert_eq!((totals.documents, totals.gaps), (20, 0));
    while running.round(&mut open).await.expect("a round") != RoundEnd::Whole {}
    assert_eq!(sink.server.repeated(), 0, "it is asked once");
}

#[tokio::test]
async fn server_that_answers_again_is_no_longer_waited_for_though_it_refuses_the_template() {
    let sink = SinkHost::new().await;
    sink.server.set_script(|script| script.is_down = true);
    let (mut running, mut open) = sink.sink(SOON);
    let db = IndexDb::open_or_create(&sink.host.settings.store_dir).expect("opened");
    let trouble = || db.sink_state().expect("read").trouble;
    let comes_back = async {
        while trouble().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sink.server.set_script(|script| {
            (script.is_down, script.is_template_forbidden) = (false, true);
        });
    };
    let (put, ()) = tokio::join!(running.put_template(&mut open), comes_back);
    put.expect("no error of this host");
    assert_eq!(trouble(), None);
}

#[derive(Debug, Clone)]
enum SinkStep {
    /// Lines, the last one perhaps cut off, to one of the open batches.
    Write { batch: usize, lines: u8, cut: bool },
    /// The next step in a batch's life: sealed, delivered, compressed, deleted.
    Age { batch: usize },
    /// Everything is sent, with these faults of the server.
    Send { faults: Vec<BulkFault> },
    /// It is killed after the server took a request, or took none.
    Kill { is_taken: bool },
}

fn fault() -> impl Strategy<Value = BulkFault> {
    prop_oneof![
        Just(BulkFault::CloseBefore),
        Just(BulkFault::CloseAfter),
        Just(BulkFault::Truncate),
        Just(BulkFault::Garbage),
        Just(BulkFault::Refuse(503)),
        Just(BulkFault::Refuse(413)),
        Just(BulkFault::RefuseHalf(429)),
    ]
}

fn step() -> impl Strategy<Value = SinkStep> {
    prop_oneof![
        4 => (0..4_usize, 2..60_u8, any::<bool>()).prop_map(|(batch, lines, cut)| SinkStep::Write { batch, lines, cut }),
        3 => (0..4_usize).prop_map(|batch| SinkStep::Age { batch }),
        2 => proptest::collection::vec(fault(), 0..4).prop_map(|faults| SinkStep::Send { faults }),
        2 => any::<bool>().prop_map(|is_taken| SinkStep::Kill { is_taken }),
    ]
}

async fn history(steps: Vec<SinkStep>) {
    let mut sink = SinkHost::new().await;
    let batches: Vec<Batch> = (0..4)
        .map(|n| sink.host.open(&format!("s{}", n % 2), &format!("b{n}")))
        .collect();
    // So that nothing has expired before the first look.
    sink.send_all().await;
    let mut number = 0;
    for step in steps {
        match step {
            SinkStep::Write {
                batch,
                lines: count,
                cut,
            } if sink.host.state(&batches[batch]) == BatchState::Open => {
                let mut text = lines(number, u32::from(count));
                number += u32::from(count);
                if cut {
                    text.push_str("cut");
                }
                sink.host.write(&batches[batch], text.as_bytes());
            }
            SinkStep::Write { .. } => {}
            SinkStep::Age { batch } => age(&mut sink.host, &batches[batch]),
            SinkStep::Send { faults } => {
                sink.server.fail_next(faults);
                sink.send_all().await;
            }
            SinkStep::Kill { is_taken } => {
                let fault = if is_taken {
                    BulkFault::CloseAfter
                } else {
                    BulkFault::CloseBefore
                };
                sink.killed_at(fault).await;
            }
        }
    }
    for batch in &batches {
        if sink.host.state(batch) == BatchState::Open && !sink.host.written[&batch.name()].is_empty() {
            sink.host.seal(batch);
        }
    }
    sink.send_all().await;
    sink.assert_whole();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn each_line_is_in_the_index_once_whatever_server_and_host_do(steps in proptest::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(history(steps));
    }
}
