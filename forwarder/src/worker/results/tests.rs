//! Results that arrive while the ledger cannot be written, or while a folder of the spool cannot be made.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::sync::mpsc::channel;

use logferry_config::{FileCompression, Publishing, WindowManifest};
use logferry_durable::RealDisk;
use logferry_ledger::{
    BatchState, DeliveryCertainty, FILE_NAME, Ledger, NewManifest, PublishedBatch, Window,
};
use logferry_spool::Spool;
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::schedule::plan::tests::destination;

const SOURCE: &str = "198.51.100.1";

/// A worker without sessions, and another connection to its ledger.
struct Fixture {
    dir: TempDir,
    worker: DestinationWorker,
    other: Connection,
}

impl Fixture {
    /// As many batches wait.
    fn new(batches: usize) -> Self {
        Self::with(batches, None)
    }

    /// No batch waits, and the destination gets window manifests.
    fn with_manifests() -> Self {
        let settings = WindowManifest {
            wait: std::time::Duration::from_hours(1),
            expected_sources: Vec::new(),
        };
        Self::with(0, Some(settings))
    }

    fn with(batches: usize, window_manifest: Option<WindowManifest>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
        let spool = Spool::new(RealDisk, dir.path());
        for number in 0..batches {
            let new = new_batch(SOURCE, &format!("accessLog_{number}"));
            let batch = add_batch(&mut ledger, &new, b"one\n", BatchState::Ready, Timestamp::now());
            put_file(&RealDisk, &spool.path(&batch, BatchState::Ready), b"one\n");
        }
        let edw = Destination {
            window_manifest,
            ..destination(Publishing {
                compress: FileCompression::None,
                ..Publishing::default()
            })
        };
        let subscriber = logferry_config::Subscriber {
            name: edw.name.clone(),
            filter: edw.filter.clone(),
        };
        let mut store = crate::delivery_store::DeliveryStore::open(dir.path(), vec![subscriber]).unwrap();
        store.ledger.wait_for_locks(std::time::Duration::ZERO).unwrap();
        let store = std::sync::Arc::new(std::sync::Mutex::new(store));
        let hour = std::time::Duration::from_hours(1);
        let worker = DestinationWorker::new(
            edw,
            dir.path(),
            hour,
            &store,
            super::super::CancellationToken::new(),
        );
        let other = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        Self { dir, worker, other }
    }

    /// Plans, and takes everything as a session does.
    fn take_all(&mut self) -> Vec<DeliveryTask> {
        self.worker.plan().unwrap();
        std::iter::from_fn(|| self.worker.queue.take(0)).collect()
    }

    /// Writes a window manifest and takes it, as a session does, if it is due.
    fn take_manifest(&mut self) -> Option<DeliveryTask> {
        let name = self.worker.destination.name.clone();
        if self.manifests().is_empty() {
            let manifest = NewManifest {
                window: Window {
                    start: 0,
                    seconds: 1200,
                    utc_offset: 0,
                },
                revision: 1,
                name: "window.json".to_owned(),
                content: "{}".to_owned(),
                batches: Vec::new(),
            };
            let added = self
                .worker
                .store()
                .ledger
                .add_manifest(&name, &manifest, Timestamp::now());
            added.unwrap();
        }
        self.worker.wrote_at = None;
        self.worker.plan().unwrap();
        self.worker.queue.take(0)
    }

    /// The manifests that wait.
    fn manifests(&self) -> Vec<ManifestRecord> {
        let name = &self.worker.destination.name;
        self.worker.store().ledger.waiting_manifests(name).unwrap()
    }

    /// The reports that a session sends for these tasks, received together.
    fn record(&mut self, reports: Vec<SessionReport>) -> Result<bool, DeliveryStoreError> {
        let (send, received) = channel();
        for report in reports {
            send.send(report).unwrap();
        }
        let first = received.recv().unwrap();
        self.worker.record(first, &received)
    }

