//! Following committed lines as they come in, from outside the relay.
//!
//! It reads the ledger and the files of the spool, and takes no lock: the relay does not know of it, and a slow reader
//! slows nobody. Only what is committed is shown, each line once. Who is so slow that a file is compressed or deleted
//! before it was read is told what was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use logferry_durable::{DiskError, DiskOperation};
use logferry_ledger::{Batch, BatchId, BatchState, Ledger, LedgerError};
use logferry_protocol::names::{GroupName, SourceId};
use memchr::memrchr;

use crate::spool::SpoolError;

/// Bytes read at a time; the longest line that is shown in one piece.
const BLOCK_LEN: usize = 1 << 20;

/// Looks in vain for a batch's file before its lines are given up: it may be on the move between two folders.
const LOOKS_MAX: u32 = 10;

/// Whose lines are followed. Empty: everybody's.
#[derive(Debug, Clone, Default)]
pub struct Whose {
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only of this group.
    pub group: Option<GroupName>,
}

impl Whose {
    fn includes(&self, batch: &Batch) -> bool {
        self.source.as_ref().is_none_or(|source| *source == batch.source)
            && self.group.as_ref().is_none_or(|group| *group == batch.group)
    }
}

/// What is seen on the way.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// Lines, whole but for those that are very long.
    Lines(&'a [u8]),
    /// Lines of this batch could not be shown: its file has gone.
    Skipped {
        /// The batch.
        batch: String,
        /// How much.
        bytes: u64,
    },
}

/// How far a batch has been shown.
#[derive(Debug, Default)]
struct Place {
    shown: u64,
    looks: u32,
}

/// Follows the spool from a moment on.
#[derive(Debug)]
pub struct Follower {
    ledger: Ledger,
    data_dir: PathBuf,
    whose: Whose,
    newest: Option<BatchId>,
    /// The batches in which something may still come, or is not shown yet.
    places: BTreeMap<BatchId, Place>,
}

impl Follower {
    /// Begins with what is committed after now.
    pub fn begin(data_dir: &Path, whose: Whose) -> Result<Self, LedgerError> {
        let ledger = Ledger::open(data_dir)?;
        let newest = ledger.newest_batch()?;
        let open = ledger.live_batches(newest)?;
        // Opened between the two questions: it is shown from its beginning.
        let is_old = |batch: &Batch| whose.includes(batch) && newest.is_some_and(|newest| batch.id <= newest);
        let place = |batch: Batch| {
            let shown = batch.contents.bytes;
            (batch.id, Place { shown, looks: 0 })
        };
        let places = open.into_iter().filter(is_old).map(place).collect();
        Ok(Self {
            ledger,
            data_dir: data_dir.to_owned(),
            whose,
            newest,
            places,
        })
    }

