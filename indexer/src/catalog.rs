//! The batches that the indexer reads, and how far each is read. Pure.
//!
//! Invariants:
//! - A batch is in the catalog from the first look at its row until all of its bytes are read or in a gap.
//! - A batch that was added is recorded with the next transaction, also if nothing was read. So the number of the newest batch
//!   that is recorded with it leaves none out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use logferry_durable::DiskError;
use logferry_ledger::{Batch, BatchId, BatchState};
use logferry_numbers::{IndexLag, IndexedBatch};
use rustix::io::Errno;

/// After so many attempts in vain the rest of a batch is a gap. One search may miss a file that is being moved.
pub(crate) const SEARCHES_MAX: u32 = 10;

/// After so many if the disk refuses: two a second, so it has ten minutes to come back.
const REFUSALS_MAX: u32 = 1200;

/// While nothing can be read, the lag is recorded once in so many seconds.
const LAG_RECORDED: i64 = 60;

/// Why the next bytes of a batch were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissCause {
    /// The file was not found, or is too short.
    Absent,
    /// The indexer's user may not read the file.
    Forbidden,
    /// What is in the file is not what was written: another attempt gives the same.
    Damaged,
    /// Another error of this file, which may pass.
    Unreadable,
}

impl MissCause {
    /// The cause that an error is; `None` if it says nothing about the file, but that this host is short of something, or that a
    /// file system has come back: no file can be read then.
    pub(crate) fn of(error: &DiskError) -> Option<Self> {
        let of_host = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::STALE];
        if Errno::from_io_error(&error.source).is_some_and(|errno| of_host.contains(&errno)) {
            return None;
        }
        Some(match error.source.kind() {
            ErrorKind::OutOfMemory => return None,
            ErrorKind::PermissionDenied => Self::Forbidden,
            ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::UnexpectedEof
            | ErrorKind::IsADirectory => Self::Damaged,
            _ => Self::Unreadable,
        })
    }
}

/// A batch that is not read to its end.
#[derive(Debug)]
pub(crate) struct TrackedBatch {
    /// As it stood in the ledger when it was sealed, or at the last look before that.
    pub(crate) batch: Batch,
    /// How far it is read.
    pub(crate) progress: IndexedBatch,
    /// The time of the last line that had one.
    pub(crate) line_time: Option<i64>,
    /// Attempts to read it in vain since its last byte was read, without those that the disk refused.
    searches: u32,
    /// Those that the disk refused. Each has a bound of its own: a disk that comes back may show no file for a moment.
    refusals: u32,
    /// Whether it was said that its file cannot be read.
    pub(crate) is_trouble_told: bool,
    /// Since when it has bytes that are not read, in seconds since 1970.
    unread_since: Option<i64>,
    /// Whether it was added, or its place has moved, since the last transaction.
    is_touched: bool,
}

impl TrackedBatch {
    /// Durable bytes that are not read.
    pub(crate) fn unread(&self) -> u64 {
        self.batch.contents.bytes.saturating_sub(self.progress.bytes)
    }

    /// Its name and place, for the record.
    fn record(&mut self) -> (String, IndexedBatch) {
        self.is_touched = false;
        self.progress.is_read = self.unread() == 0 && self.batch.state != BatchState::Open;
        if self.unread() == 0 {
            self.unread_since = None;
        }
        (self.batch.name(), self.progress)
    }

    /// Bytes of it were read; `line_time` is the time of the last line.
    pub(crate) fn advance(&mut self, bytes: u64, lines: u64, line_time: i64) {
        self.is_touched = true;
        self.progress.bytes += bytes;
        self.progress.lines += lines;
        self.line_time = Some(line_time);
        (self.searches, self.refusals) = (0, 0);
        self.is_trouble_told = false;
    }