    fn lock_ledger(&self) {
        self.other.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    fn unlock_ledger(&self) {
        self.other.execute_batch("ROLLBACK").unwrap();
    }

    fn states(&self) -> Vec<BatchState> {
        let ledger = Ledger::open(self.dir.path()).unwrap();
        let mut batches = ledger.batches(&logferry_ledger::BatchFilter::default()).unwrap();
        batches.sort_by_key(|batch| batch.id);
        batches.into_iter().map(|batch| batch.state).collect()
    }
}

fn failed(task: DeliveryTask) -> SessionReport {
    let error = DeliveryError::Missing("the batch's file".into());
    SessionReport::Completed(Box::new((task, Err(error))))
}

fn delivered(task: DeliveryTask) -> SessionReport {
    let published = PublishedBatch {
        certainty: DeliveryCertainty::Published,
        path: "/drop/x.log".to_owned(),
        bytes: 4,
        sha256: "e3".to_owned(),
        file_sha256: "e3".to_owned(),
    };
    let delivered = Delivered {
        published,
        outcome: PublishOutcome::FoundThere,
        method: PublishMethod::Rename,
        staged: None,
    };
    SessionReport::Completed(Box::new((task, Ok(delivered))))
}

#[test]
fn three_batches_that_fail_together_while_the_ledger_is_locked_are_due_again_without_a_restart() {
    let mut it = Fixture::new(3);
    let tasks = it.take_all();
    assert_eq!(tasks.len(), 3);
    it.lock_ledger();
    let recorded = it.record(tasks.into_iter().map(failed).collect());
    assert!(
        matches!(recorded, Err(DeliveryStoreError::Ledger(_))),
        "{recorded:?}"
    );
    assert!(!it.worker.queue.is_busy(), "something stays in hand");
    it.unlock_ledger();
    let again = it.take_all();
    assert_eq!(again.len(), 3);
    it.record(again.into_iter().map(failed).collect()).unwrap();
    assert_eq!(it.states(), [BatchState::Failed; 3]);
}

#[test]
fn failures_are_recorded_although_a_delivery_that_came_with_them_cannot_be() {
    let mut it = Fixture::new(3);
    let mut tasks = it.take_all();
    it.other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE UPDATE OF state ON batches WHEN NEW.state = 'sent'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let first = delivered(tasks.remove(0));
    let reports = std::iter::once(first)
        .chain(tasks.into_iter().map(failed))
        .collect();
    let recorded = it.record(reports);
    assert!(
        matches!(recorded, Err(DeliveryStoreError::Ledger(_))),
        "{recorded:?}"
    );
    assert!(!it.worker.queue.is_busy(), "something stays in hand");
    assert_eq!(
        it.states(),
        [BatchState::Ready, BatchState::Failed, BatchState::Failed]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn no_result_stays_in_hand_whatever_it_is_and_whether_or_not_the_ledger_can_be_written(
        kinds in prop::collection::vec(0..4_u8, 1..6),
        is_locked: bool,
    ) {
        let mut it = Fixture::new(kinds.len());
        let tasks = it.take_all();
        if is_locked {
            it.lock_ledger();
        }
        let report = |(task, kind): (DeliveryTask, &u8)| match kind {
            0 => delivered(task),
            1 => failed(task),
            2 => SessionReport::Returned(vec![task]),
            _ => {
                let error = DeliveryError::Missing("the batch's file".into());
                SessionReport::ConnectionLost { error, tasks: vec![task] }
            }
        };
        let recorded = it.record(tasks.into_iter().zip(&kinds).map(report).collect());
        let needs_ledger = kinds.iter().any(|kind| *kind != 2);
        prop_assert_eq!(recorded.is_err(), is_locked && needs_ledger);
        prop_assert!(!it.worker.queue.is_busy());
    }
}

#[test]
fn delivered_batch_whose_folder_cannot_be_made_is_moved_as_soon_as_it_can_be() {
    let mut it = Fixture::new(2);
    let tasks = it.take_all();
    let in_the_way = it.dir.path().join("sent").join(SOURCE);
    fs::write(&in_the_way, "a plain file").unwrap();
    it.record(tasks.into_iter().map(delivered).collect()).unwrap();
    assert_eq!(it.states(), [BatchState::Sent; 2], "the delivery is recorded");
    let ready = it.dir.path().join("ready").join(SOURCE);
    let count = |folder: &std::path::Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(count(&ready), 2);
    let pause = it.worker.plan().unwrap();
    assert!(pause <= super::super::MOVE_EVERY, "it tries again soon");
    assert_eq!(count(&ready), 2);

    fs::remove_file(&in_the_way).unwrap();
    it.worker.plan().unwrap();
    assert_eq!((count(&ready), count(&in_the_way)), (0, 2));
    assert!(it.worker.plan().unwrap() > super::super::MOVE_EVERY);
}

#[test]
fn batch_that_cannot_be_moved_to_failed_holds_up_no_other() {
    let mut it = Fixture::new(2);
    let mut tasks = it.take_all();
    let in_the_way = it.dir.path().join("failed").join(SOURCE);
    fs::write(&in_the_way, "a plain file").unwrap();
    it.record(vec![failed(tasks.remove(0))]).unwrap();
    assert_eq!(it.states(), [BatchState::Failed, BatchState::Ready]);
    it.record(vec![delivered(tasks.remove(0))]).unwrap();
    assert_eq!(it.states(), [BatchState::Failed, BatchState::Sent]);
    fs::remove_file(&in_the_way).unwrap();
    it.worker.plan().unwrap();
    assert_eq!(fs::read_dir(in_the_way).unwrap().count(), 1);
}

#[test]
fn batch_is_due_although_other_folders_of_its_source_cannot_be_read() {
    let mut it = Fixture::new(1);
    for state in ["open", "failed", "sent"] {
        fs::create_dir_all(it.dir.path().join(state)).unwrap();
        fs::write(it.dir.path().join(state).join(SOURCE), "a plain file").unwrap();
    }
    assert_eq!(it.take_all().len(), 1);
}

#[test]
fn destination_that_takes_a_window_manifest_is_no_longer_noted_as_down() {
    let mut it = Fixture::with_manifests();
    let manifest = it.take_manifest().unwrap();
    let error = DeliveryError::NoDirectory {
        address: "localhost:22".to_owned(),
        directory: "/drop".to_owned(),
    };
    it.record(vec![SessionReport::ConnectFailed {
        error,
        tasks: Vec::new(),
    }])
    .unwrap();
    assert!(matches!(it.worker.noted_health, NotedHealth::Down(..)));
    it.worker.circuit.retry_now(Instant::now());
    it.record(vec![delivered(manifest)]).unwrap();
    assert_eq!(it.worker.noted_health, NotedHealth::Up);
    assert_eq!(it.manifests(), []);
}

#[test]
fn window_manifest_waits_as_long_as_its_backoff_says() {
    let mut it = Fixture::with_manifests();
    let max = it.worker.destination.retry.backoff.max;
    assert!(
        max > it.worker.destination.failed_every,
        "or the test shows nothing"
    );
    let manifest = it.take_manifest().unwrap();
    it.worker.queue.complete([&manifest]);
    let [waiting] = &it.manifests()[..] else {
        panic!("one manifest")
    };
    let next = later(Timestamp::now(), max);
    let failed = it
        .worker
        .store()
        .ledger
        .manifest_failed(waiting.id, "it broke", next);
    failed.unwrap();
    assert_eq!(it.take_manifest(), None);
}

#[test]
fn while_a_destination_is_down_its_backlog_is_not_read_at_each_event() {
    let mut it = Fixture::new(3);
    let tasks = it.take_all();
    let error = DeliveryError::NoDirectory {
        address: "localhost:22".to_owned(),
        directory: "/drop".to_owned(),
    };
    it.record(vec![SessionReport::ConnectFailed { error, tasks }])
        .unwrap();
    // What is not read cannot be missed.
    it.other
        .execute_batch("ALTER TABLE deliveries RENAME TO hidden")
        .unwrap();
    let pause = it.worker.plan().unwrap();
    assert!(pause <= it.worker.destination.retry.backoff.max, "{pause:?}");
    it.worker.circuit.retry_now(Instant::now());
    it.worker.plan().unwrap_err();
}

#[test]
fn destination_that_is_down_is_told_once_though_each_failure_names_another_path() {
    let mut it = Fixture::new(0);
    let failed = |number: u32| {
        let error = DeliveryError::NoDirectory {
            address: "localhost:22".to_owned(),
            directory: format!("/drop/{number}"),
        };
        let tasks = Vec::new();
        SessionReport::ConnectFailed { error, tasks }
    };
    let told = logferry_telemetry::journal_messages(|| {
        for number in 1..=3 {
            it.worker.circuit.retry_now(Instant::now());
            it.record(vec![failed(number)]).unwrap();
        }
    });
    let down: Vec<_> = told.iter().filter(|text| text.contains("is down")).collect();
    assert_eq!(down.len(), 1, "{told:?}");
    let NotedHealth::Down(_, noted) = &it.worker.noted_health else {
        panic!("{:?}", it.worker.noted_health)
    };
    assert!(noted.contains("/drop/3"), "status has the newest: {noted}");
}

#[test]
fn refused_rename_is_not_tried_with_one_batch_after_the_other() {
    let mut it = Fixture::new(2);
    let taken = |task| {
        let path = "/drop/x.log.part".to_owned();
        SessionReport::Completed(Box::new((task, Err(DeliveryError::TemporaryTaken { path }))))
    };
    let mut tasks = it.take_all();
    let first = tasks.remove(0);
    let id = first.id();
    it.record(vec![taken(first), SessionReport::Returned(tasks)])
        .unwrap();
    it.worker.circuit.retry_now(Instant::now());
    let probe: Vec<_> = it.take_all().iter().map(DeliveryTask::id).collect();
    assert_eq!(probe, [id]);
}

#[test]
fn batch_that_alone_cannot_be_taken_holds_up_no_other() {
    let mut it = Fixture::new(3);
    let full = |task| {
        let error = DeliveryError::NoDirectory {
            address: "localhost:22".to_owned(),
            directory: "/drop".to_owned(),
        };
        SessionReport::Completed(Box::new((task, Err(error))))
    };
    let mut tasks = it.take_all();
    let bad = tasks.remove(0);
    let id = bad.id();
    it.record(vec![full(bad), SessionReport::Returned(tasks)])
        .unwrap();
    it.worker.circuit.retry_now(Instant::now());
    let mut probe = it.take_all();
    assert_eq!(probe.len(), 1, "one batch is tried");
    assert_ne!(probe[0].id(), id, "it is another one");
    it.record(vec![delivered(probe.remove(0))]).unwrap();
    assert_eq!(it.worker.noted_health, NotedHealth::Up);
    // Its next failure is its own: it waits, and the others go on.
    let (again, others): (Vec<_>, Vec<_>) = it.take_all().into_iter().partition(|task| task.id() == id);
    it.record(again.into_iter().map(full).collect()).unwrap();
    assert_eq!(it.worker.noted_health, NotedHealth::Up);
    assert_eq!(it.worker.circuit.admission(Instant::now()), Admission::All);
    it.worker.queue.complete(&others);
    let others = it.take_all();
    assert_eq!(others.len(), 1);
    assert_ne!(others[0].id(), id);
    it.record(others.into_iter().map(delivered).collect()).unwrap();
    assert_eq!(it.states()[1..], [BatchState::Sent; 2]);
}
