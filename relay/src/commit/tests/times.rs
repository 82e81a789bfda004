//! Tests with unusual line times and unusual clocks on the relay.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use logferry_config::{BatchSettings as Rules, TimestampFormat, WindowLength};
use logferry_durable::{Disk, DiskError, DiskFile, DiskSpace};
use logferry_ledger::{Batch, BatchFilter, BatchState, Ledger};
use logferry_protocol::chunk::{LineEnd, StreamEnd};
use logferry_spool::Spool;
use logferry_testkit::SimDisk;

use super::{CommitterFixture, Tested, chunk, chunk_ending, line, now, rules, split};
use crate::chunk::{ChunkReply, ReceivedChunk};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Name, state and number of lines of each batch, in the order of windows.
fn batches(fixture: &CommitterFixture) -> Vec<(String, BatchState, u64)> {
    let batches = fixture
        .ledger()
        .batches(&BatchFilter::default())
        .expect("a ledger");
    let shape = |batch: Batch| (batch.name(), batch.state, batch.contents.lines);
    batches.into_iter().map(shape).collect()
}

fn names(fixture: &CommitterFixture) -> Vec<String> {
    batches(fixture).into_iter().map(|(name, ..)| name).collect()
}

/// Sends one chunk that begins where the stream ends.
fn send(fixture: &mut CommitterFixture, sent: &mut u64, body: &[u8]) {
    send_chunk(fixture, sent, chunk(1, *sent, body));
}

fn send_chunk(fixture: &mut CommitterFixture, sent: &mut u64, mut chunk: ReceivedChunk<Vec<u8>>) {
    chunk.split = split(&chunk.body, &fixture.committer().rules);
    let end = chunk.header.range.end().get();
    let answers = fixture.send(vec![chunk]);
    assert!(
        matches!(answers.get(&0), Some(ChunkReply::Receipt(_))),
        "{answers:?}"
    );
    *sent = end;
}

#[test]
fn a_line_without_time_goes_to_the_window_of_the_line_before_also_after_a_restart() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    send(&mut fixture, &mut sent, &line(20, "a"));
    send(&mut fixture, &mut sent, b"  at some.Class\n");
    fixture.restart();
    send(&mut fixture, &mut sent, b"  at another.Class\n");
    send(
        &mut fixture,
        &mut sent,
        &[line(21, "b"), b"  caused by\n".to_vec()].concat(),
    );
    send(&mut fixture, &mut sent, &line(20, "late"));
    send(&mut fixture, &mut sent, b"  of the late one\n");
    assert_eq!(
        batches(&fixture),
        [
            ("a_26112108_20-20_198-51-100-1".to_owned(), BatchState::Open, 5),
            ("a_26112108_21-21_198-51-100-1".to_owned(), BatchState::Open, 2),
        ]
    );
}

#[test]
fn lines_after_the_rest_of_a_line_follow_its_beginning_though_the_rest_looks_like_a_line_with_a_time() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    let mut begin = line(20, "a long line");
    begin.pop();
    let begin = chunk_ending(1, 0, &begin, LineEnd::Open, StreamEnd::Live);
    send_chunk(&mut fixture, &mut sent, begin);
    let no_time = b"  at some.Class\n".to_vec();
    send(
        &mut fixture,
        &mut sent,
        &[line(25, "its rest"), no_time, line(21, "b")].concat(),
    );
    assert_eq!(
        batches(&fixture),
        [
            ("a_26112108_20-20_198-51-100-1".to_owned(), BatchState::Open, 2),
            ("a_26112108_21-21_198-51-100-1".to_owned(), BatchState::Open, 1),
        ]
    );
}

#[test]
fn after_a_change_of_the_windows_length_lines_go_to_files_whose_names_say_so() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    send(&mut fixture, &mut sent, &[line(20, "a"), line(21, "b")].concat());
    let rules = Rules {
        window: WindowLength::try_from(Duration::from_mins(20)).expect("divides an hour"),
        ..rules(1 << 30)
    };
    let changed = Tested::start("web-1", rules, fixture.spool(), fixture.ledger());
    fixture.committer = Some(changed.expect("the disk works"));
    send(&mut fixture, &mut sent, b"  of b\n");
    send(&mut fixture, &mut sent, &line(25, "c"));
    let sealed: Vec<_> = fixture.seal_due(now()).iter().map(Batch::name).collect();
    assert_eq!(
        sealed,
        ["a_26112108_20-20_198-51-100-1", "a_26112108_21-21_198-51-100-1"]
    );
    send(&mut fixture, &mut sent, &line(30, "d"));
    assert_eq!(
        batches(&fixture),
        [
            ("a_26112108_20-20_198-51-100-1".to_owned(), BatchState::Ready, 1),
            ("a_26112108_20-39_198-51-100-1".to_owned(), BatchState::Open, 3),
            ("a_26112108_21-21_198-51-100-1".to_owned(), BatchState::Ready, 1),
        ]
    );
}