    /// Its next bytes were not read. Returns why the rest is lost, if it is.
    pub(crate) fn missed(&mut self, cause: MissCause) -> Option<&'static str> {
        if self.batch.expired_at.is_some() {
            return Some("the housekeeper deleted the file before it was read");
        }
        let reason = match cause {
            // A person can allow it, so it waits. Else one wrong group would make gaps of the whole spool.
            MissCause::Forbidden => return None,
            MissCause::Absent => "the file is missing, or shorter than the ledger says",
            MissCause::Damaged | MissCause::Unreadable => "the file is damaged, or cannot be read",
        };
        let (attempts, most) = match cause {
            MissCause::Unreadable => (&mut self.refusals, REFUSALS_MAX),
            _ => (&mut self.searches, SEARCHES_MAX),
        };
        *attempts += 1;
        (*attempts >= most).then_some(reason)
    }

    /// Leaves the rest out. Returns its first byte and its length.
    pub(crate) fn skip_rest(&mut self) -> (u64, u64) {
        self.is_touched = true;
        let (from, bytes) = (self.progress.bytes, self.unread());
        self.progress.bytes = self.batch.contents.bytes;
        self.progress.lines = self.batch.contents.lines;
        (from, bytes)
    }
}

/// Whether nothing is left to be read of a batch with this place. In a ledger that was restored from a copy a batch may grow
/// once more.
pub(crate) fn is_indexed(batch: &Batch, place: Option<&IndexedBatch>) -> bool {
    let is_whole = |place: &IndexedBatch| place.is_read && batch.contents.bytes <= place.bytes;
    batch.state != BatchState::Open && place.is_some_and(is_whole)
}

/// The batches that are not read to their ends.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    batches: BTreeMap<BatchId, TrackedBatch>,
    /// The newest batch of the ledger at the last look.
    newest: Option<BatchId>,
    /// When the last transaction was, in seconds since 1970.
    recorded_at: i64,
}

impl Catalog {
    /// A catalog that has seen all batches up to `newest`.
    pub(crate) fn new(newest: Option<BatchId>) -> Self {
        Self {
            newest,
            ..Self::default()
        }
    }

    pub(crate) fn newest(&self) -> Option<BatchId> {
        self.newest
    }

    /// Takes rows of the ledger. `progress`: of a batch that is not in the catalog yet.
    pub(crate) fn update(
        &mut self,
        batches: Vec<Batch>,
        now: i64,
        progress: impl Fn(&Batch) -> Option<IndexedBatch>,
    ) {
        for batch in batches {
            let id = batch.id;
            if let Some(tracked) = self.batches.get_mut(&id) {
                tracked.batch = batch;
            } else {
                let progress = progress(&batch);
                if is_indexed(&batch, progress.as_ref()) {
                    continue;
                }
                let progress = progress.unwrap_or_default();
                let is_new = progress.bytes == 0;
                let tracked = TrackedBatch {
                    unread_since: is_new.then(|| batch.opened_at.as_second().min(now)),
                    batch,
                    progress,
                    line_time: None,
                    searches: 0,
                    refusals: 0,
                    is_trouble_told: false,
                    is_touched: true,
                };
                self.batches.insert(id, tracked);
            }
            if let Some(tracked) = self.batches.get_mut(&id) {
                match tracked.unread() {
                    0 => tracked.unread_since = None,
                    _ => drop(tracked.unread_since.get_or_insert(now)),
                }
            }
        }
    }

