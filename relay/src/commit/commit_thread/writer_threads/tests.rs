//! Tests of the writer threads with two rounds in flight.

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use jiff::Timestamp;
use logferry_durable::{DiskError, DiskOperation, DiskSpace};
use logferry_protocol::chunk::Receipt;
use logferry_protocol::stream::Offset;
use logferry_spool::Spool;
use logferry_telemetry::Metrics;
use logferry_testkit::{SimDisk, SimFile};
use tokio::sync::oneshot;

use super::*;
use crate::chunk::Moment;
use crate::commit::committer::{Committer, EarlyChunks};
use crate::commit::disk_scheduler::SharedDiskScheduler;
use crate::commit::tests::{chunk, line, rules};

/// Much longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Writer threads with a committer that stages their rounds.
struct TestWriters {
    committer: Committer<SimDisk, ReplyHandle>,
    writers: WriterThreads<SimFile, ReplyHandle>,
    disk: SimDisk,
    scheduler: SharedDiskScheduler,
    staged: usize,
    _dir: tempfile::TempDir,
}

impl TestWriters {
    /// `disk_of`: the disk of the threads.
    fn start<D: Disk<File = SimFile>>(disk_of: impl FnOnce(SimDisk) -> D) -> Self {
        let (disk, scheduler) = (SimDisk::new(), SharedDiskScheduler::default());
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let of_threads = ledger.reopen().expect("a connection");
        let spool = Spool::new(disk.clone(), Path::new("/spool"));
        let group = "web-1".parse().expect("a name");
        let committer = Committer::start(group, rules(1 << 30), spool, ledger, Moment::now());
        let writers = WriterThreads::start(
            "web-1",
            disk_of(disk.clone()),
            of_threads,
            scheduler.join(),
            Metrics::new().relay("web-1"),
            Weak::new(),
        );
        Self {
            committer: committer.expect("the disk works"),
            writers: writers.expect("threads"),
            disk,
            scheduler,
            staged: 0,
            _dir: dir,
        }
    }

    /// Stages a line, the next of its stream, as a round.
    fn round(&mut self) -> (StagedRound<SimFile, ReplyHandle>, oneshot::Receiver<ChunkReply>) {
        let line = line(20, "a line");
        let chunk = chunk(1, self.staged as u64, &line);
        self.staged += line.len();
        let (reply, received) = oneshot::channel();
        let handle = ReplyHandle {
            reply,
            source: chunk.source.clone(),
            lines: 1,
            bytes: line.len() as u64,
        };
        let arrivals = EarlyChunks::default().join(vec![(chunk, handle)], Instant::now());
        assert!(self.committer.stage(arrivals).replies.is_empty());
        let round = self.committer.take_round(Timestamp::now());
        (round.expect("a round"), received)
    }

    fn event(&self) -> WriterEvent<SimFile, ReplyHandle> {
        self.writers.events.recv_timeout(TIMEOUT).expect("an event")
    }

    /// The next round that has ended.
    fn ended(&self) -> WrittenRound<SimFile, ReplyHandle> {
        loop {
            match self.event() {
                WriterEvent::Written(round) => return round,
                WriterEvent::Synced => {}
                WriterEvent::Panicked(_) => panic!("a thread has panicked"),
            }
        }
    }
}

fn stored(committed: usize) -> ChunkReply {
    ChunkReply::Receipt(Receipt::new(Offset::new(committed as u64), ChunkOutcome::Stored))
}

