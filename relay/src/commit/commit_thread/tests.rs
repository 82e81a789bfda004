//! Tests of a commit thread on a disk that runs full and fails.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use logferry_durable::DiskOperation;
use logferry_ledger::{FILE_NAME, Ledger};
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::resolve::FileQuery;
use logferry_protocol::sender::SenderId;
use logferry_spool::Spool;
use logferry_telemetry::Metrics;
use logferry_testkit::SimDisk;

use super::*;
use crate::chunk::BodyPool;
use crate::commit::disk_scheduler::SharedDiskScheduler;
use crate::commit::tests::{chunk, line, rules};

/// Much longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);

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

    /// A group on the same ledger, with a disk of its own.
    fn beside(ledger_dir: Arc<tempfile::TempDir>, name: &str, min_free_disk: u64) -> Self {
        let (disk, metrics) = (SimDisk::new(), Metrics::new());
        let ledger = Ledger::open_or_create(ledger_dir.path()).expect("a ledger");
        let spool = Spool::new(disk.clone(), Path::new("/spool"));
        let group = name.parse().expect("a name");
        let committer =
            Committer::start(group, rules(1 << 30), spool, ledger, Moment::now()).expect("the disk works");
        let scheduler = SharedDiskScheduler::default().join();
        let started = CommitQueue::start(committer, scheduler, metrics.relay(name), min_free_disk);
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
            sender: None,
            header: chunk.header,
            upload: None,
            arrived: Moment::now(),
            body,
            split: chunk.split,
        };
        let (reply, received) = oneshot::channel();
        self.queue.submit(CommitJob::Store(Box::new(chunk), reply));
        tokio::time::timeout(TIMEOUT, received)
            .await
            .expect("soon")
            .expect("an answer")
    }

    /// Sends a chunk repeatedly until it is stored, as a sender does.
    async fn send_until_stored(&self, stream: u64, start: usize, lines: &[u8]) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_stored(&self.send(stream, start, lines).await) {
            assert!(Instant::now() < deadline, "it is never stored");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until(&self, what: &str, is_so: impl Fn(&SharedGroupStatus) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_so(self.queue.status()) {
            assert!(Instant::now() < deadline, "timed out waiting for {what}");
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

fn wait(reason: &str) -> ChunkReply {
    ChunkReply::Wait(reason.to_owned())
}

fn is_stored(answer: &ChunkReply) -> bool {
    matches!(answer, ChunkReply::Receipt(receipt) if receipt.outcome == ChunkOutcome::Stored)
}

#[tokio::test]
async fn below_min_free_disk_no_line_is_accepted_until_there_is_space_again() {
    let group = TestGroup::start(1 << 20);
    let (first, second) = (line(20, "first"), line(20, "second"));
    assert!(is_stored(&group.send(1, 0, &first).await));
    group.disk.set_free_bytes((1 << 20) - 1);
    let is_low = |status: &SharedGroupStatus| status.rejection_reason().is_some();
    group.wait_until("the disk to be low", is_low).await;
    let answer = group.send(1, first.len(), &second).await;
    assert_eq!(answer, wait("the relay's disk is nearly full"));
    let metrics = group.metrics.text();
    assert!(metrics.contains("logferry_relay_taking_lines{group=\"web-1\"} 0"));
    assert!(group.queue.status().fault().is_some());

    group.disk.set_free_bytes(1 << 20);
    let has_room = |status: &SharedGroupStatus| status.rejection_reason().is_none();
    group.wait_until("room", has_room).await;
    assert_eq!(group.queue.status().fault(), None);
    assert!(is_stored(&group.send(1, first.len(), &second).await));
    let metrics = group.metrics.text();
    assert!(metrics.contains("logferry_relay_taking_lines{group=\"web-1\"} 1"));
    assert_eq!(group.stored(), [first, second].concat());
}

#[tokio::test]
async fn a_temporary_disk_failure_loses_nothing() {
    let group = TestGroup::start(0);
    let (first, second) = (line(20, "first"), line(20, "second"));
    group.send_until_stored(1, 0, &first).await;
    for operation in [
        DiskOperation::Sync,
        DiskOperation::Append,
        DiskOperation::Truncate,
        DiskOperation::Open,
    ] {
        group.disk.fail_next(operation, ErrorKind::Other);
    }
    let answer = group.send(1, first.len(), &second).await;
    assert_eq!(answer, wait("the relay cannot write to its disk"));
    let fault = group.queue.status().fault().expect("it is known");
    assert!(
        fault.starts_with("the relay cannot write to its disk: cannot "),
        "{fault}"
    );
    group.send_until_stored(1, first.len(), &second).await;
    let is_over = |status: &SharedGroupStatus| status.fault().is_none();
    group.wait_until("the fault to end", is_over).await;
    let metrics = group.metrics.text();
    assert!(metrics.contains("logferry_relay_commit_failures_total{group=\"web-1\"}"));
    assert_eq!(group.stored(), [first, second].concat());
}

#[tokio::test]
async fn a_group_with_a_full_disk_recovers_without_a_request() {
    let group = TestGroup::start(0);
    let (first, second) = (line(20, "first"), line(20, "second"));
    group.send_until_stored(1, 0, &first).await;
    group.disk.set_free_bytes(10);
    let answer = group.send(1, first.len(), &second).await;
    assert_eq!(answer, wait("the relay's disk is full"));
    let after_recovery = |status: &SharedGroupStatus| status.rejection_reason().is_none();
    group.wait_until("a recovery", after_recovery).await;
    assert_eq!(group.stored(), first, "a partial write is cut off");
    assert!(group.queue.status().fault().is_some(), "it is still on trial");
    group.disk.set_free_bytes(1 << 20);
    group.send_until_stored(1, first.len(), &second).await;
    assert_eq!(group.stored(), [first, second].concat());
}

#[tokio::test]
async fn a_failed_disk_does_not_affect_another_group() {
    let failing = TestGroup::start(0);
    let healthy = TestGroup::beside(Arc::clone(&failing.ledger_dir), "web-2", 0);
    failing.disk.fail_after(0);
    let wait = wait("the relay cannot write to its disk");
    let (mut start, line) = (0, line(20, "a line"));
    for _ in 0..50 {
        assert_eq!(failing.send(1, 0, &line).await, wait);
        assert!(is_stored(&healthy.send(2, start, &line).await));
        start += line.len();
    }
    assert_eq!(healthy.queue.status().fault(), None);
    failing.disk.heal();
    failing.send_until_stored(1, 0, &line).await;
}

/// A commit thread that does not run.
fn resting_thread() -> (CommitThread<SimDisk>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
    let spool = Spool::new(SimDisk::new(), Path::new("/spool"));
    let group = "web-1".parse().expect("a name");
    let committer = Committer::start(group, rules(1 << 30), spool, ledger, Moment::now());
    let scheduler = SharedDiskScheduler::default().join();
    let metrics = Metrics::new().relay("web-1");
    let thread = CommitThread::new(
        committer.expect("a committer"),
        scheduler,
        metrics,
        0,
        Weak::new(),
    );
    (thread.expect("a thread"), dir)
}

impl CommitThread<SimDisk> {
    /// Stores the chunk of a sender. Returns the outcome.
    async fn store(&mut self, sender: Option<SenderId>, start: usize, lines: &[u8]) -> Option<ChunkOutcome> {
        let mut body = BodyPool::new(1 << 20).reserve(lines.len(), 0).await;
        body.extend(lines);
        let chunk = chunk(1, start as u64, lines);
        let chunk = ReceivedChunk {
            source: chunk.source,
            sender,
            header: chunk.header,
            upload: None,
            arrived: Moment::now(),
            body,
            split: chunk.split,
        };
        let (reply, received) = oneshot::channel();
        let chunks = self.collect(std::iter::once(CommitJob::Store(Box::new(chunk), reply)));
        self.stage(chunks);
        self.come_to_rest();
        match received.await {
            Ok(ChunkReply::Receipt(receipt)) => Some(receipt.outcome),
            Ok(ChunkReply::Wait(_)) | Err(_) => None,
        }
    }

    /// Several queries at once about the file of that stream. Returns how many were answered with streams.
    fn ask(&mut self, sender: Option<SenderId>) -> usize {
        let header = chunk(1, 0, b"a line\n").header;
        let query = FileQuery {
            is_continued: false,
            log: header.log,
            head: header.head,
            acknowledged: None,
            files: Vec::new(),
        };
        let sender = ("198.51.100.1".parse().expect("valid"), sender);
        let (jobs, mut answers): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (reply, answer) = oneshot::channel();
                let request = ResolveRequest {
                    files: vec![query.clone()],
                };
                (CommitJob::Resolve(sender.clone(), request, reply), answer)
            })
            .unzip();
        self.record_reports(jobs);
        let answers = answers
            .iter_mut()
            .map(|answer| answer.try_recv().expect("answered"));
        answers
            .flatten()
            .filter(|found| found.candidates.iter().any(|streams| !streams.is_empty()))
            .count()
    }
}

/// A change of the sources then makes the transaction fail at its end.
const REFUSE_COMMITS: &str = "
CREATE TABLE refused (id INTEGER PRIMARY KEY, other INTEGER REFERENCES refused (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TRIGGER refuse_commit AFTER UPDATE ON sources BEGIN INSERT INTO refused (other) VALUES (-1); END;";

#[tokio::test]
async fn queries_are_answered_from_what_is_durable_after_the_transaction() {
    let (mut thread, dir) = resting_thread();
    let (first, second) = (line(20, "first"), line(20, "second"));
    assert_eq!(thread.store(None, 0, &first).await, Some(ChunkOutcome::Stored));
    let sql = rusqlite::Connection::open(dir.path().join(FILE_NAME)).expect("a ledger");
    sql.execute_batch(REFUSE_COMMITS).expect("a trigger");
    let other = Some(SenderId::new(2));
    assert_eq!(thread.ask(other), 0);
    sql.execute_batch("DROP TRIGGER refuse_commit").expect("gone");
    // It was told nothing, so it may not go on with the stream: nothing was read for it.
    let outcome = thread.store(other, first.len(), &second).await;
    assert_eq!(outcome, Some(ChunkOutcome::OffsetMismatch));
    assert_eq!(thread.ask(other), 3);
    let outcome = thread.store(other, first.len(), &second).await;
    assert_eq!(outcome, Some(ChunkOutcome::Stored));
}

/// The first sender of `198.51.100.1`.
fn first_sender() -> SenderRecord {
    SenderRecord {
        id: SenderId::new(1),
        group: "web-1".parse().expect("valid"),
        source: "198.51.100.1".parse().expect("valid"),
        by_address: true,
        address: [198, 51, 100, 1].into(),
        runs: Vec::new(),
        first_seen: Timestamp::UNIX_EPOCH,
        run_since: Timestamp::UNIX_EPOCH,
        last_contact: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_heartbeat_and_its_sender_are_one_transaction() {
    let (mut thread, dir) = resting_thread();
    let mut report = |record: Option<SenderRecord>| {
        let sender = ("198.51.100.1".parse().expect("valid"), Some(SenderId::new(1)));
        let (reply, mut received) = oneshot::channel();
        let job = CommitJob::Heartbeat(sender, Box::default(), record.map(Box::new), reply);
        thread.record_reports(vec![job]);
        received.try_recv().expect("answered")
    };
    let ledger = Ledger::open(dir.path()).expect("a ledger");
    let senders = || ledger.senders().expect("listed");
    assert!(report(None));
    let sql = rusqlite::Connection::open(ledger.path()).expect("a ledger");
    sql.execute_batch(REFUSE_COMMITS).expect("a trigger");
    assert!(!report(Some(first_sender())));
    assert_eq!(senders(), []);
    sql.execute_batch("DROP TRIGGER refuse_commit").expect("gone");
    assert!(report(Some(first_sender())));
    assert_eq!(senders(), [first_sender()]);
}

#[tokio::test]
async fn while_the_ledger_is_locked_several_queries_wait_for_it_once() {
    let (mut thread, dir) = resting_thread();
    assert_eq!(
        thread.store(None, 0, &line(20, "first")).await,
        Some(ChunkOutcome::Stored)
    );
    let waits = thread.committer.ledger.wait_for_locks(Duration::ZERO);
    waits.expect("set");
    let sql = rusqlite::Connection::open(dir.path().join(FILE_NAME)).expect("a ledger");
    sql.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert_eq!(thread.ask(None), 0);
    // Each wait is an error to be logged.
    let later = Instant::now() + Duration::from_hours(24);
    let event = thread.throttle.record(LoggedFault::Bookkeeping, (), later);
    assert_eq!(event.expect("a day later").unsaid(), None);
    sql.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(thread.ask(None), 3);
}

#[test]
fn a_conflict_is_told_once_a_minute_and_names_both_causes() {
    let ledger_dir = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open_or_create(ledger_dir.path()).expect("a ledger");
    let conflict = CommitError::Ledger(LedgerError::Conflict {
        path: ledger.path().to_owned(),
        action: "seal batches",
    });
    let spool = Spool::new(SimDisk::new(), Path::new("/spool"));
    let group = "web-1".parse().expect("a name");
    let committer =
        Committer::start(group, rules(1 << 30), spool, ledger, Moment::now()).expect("the disk works");
    let scheduler = SharedDiskScheduler::default().join();
    let metrics = Metrics::new().relay("web-1");
    let thread = CommitThread::new(committer, scheduler, metrics, 0, std::sync::Weak::new());
    let mut thread = thread.expect("threads");
    let told = logferry_telemetry::journal_messages(|| {
        for _ in 0..3 {
            thread.commit_failed(&conflict);
        }
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("cannot seal batches") && told[0].contains("two groups"),
        "{told:?}"
    );
}