#[test]
fn a_restart_inside_a_window_continues_the_same_part() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    for _ in 0..3 {
        send(&mut fixture, &mut sent, &line(20, "a"));
        fixture.restart();
        let sealed = fixture.seal_due(now() + HOUR);
        assert!(
            sealed.is_empty(),
            "the quiet time before the restart is not known"
        );
    }
    assert_eq!(names(&fixture), ["a_26112108_20-20_198-51-100-1"]);
}

#[test]
fn lines_of_several_zones_and_out_of_order_go_into_their_own_windows() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    let body = b"[21/Nov/2026:08:20:03 +0600] a\n\
        [21/Nov/2026:02:20:59 +0000] the same minute elsewhere\n\
        [21/Nov/2026:08:20:30 +0000] the same label, six hours later\n\
        2026-11-21T08:19:59+06:00 the minute before\n\
        1795227603 by epoch\n\
        {\"time\":\"2026-11-21T08:20:01.5+06:00\"}\n";
    send(&mut fixture, &mut sent, body);
    assert_eq!(
        batches(&fixture),
        [
            ("a_26112108_19-19_198-51-100-1".to_owned(), BatchState::Open, 1),
            ("a_26112108_20-20_198-51-100-1".to_owned(), BatchState::Open, 4),
            ("a_26112108_20-20_198-51-100-1.2".to_owned(), BatchState::Open, 1),
        ]
    );
    fixture.stored();
}

#[test]
fn hour_that_a_clock_shows_twice_gives_two_windows_with_parts_of_one_name() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    let body = b"[25/Oct/2026:02:59:59 +0200] summer\n\
        [25/Oct/2026:02:59:59 +0100] an hour later\n\
        [25/Oct/2026:02:59:58 +0200] written a little late\n\
        [29/Mar/2026:01:59:59 +0100] the last second of winter\n\
        [29/Mar/2026:03:00:00 +0200] a second later\n";
    send(&mut fixture, &mut sent, body);
    assert_eq!(
        batches(&fixture),
        [
            ("a_26032901_59-59_198-51-100-1".to_owned(), BatchState::Open, 1),
            ("a_26032903_00-00_198-51-100-1".to_owned(), BatchState::Open, 1),
            ("a_26102502_59-59_198-51-100-1".to_owned(), BatchState::Open, 2),
            ("a_26102502_59-59_198-51-100-1.2".to_owned(), BatchState::Open, 1),
        ]
    );
    fixture.stored();
}

#[test]
fn line_with_an_impossible_date_goes_to_the_window_of_the_line_before() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    let body = b"[28/Feb/2026:23:59:59 +0000] a\n\
        [29/Feb/2026:00:00:00 +0000] no such day\n\
        [28/Feb/2026:24:00:00 +0000] no such hour\n\
        [01/Mar/2026:00:00:00 +0000] b\n";
    send(&mut fixture, &mut sent, body);
    assert_eq!(
        batches(&fixture),
        [
            ("a_26022823_59-59_198-51-100-1".to_owned(), BatchState::Open, 3),
            ("a_26030100_00-00_198-51-100-1".to_owned(), BatchState::Open, 1),
        ]
    );
}

#[test]
fn late_line_opens_the_next_part_and_the_sealed_file_stays_as_it_is() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    send(&mut fixture, &mut sent, &line(20, "in time"));
    // The stream goes past the window and its slack.
    send(&mut fixture, &mut sent, &line(22, "later"));
    let sealed = fixture.seal_due(now());
    let file = fixture.spool().path(&sealed[0], BatchState::Ready);
    send(&mut fixture, &mut sent, &line(20, "late"));
    assert_eq!(fixture.disk.contents(&file), Some(line(20, "in time")));
    assert_eq!(
        batches(&fixture),
        [
            ("a_26112108_20-20_198-51-100-1".to_owned(), BatchState::Ready, 1),
            ("a_26112108_20-20_198-51-100-1.2".to_owned(), BatchState::Open, 1),
            ("a_26112108_22-22_198-51-100-1".to_owned(), BatchState::Open, 1),
        ]
    );
}