#[test]
fn a_round_that_is_synced_first_is_recorded_after_the_one_before_it() {
    for fails in [false, true] {
        let mut test = TestWriters::start(|disk| disk);
        let (mut first, first_reply) = test.round();
        let (second, second_reply) = test.round();
        // A large round is not synced while a small one of another group is running.
        first.bytes = usize::MAX;
        let small = test.scheduler.join().begin(1);
        test.writers.write(first);
        test.writers.write(second);
        assert!(matches!(test.event(), WriterEvent::Synced), "the second");
        let early = test.writers.events.recv_timeout(Duration::from_millis(200));
        assert!(early.is_err(), "it waits");
        if fails {
            test.disk.fail_next(DiskOperation::Sync, ErrorKind::Other);
        }
        drop(small);
        let ended = [test.ended(), test.ended()];
        if fails {
            assert!(matches!(
                ended,
                [WrittenRound::Failed { .. }, WrittenRound::Withdrawn { .. }]
            ));
        } else {
            assert!(matches!(
                ended,
                [WrittenRound::Durable { .. }, WrittenRound::Durable { .. }]
            ));
            let half = test.staged / 2;
            assert_eq!(first_reply.blocking_recv(), Ok(stored(half)));
            assert_eq!(second_reply.blocking_recv(), Ok(stored(2 * half)));
        }
    }
}

#[test]
fn rounds_that_are_in_flight_when_the_commit_thread_ends_become_durable() {
    let mut test = TestWriters::start(|disk| disk);
    let (mut first, first_reply) = test.round();
    let (second, second_reply) = test.round();
    first.bytes = usize::MAX;
    let small = test.scheduler.join().begin(1);
    test.writers.write(first);
    test.writers.write(second);
    let TestWriters {
        writers,
        staged,
        committer,
        _dir,
        ..
    } = test;
    let ending = std::thread::spawn(move || drop(writers));
    drop(small);
    ending.join().expect("it ends");
    assert_eq!(first_reply.blocking_recv(), Ok(stored(staged / 2)));
    assert_eq!(second_reply.blocking_recv(), Ok(stored(staged)));
    let streams = committer.ledger.live_streams(&committer.group);
    let committed: Vec<_> = streams
        .expect("a ledger")
        .iter()
        .map(|stream| stream.committed)
        .collect();
    assert_eq!(committed, [Offset::new(staged as u64)]);
}

/// A disk whose syncs end in a bug.
#[derive(Debug, Clone)]
struct BuggyDisk;

impl Disk for BuggyDisk {
    type File = SimFile;
    type Reader = Cursor<Vec<u8>>;

    fn sync_all(&self, _: &mut [&mut SimFile]) -> Result<(), DiskError> {
        resume_unwind(Box::new("a bug"))
    }
    fn create_dir_all(&self, _: &Path) -> Result<(), DiskError> {
        unreachable!()
    }
    fn open_append(&self, _: &Path) -> Result<SimFile, DiskError> {
        unreachable!()
    }
    fn rename(&self, _: &Path, _: &Path) -> Result<(), DiskError> {
        unreachable!()
    }
    fn remove(&self, _: &Path) -> Result<(), DiskError> {
        unreachable!()
    }
    fn replace(&self, _: &Path, _: &[u8]) -> Result<(), DiskError> {
        unreachable!()
    }
    fn read(&self, _: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        unreachable!()
    }
    fn open_read(&self, _: &Path) -> Result<Option<Self::Reader>, DiskError> {
        unreachable!()
    }
    fn len(&self, _: &Path) -> Result<Option<u64>, DiskError> {
        unreachable!()
    }
    fn list(&self, _: &Path) -> Result<Vec<String>, DiskError> {
        unreachable!()
    }
    fn space(&self, _: &Path) -> Result<DiskSpace, DiskError> {
        unreachable!()
    }
}

#[test]
fn a_bug_in_a_writer_thread_ends_the_commit_thread_and_no_chunk_waits_for_its_reply() {
    let mut test = TestWriters::start(|_| BuggyDisk);
    let (first, first_reply) = test.round();
    let (second, second_reply) = test.round();
    test.writers.write(first);
    test.writers.write(second);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        while test.writers.take_ended(true).is_empty() {}
    }));
    assert!(panicked.is_err());
    // This waits for the threads.
    drop(test);
    assert!(first_reply.blocking_recv().is_err());
    assert!(second_reply.blocking_recv().is_err());
}