    /// The batches that grew at the last look and are not among these: sealed since then, or discarded.
    pub(crate) fn ended(&self, batches: &[Batch]) -> Vec<BatchId> {
        let listed: BTreeSet<_> = batches.iter().map(|batch| batch.id).collect();
        let grew = self.batches.iter();
        grew.filter(|(id, tracked)| tracked.batch.state == BatchState::Open && !listed.contains(id))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Forgets a batch that the ledger has discarded. It had no lines.
    pub(crate) fn forget(&mut self, id: BatchId) {
        self.batches.remove(&id);
    }

    /// The ledger's newest batch at the last look. It may be older than before: the ledger gives the numbers of the newest
    /// batches once more if they were discarded, and the batches that get them are new.
    pub(crate) fn set_newest(&mut self, newest: Option<BatchId>) {
        self.newest = newest;
    }

    /// All of them.
    pub(crate) fn tracked(&self) -> impl Iterator<Item = &TrackedBatch> {
        self.batches.values()
    }

    /// A batch, if it is in the catalog.
    pub(crate) fn get(&self, id: BatchId) -> Option<&TrackedBatch> {
        self.batches.get(&id)
    }

    /// The batches with unread bytes in the order in which to read them: those that still grow, then the others, oldest window
    /// first, as the housekeeper deletes them first.
    pub(crate) fn to_read(&self) -> Vec<BatchId> {
        let mut unread: Vec<_> = self
            .batches
            .values()
            .filter(|tracked| tracked.unread() > 0)
            .collect();
        unread.sort_unstable_by_key(|tracked| {
            let batch = &tracked.batch;
            (batch.state != BatchState::Open, batch.window.start, batch.id)
        });
        unread.iter().map(|tracked| tracked.batch.id).collect()
    }

    /// A batch that is being read.
    pub(crate) fn get_mut(&mut self, id: BatchId) -> Option<&mut TrackedBatch> {
        self.batches.get_mut(&id)
    }

    /// The places to record: of batches that were added or read, and of those that have ended without more bytes. One whose file
    /// cannot be read has moved nowhere: a transaction for it each round would be for nothing.
    pub(crate) fn take_records(&mut self) -> BTreeMap<String, IndexedBatch> {
        let is_due = |tracked: &TrackedBatch| {
            tracked.is_touched || (tracked.unread() == 0 && tracked.batch.state != BatchState::Open)
        };
        let due = self.batches.values_mut().filter(|tracked| is_due(tracked));
        due.map(TrackedBatch::record).collect()
    }

    /// Whether the lag is to be recorded, though nothing was read: a file that cannot be read makes it grow.
    pub(crate) fn is_lag_due(&self, lag: IndexLag, now: i64) -> bool {
        let recent = self.recorded_at..self.recorded_at.saturating_add(LAG_RECORDED);
        lag.bytes > 0 && !recent.contains(&now)
    }

    /// All of it was recorded at `now`: forgets the batches that are read to their ends.
    pub(crate) fn recorded(&mut self, now: i64) {
        self.recorded_at = now;
        self.batches.retain(|_, tracked| !tracked.progress.is_read);
    }

    /// How far the indexer is behind at `now`.
    pub(crate) fn lag(&self, now: i64) -> IndexLag {
        let unread = || self.batches.values().filter(|tracked| tracked.unread() > 0);
        let lines = |tracked: &TrackedBatch| {
            tracked
                .batch
                .contents
                .lines
                .saturating_sub(tracked.progress.lines)
        };
        let oldest = unread().filter_map(|tracked| tracked.unread_since).min();
        IndexLag {
            bytes: unread().map(TrackedBatch::unread).sum(),
            lines: unread().map(lines).sum(),
            seconds: oldest
                .and_then(|oldest| u64::try_from(now - oldest).ok())
                .unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use logferry_ledger::Ledger;
    use logferry_testkit::batches::{add_batch, new_batch};

    use super::*;

    const NOW: i64 = 1_000;

    fn catalog(states: &[BatchState]) -> (tempfile::TempDir, Catalog, Vec<Batch>) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let opened = Timestamp::from_second(NOW - 60).expect("a time");
        let batches: Vec<_> = (0..)
            .zip(states)
            .map(|(number, state)| {
                let mut new = new_batch("a", &format!("b{number}"));
                new.window.start -= number;
                add_batch(&mut ledger, &new, b"one\ntwo\n", *state, opened)
            })
            .collect();
        let mut catalog = Catalog::new(None);
        catalog.update(batches.clone(), NOW, |_| None);
        (dir, catalog, batches)
    }

    #[test]
    fn growing_batches_are_read_first_and_then_the_oldest_window() {
        let (_dir, catalog, batches) = catalog(&[BatchState::Open, BatchState::Ready, BatchState::Sent]);
        let order: Vec<_> = [0, 2, 1].map(|at: usize| batches[at].id).to_vec();
        assert_eq!(catalog.to_read(), order);
        let lag = IndexLag {
            bytes: 24,
            lines: 6,
            seconds: 70,
        };
        assert_eq!(catalog.lag(NOW + 10), lag);
    }

    #[test]
    fn each_batch_is_recorded_when_it_was_seen_and_once_when_it_has_ended() {
        let (_dir, mut catalog, batches) = catalog(&[BatchState::Open, BatchState::Ready]);
        assert_eq!(catalog.take_records().len(), 2, "seen");
        assert_eq!(catalog.take_records(), [].into());
        let tracked = catalog.get_mut(batches[1].id).expect("in the catalog");
        assert_eq!(tracked.skip_rest(), (0, 8));
        let ended = IndexedBatch {
            bytes: 8,
            lines: 2,
            is_read: true,
        };
        assert_eq!(catalog.take_records(), [("b1".to_owned(), ended)].into());
        catalog.recorded(NOW);
        assert_eq!(catalog.to_read(), [batches[0].id]);
        catalog.update(vec![batches[1].clone()], NOW, |_| Some(ended));
        assert_eq!(catalog.to_read(), [batches[0].id], "read before");
    }

    #[test]
    fn batch_is_lost_at_once_if_it_expired_and_else_after_several_searches() {
        let (_dir, mut catalog, batches) = catalog(&[BatchState::Sent]);
        let tracked = catalog.get_mut(batches[0].id).expect("in the catalog");
        let absent = MissCause::Absent;
        assert!((1..SEARCHES_MAX).all(|_| tracked.missed(absent).is_none()));
        assert!(tracked.missed(absent).is_some());
        tracked.advance(0, 0, 0);
        assert!(tracked.missed(absent).is_none());
        tracked.batch.expired_at = Some(Timestamp::UNIX_EPOCH);
        assert!(tracked.missed(absent).is_some());
    }

    #[test]
    fn error_of_the_host_is_none_of_the_file_and_one_of_the_disk_has_minutes_to_pass() {
        let of = |error: std::io::Error| {
            let path = std::path::Path::new("x");
            MissCause::of(&DiskError::new(
                logferry_durable::DiskOperation::Open,
                path,
                error,
            ))
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::STALE] {
            assert_eq!(of(errno.into()), None, "{errno}");
        }
        assert_eq!(of(Errno::ACCESS.into()), Some(MissCause::Forbidden));
        assert_eq!(of(ErrorKind::InvalidData.into()), Some(MissCause::Damaged));
        let refused = of(Errno::IO.into()).expect("of the file");
        assert_eq!(refused, MissCause::Unreadable);
        let (_dir, mut catalog, batches) = catalog(&[BatchState::Sent]);
        let tracked = catalog.get_mut(batches[0].id).expect("in the catalog");
        assert!((1..REFUSALS_MAX).all(|_| tracked.missed(refused).is_none()));
        assert!(tracked.missed(MissCause::Absent).is_none(), "its first search");
        assert!(tracked.missed(refused).is_some());
    }

    #[test]
    fn batch_that_the_user_may_not_read_waits_until_its_file_is_deleted() {
        let (_dir, mut catalog, batches) = catalog(&[BatchState::Sent]);
        assert_eq!(catalog.take_records().len(), 1, "added");
        let tracked = catalog.get_mut(batches[0].id).expect("in the catalog");
        assert!((0..=SEARCHES_MAX).all(|_| tracked.missed(MissCause::Forbidden).is_none()));
        assert_eq!(catalog.take_records(), [].into(), "its place has not moved");
        catalog.recorded(NOW);
        let is_due = |catalog: &Catalog, now| catalog.is_lag_due(catalog.lag(now), now);
        assert!(!is_due(&catalog, NOW + 59) && is_due(&catalog, NOW + 60));
        let tracked = catalog.get_mut(batches[0].id).expect("in the catalog");
        tracked.batch.expired_at = Some(Timestamp::UNIX_EPOCH);
        assert!(tracked.missed(MissCause::Forbidden).is_some());
    }
}