#[test]
fn window_in_the_future_is_sealed_after_a_quiet_time_whatever_the_wall_clock_says() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    send(
        &mut fixture,
        &mut sent,
        b"[21/Nov/2030:08:20:03 +0600] from a wrong clock\n",
    );
    assert!(fixture.seal_due(now()).is_empty());
    // Quiet for `seal_after`, which is longer than the window.
    fixture.committer().open.age_all(Duration::from_secs(119));
    assert!(fixture.seal_due(now()).is_empty());
    fixture.committer().open.age_all(Duration::from_secs(1));
    assert_eq!(fixture.seal_due(now()).len(), 1);
    // Current windows are not affected.
    send(&mut fixture, &mut sent, &line(21, "now"));
    let sealed = fixture.seal_due(now());
    assert!(
        sealed.is_empty(),
        "the stream's latest line is years ahead, but this window is not over"
    );
}

#[test]
fn steps_of_the_wall_clock_lose_no_line_and_repeat_no_name() {
    let (mut fixture, mut sent) = (CommitterFixture::new(1 << 30), 0);
    let mut expected = Vec::new();
    let clocks = [now() + DAY, now() - HOUR, now() - DAY, now(), now() + HOUR];
    for (number, clock) in clocks.into_iter().enumerate() {
        let body = line(20, &format!("before step {number}"));
        send(&mut fixture, &mut sent, &body);
        expected.push(body);
        let sealed = fixture.seal_due(clock);
        assert!(sealed.is_empty(), "the wall clock does not count as quiet time");
        fixture.committer().open.age_all(Duration::from_mins(30));
        fixture.committer().streams.values_mut().for_each(|stream| {
            stream.last_chunk = stream
                .last_chunk
                .checked_sub(Duration::from_mins(3))
                .unwrap_or(stream.last_chunk);
        });
        assert_eq!(fixture.seal_due(clock).len(), 1, "step {number}");
    }
    let names = names(&fixture);
    let base = "a_26112108_20-20_198-51-100-1";
    assert_eq!(
        names,
        [
            base.to_owned(),
            format!("{base}.2"),
            format!("{base}.3"),
            format!("{base}.4"),
            format!("{base}.5")
        ]
    );
    assert_eq!(fixture.stored(), expected.concat());
}

#[test]
fn lines_that_arrive_while_the_clock_is_set_back_open_the_next_part() {
    let ledger_dir = tempfile::tempdir().expect("a folder");
    let disk = SimDisk::new();
    let rules = Rules {
        timestamp: TimestampFormat::Arrival,
        ..rules(1 << 30)
    };
    let ledger = Ledger::open_or_create(ledger_dir.path()).expect("a ledger");
    let spool = Spool::new(disk, Path::new("/spool"));
    let committer = Tested::start("web-1", rules.clone(), spool, ledger);
    let mut committer = committer.expect("the disk works");
    // A new stream each time: a line without time would go to the window of the stream's previous line.
    let clocks = [now(), now() + HOUR, now()];
    for (number, clock) in (1..).zip(clocks) {
        let mut chunk = chunk(number, 0, b"no time\n");
        chunk.split = split(&chunk.body, &rules);
        let answers = committer.group_commit(vec![(chunk, 0)], clock);
        assert!(
            matches!(answers[..], [(_, ChunkReply::Receipt(_))]),
            "{answers:?}"
        );
        committer.open.age_all(HOUR);
        committer.streams.clear();
        assert_eq!(committer.seal_due(clock + HOUR).expect("the disk works").len(), 1);
    }
    let batches = Ledger::open(ledger_dir.path())
        .and_then(|ledger| ledger.batches(&BatchFilter::default()))
        .expect("a ledger");
    let names: Vec<_> = batches.iter().map(Batch::name).collect();
    assert_eq!(
        names,
        [
            "a_26112102_21-21_198-51-100-1",
            "a_26112102_21-21_198-51-100-1.2",
            "a_26112103_21-21_198-51-100-1",
        ]
    );
}