    /// Shows what has been committed since the last call. `show` returns false to end; so does this, then.
    pub fn look(&mut self, show: &mut impl FnMut(Seen<'_>) -> io::Result<bool>) -> Result<bool, FollowError> {
        let mut batches = self.ledger.live_batches(self.newest)?;
        self.newest = self.newest.max(batches.iter().map(|batch| batch.id).max());
        let live: BTreeSet<_> = batches.iter().map(|batch| batch.id).collect();
        for id in self.places.keys().filter(|id| !live.contains(id)) {
            // Sealed since the last look: this is its end.
            batches.extend(self.ledger.batch(*id)?);
        }
        batches.sort_unstable_by_key(|batch| batch.id);
        self.places
            .retain(|id, _| batches.binary_search_by_key(id, |batch| batch.id).is_ok());
        for batch in batches.iter().filter(|batch| self.whose.includes(batch)) {
            let place = self.places.entry(batch.id).or_default();
            if !show_batch(&self.data_dir, batch, place, show)? {
                return Ok(false);
            }
            if batch.state != BatchState::Open && place.shown >= batch.contents.bytes {
                self.places.remove(&batch.id);
            }
        }
        Ok(true)
    }
}

/// The spool cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ledger or a file cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// What was seen cannot be shown.
    #[error("cannot show lines")]
    Show(#[from] io::Error),
}

impl From<LedgerError> for FollowError {
    fn from(error: LedgerError) -> Self {
        Self::Spool(error.into())
    }
}

impl From<DiskError> for FollowError {
    fn from(error: DiskError) -> Self {
        Self::Spool(error.into())
    }
}

fn show_batch(
    data_dir: &Path,
    batch: &Batch,
    place: &mut Place,
    show: &mut impl FnMut(Seen<'_>) -> io::Result<bool>,
) -> Result<bool, FollowError> {
    let committed = batch.contents.bytes;
    if place.shown >= committed {
        return Ok(true);
    }
    let Some((path, mut file)) = open(data_dir, batch)? else {
        place.looks += 1;
        if place.looks < LOOKS_MAX && batch.expired_at.is_none() {
            return Ok(true);
        }
        let bytes = committed - place.shown;
        place.shown = committed;
        return Ok(show(Seen::Skipped {
            batch: batch.name(),
            bytes,
        })?);
    };
    place.looks = 0;
    let read_error = |error| DiskError::new(DiskOperation::Read, &path, error);
    file.seek(SeekFrom::Start(place.shown)).map_err(read_error)?;
    let mut file = file.take(committed - place.shown);
    let mut block = Vec::with_capacity(BLOCK_LEN.min(usize::try_from(file.limit()).unwrap_or(BLOCK_LEN)));
    loop {
        let room = u64::try_from(BLOCK_LEN - block.len()).unwrap_or(0);
        let read = file
            .by_ref()
            .take(room)
            .read_to_end(&mut block)
            .map_err(read_error)?;
        let is_over = read == 0;
        // A line that is not whole yet waits for its end, unless there will be none, or it is too long.
        let whole = match memrchr(b'\n', &block) {
            Some(newline) => newline + 1,
            None if block.len() == BLOCK_LEN || (is_over && batch.state != BatchState::Open) => block.len(),
            None => 0,
        };
        if whole == 0 {
            return Ok(true);
        }
        place.shown += u64::try_from(whole).unwrap_or(0);
        if !show(Seen::Lines(block.get(..whole).unwrap_or_default()))? {
            return Ok(false);
        }
        block.drain(..whole);
    }
}

/// A batch's file, wherever it is now; `None` if it is not there as plain lines.
fn open(data_dir: &Path, batch: &Batch) -> Result<Option<(PathBuf, File)>, DiskError> {
    for state in BatchState::ALL {
        let folder = data_dir.join(state.as_str()).join(batch.source.as_str());
        let path = folder.join(batch.file_name());
        match File::open(&path) {
            Ok(file) => return Ok(Some((path, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DiskError::new(DiskOperation::Open, &path, error)),
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::fs;

    use jiff::Timestamp;
    use logferry_ledger::{BatchContents, BatchGrowth, Commit, NewBatch, Window};
    use tempfile::TempDir;

    use super::*;

    /// A data folder with the relay's ledger.
    struct Host {
        dir: TempDir,
        ledger: Ledger,
    }

    impl Host {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
            Self { dir, ledger }
        }

        fn open(&mut self, source: &str) -> Batch {
            let new = NewBatch {
                source: source.parse().expect("valid"),
                group: "web-1".parse().expect("valid"),
                log: None,
                window: Window {
                    start: 0,
                    seconds: 1200,
                    utc_offset: 0,
                },
                base_name: format!("a-{source}"),
            };
            self.ledger
                .open_batch(&new, Timestamp::UNIX_EPOCH)
                .expect("opened")
        }

        fn path(&self, batch: &Batch, state: &str) -> PathBuf {
            let folder = self.dir.path().join(state).join(batch.source.as_str());
            fs::create_dir_all(&folder).expect("made");
            folder.join(batch.file_name())
        }

        /// Has `text` in the batch's file, and all but its last `uncommitted` bytes in the ledger.
        fn write(&mut self, batch: &Batch, text: &str, uncommitted: usize) {
            fs::write(self.path(batch, "open"), text).expect("written");
            let contents = BatchContents {
                lines: 0,
                bytes: u64::try_from(text.len() - uncommitted).expect("small"),
                crc32c: 0,
            };
            let growth = BatchGrowth {
                batch: batch.id,
                contents,
            };
            let batches = vec![growth];
            let streams = Vec::new();
            self.ledger
                .commit(&Commit { streams, batches })
                .expect("committed");
        }

        fn seal(&mut self, batch: &Batch) {
            self.ledger.seal(batch.id, Timestamp::UNIX_EPOCH).expect("sealed");
            fs::rename(self.path(batch, "open"), self.path(batch, "ready")).expect("moved");
        }

        fn follow(&self, source: Option<&str>) -> Follower {
            let source = source.map(|source| source.parse().expect("valid"));
            let whose = Whose { source, group: None };
            Follower::begin(self.dir.path(), whose).expect("a ledger")
        }
    }

    fn look(follower: &mut Follower) -> String {
        let mut text = String::new();
        let mut show = |seen: Seen<'_>| {
            match seen {
                Seen::Lines(lines) => text.push_str(std::str::from_utf8(lines).expect("text")),
                Seen::Skipped { batch, bytes } => text.extend([bytes.to_string(), " of ".to_owned(), batch]),
            }
            Ok(true)
        };
        follower.look(&mut show).expect("the spool can be read");
        text
    }

    #[test]
    fn what_is_committed_after_the_beginning_is_shown_once_in_whole_lines() {
        let mut host = Host::new();
        let old = host.open("a");
        host.write(&old, "before\n", 0);
        let mut follower = host.follow(None);
        assert_eq!(look(&mut follower), "");
        host.write(&old, "before\none\ntwo\nthr", 5);
        assert_eq!(look(&mut follower), "one\n");
        host.write(&old, "before\none\ntwo\nthr", 0);
        let new = host.open("b");
        host.write(&new, "new\n", 0);
        assert_eq!(look(&mut follower), "two\nnew\n");
        assert_eq!(look(&mut follower), "");
        host.write(&old, "before\none\ntwo\nthree\nend", 0);
        host.seal(&old);
        let late = host.open("a");
        host.write(&late, "late\n", 0);
        host.seal(&late);
        assert_eq!(
            look(&mut follower),
            "three\nendlate\n",
            "nothing follows in a sealed batch"
        );
        assert_eq!(look(&mut follower), "");
        assert_eq!(follower.places.len(), 1, "sealed batches are let go");
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        let mut host = Host::new();
        let (a, b) = (host.open("a"), host.open("b"));
        let mut follower = host.follow(Some("b"));
        host.write(&a, "a\n", 0);
        host.write(&b, "b\n", 0);
        host.seal(&a);
        assert_eq!(look(&mut follower), "b\n");
        assert_eq!(follower.places.len(), 1);
    }

    #[test]
    fn who_is_too_slow_is_told() {
        let mut host = Host::new();
        let batch = host.open("a");
        let mut follower = host.follow(None);
        host.write(&batch, "gone\n", 0);
        host.seal(&batch);
        fs::remove_file(host.path(&batch, "ready")).expect("removed");
        let seen: String = (0..2 * LOOKS_MAX).map(|_| look(&mut follower)).collect();
        assert_eq!(seen, "5 of a-a");
    }

    #[test]
    fn a_line_that_is_too_long_is_shown_in_pieces() {
        let mut host = Host::new();
        let batch = host.open("a");
        let mut follower = host.follow(None);
        let long = "x".repeat(BLOCK_LEN + 10);
        host.write(&batch, &long, 0);
        assert_eq!(look(&mut follower), long[..BLOCK_LEN]);
        host.write(&batch, &format!("{long}\n"), 0);
        assert_eq!(look(&mut follower), format!("{}\n", &long[BLOCK_LEN..]));
    }
}
