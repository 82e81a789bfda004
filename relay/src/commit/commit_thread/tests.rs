//! A group's thread on a disk that runs full and fails.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use logferry_durable::Operation;
use logferry_ledger::Ledger;
use logferry_protocol::chunk::Outcome;
use logferry_telemetry::Metrics;
use logferry_testkit::SimDisk;

use super::*;
use crate::chunk::BodyPool;
use crate::commit::tests::{chunk, line, rules};
use crate::spool::Spool;

/// Far beyond what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

struct TestGroup {
    disk: SimDisk,
    queue: CommitQueue,
    metrics: Metrics,
    memory: BodyPool,
    ledger_dir: Arc<tempfile::TempDir>,
}

impl TestGroup {
    fn start(min_free_disk: u64) -> Self {
        let ledger_dir = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::beside(ledger_dir, "web-1", min_free_disk)
    }

    /// On a disk of its own.
    fn beside(ledger_dir: Arc<tempfile::TempDir>, name: &str, min_free_disk: u64) -> Self {
        let (disk, metrics) = (SimDisk::new(), Metrics::new());
        let ledger = Ledger::open_or_create(ledger_dir.path()).expect("a ledger");
        let spool = Spool::new(disk.clone(), Path::new("/spool"));
        let group = name.parse().expect("a name");
        let committer = Committer::start(group, rules(1 << 30), spool, ledger).expect("the disk works");
        let started = CommitQueue::start(committer, metrics.relay(name), min_free_disk);
        let (queue, _) = started.expect("a thread");
        Self {
            disk,
            queue,
            metrics,
            memory: BodyPool::new(1 << 20),
            ledger_dir,
        }
    }

    async fn send(&self, stream: u64, start: usize, lines: &[u8]) -> ChunkReply {
        let mut body = self.memory.reserve(lines.len(), 0).await;
        body.extend(lines);
        let chunk = chunk(stream, start as u64, lines);
        let chunk = ReceivedChunk {
            source: chunk.source,
            header: chunk.header,
            upload: None,
            body,
            split: chunk.split,
        };
        let (reply, received) = oneshot::channel();
        let sent = self.queue.submit(CommitJob::Store(Box::new(chunk), reply));
        sent.expect("the thread runs");
        tokio::time::timeout(PATIENCE, received)
            .await
            .expect("soon")
            .expect("an answer")
    }

    /// Sends it again and again until it is stored, as a sender does.
    async fn ship(&self, stream: u64, start: usize, lines: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while !is_stored(&self.send(stream, start, lines).await) {
            assert!(Instant::now() < deadline, "it is never taken");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until(&self, what: &str, is_so: impl Fn(&SharedGroupStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self.queue.status()) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn stored(&self) -> Vec<u8> {
        let files = self.disk.files();
        files
            .iter()
            .filter_map(|file| self.disk.contents(file))
            .flatten()
            .collect()
    }
}

fn is_stored(answer: &ChunkReply) -> bool {
    matches!(answer, ChunkReply::Receipt(receipt) if receipt.outcome == Outcome::Stored)
}

#[tokio::test]
async fn below_min_free_disk_nothing_is_taken_and_with_room_it_goes_on_by_itself() {
    let group = TestGroup::start(1 << 20);
    let (first, second) = (line(20, "first"), line(20, "second"));
    assert!(is_stored(&group.send(1, 0, &first).await));
    group.disk.set_free_bytes((1 << 20) - 1);
    group
        .wait_until("the disk to be low", |status| status.rejection_reason().is_some())
        .await;
    let low = ChunkReply::Wait("the relay's disk is nearly full".to_owned());
    assert_eq!(group.send(1, first.len(), &second).await, low);
    assert!(
        group
            .metrics
            .text()
            .contains("logferry_relay_taking_lines{group=\"web-1\"} 0")
    );
    assert!(group.queue.status().fault().is_some());

    group.disk.set_free_bytes(1 << 20);
    group
        .wait_until("room", |status| status.rejection_reason().is_none())
        .await;
    assert_eq!(group.queue.status().fault(), None);
    assert!(is_stored(&group.send(1, first.len(), &second).await));
    assert!(
        group
            .metrics
            .text()
            .contains("logferry_relay_taking_lines{group=\"web-1\"} 1")
    );
    assert_eq!(group.stored(), [first, second].concat());
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_costs_nothing_but_time() {
    let group = TestGroup::start(0);
    let (first, second) = (line(20, "first"), line(20, "second"));
    group.ship(1, 0, &first).await;
    for operation in [
        Operation::Sync,
        Operation::Append,
        Operation::Truncate,
        Operation::Open,
    ] {
        group.disk.fail_next(operation, ErrorKind::Other);
    }
    let answer = group.send(1, first.len(), &second).await;
    assert_eq!(
        answer,
        ChunkReply::Wait("the relay cannot write to its disk".to_owned())
    );
    let trouble = group.queue.status().fault().expect("it is known");
    assert!(
        trouble.starts_with("the relay cannot write to its disk: cannot "),
        "{trouble}"
    );
    group.ship(1, first.len(), &second).await;
    group
        .wait_until("the trouble to end", |status| status.fault().is_none())
        .await;
    assert!(
        group
            .metrics
            .text()
            .contains("logferry_relay_commit_failures_total{group=\"web-1\"}")
    );
    assert_eq!(group.stored(), [first, second].concat());
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_recovery_needs_no_request() {
    let group = TestGroup::start(0);
    let (first, second) = (line(20, "first"), line(20, "second"));
    group.ship(1, 0, &first).await;
    group.disk.set_free_bytes(10);
    let answer = group.send(1, first.len(), &second).await;
    assert_eq!(answer, ChunkReply::Wait("the relay's disk is full".to_owned()));
    let after_recovery = |status: &SharedGroupStatus| status.rejection_reason().is_none();
    group.wait_until("a recovery", after_recovery).await;
    assert_eq!(group.stored(), first, "what was written in part is cut off");
    assert!(
        group.queue.status().fault().is_some(),
        "it has not proved itself yet"
    );
    group.disk.set_free_bytes(1 << 20);
    group.ship(1, first.len(), &second).await;
    assert_eq!(group.stored(), [first, second].concat());
}

#[tokio::test]
async fn a_group_whose_disk_is_gone_is_no_concern_of_another() {
    let ill = TestGroup::start(0);
    let well = TestGroup::beside(Arc::clone(&ill.ledger_dir), "web-2", 0);
    ill.disk.fail_after(0);
    let wait = ChunkReply::Wait("the relay cannot write to its disk".to_owned());
    let (mut start, line) = (0, line(20, "a line"));
    for _ in 0..50 {
        assert_eq!(ill.send(1, 0, &line).await, wait);
        assert!(is_stored(&well.send(2, start, &line).await));
        start += line.len();
    }
    assert_eq!(well.queue.status().fault(), None);
    ill.disk.heal();
    ill.ship(1, 0, &line).await;
}