/// A disk that counts the files that are open.
#[derive(Debug, Clone)]
struct CountingDisk {
    disk: SimDisk,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct CountedFile {
    file: <SimDisk as Disk>::File,
    _counted: Arc<CountedOpen>,
}

/// An open file, however many clones it has.
struct CountedOpen(Arc<AtomicUsize>);

impl Drop for CountedOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DiskFile for CountedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.append(bytes)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.file.sync()
    }
    fn truncate(&mut self, len: u64) -> Result<(), DiskError> {
        self.file.truncate(len)
    }
    fn len(&self) -> Result<u64, DiskError> {
        self.file.len()
    }
}

impl Disk for CountingDisk {
    type File = CountedFile;
    type Reader = <SimDisk as Disk>::Reader;
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.disk.create_dir_all(dir)
    }
    fn open_append(&self, file: &Path) -> Result<CountedFile, DiskError> {
        let file = self.disk.open_append(file)?;
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        Ok(CountedFile {
            file,
            _counted: Arc::new(CountedOpen(Arc::clone(&self.open))),
        })
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn remove(&self, file: &Path) -> Result<(), DiskError> {
        self.disk.remove(file)
    }
    fn replace(&self, file: &Path, contents: &[u8]) -> Result<(), DiskError> {
        self.disk.replace(file, contents)
    }
    fn read(&self, file: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        self.disk.read(file)
    }
    fn open_read(&self, file: &Path) -> Result<Option<Self::Reader>, DiskError> {
        self.disk.open_read(file)
    }
    fn len(&self, file: &Path) -> Result<Option<u64>, DiskError> {
        self.disk.len(file)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.disk.list(dir)
    }
    fn space(&self, path: &Path) -> Result<DiskSpace, DiskError> {
        self.disk.space(path)
    }
}

#[test]
fn lines_over_many_windows_keep_few_files_open_and_are_durable() {
    const WINDOWS: u32 = 600;
    const FILES_MAX: usize = 256;
    let ledger_dir = tempfile::tempdir().expect("a folder");
    let disk = CountingDisk {
        disk: SimDisk::new(),
        open: Arc::default(),
        most: Arc::default(),
    };
    let ledger = Ledger::open_or_create(ledger_dir.path()).expect("a ledger");
    let spool = Spool::new(disk.clone(), Path::new("/spool"));
    let committer = Tested::start("web-1", rules(1 << 30), spool, ledger);
    let mut committer = committer.expect("the disk works");
    // All windows twice, so that files that were closed inside the round are opened again.
    let lines: Vec<_> = (0..2 * WINDOWS)
        .map(|number| {
            let minute = number % WINDOWS;
            format!(
                "[21/Nov/2026:{:02}:{:02}:03 +0000] line {number}\n",
                minute / 60,
                minute % 60
            )
            .into_bytes()
        })
        .collect();
    let answers = committer.group_commit(vec![(chunk(1, 0, &lines.concat()), 0)], now());
    assert!(
        matches!(answers[..], [(_, ChunkReply::Receipt(_))]),
        "{answers:?}"
    );
    assert!(disk.most.load(Ordering::Relaxed) <= FILES_MAX, "{:?}", disk.most);
    disk.disk.power_loss(1);

    let ledger = Ledger::open(ledger_dir.path()).expect("a ledger");
    let batches = ledger.batches(&BatchFilter::default()).expect("a ledger");
    assert_eq!(batches.len(), usize::try_from(WINDOWS).expect("small"));
    for (batch, (first, second)) in batches.iter().zip(lines.iter().zip(&lines[batches.len()..])) {
        let file = PathBuf::from("/spool/open/198.51.100.1").join(batch.file_name());
        assert_eq!(
            disk.disk.contents(&file),
            Some([first.as_slice(), second].concat())
        );
    }

    // A limited number is sealed at a time, oldest first, so that chunks do not wait for all.
    committer.open.age_all(HOUR);
    committer.streams.clear();
    let mut sealed = Vec::new();
    while committer.open.len() > 0 {
        let some = committer.seal_due(now() + DAY).expect("the disk works");
        assert!((1..=64).contains(&some.len()), "{}", some.len());
        sealed.extend(some);
    }
    assert_eq!(sealed.len(), batches.len());
    assert!(sealed.is_sorted_by_key(|batch| batch.window.start));
}
