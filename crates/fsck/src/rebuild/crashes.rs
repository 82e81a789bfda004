//! A rebuild that is stopped at each of its durable steps, and run again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use logferry_durable::{DiskFile, DiskSpace, RealFile};
use logferry_ledger::{Batch, Delivery, SourceEnd, SourceLineTotals};

use super::tests::{Host, SOURCE, lines, name, now};
use super::*;
use crate::tests::spool_contents;

#[derive(Debug, Clone, Copy)]
enum Moment {
    Before,
    After,
}

/// The real disk, for a process that dies at one of its changes. After that nothing is changed.
#[derive(Debug, Clone)]
struct DyingDisk {
    begun: Arc<AtomicUsize>,
    /// The change at which it dies, from 1.
    dies_at: usize,
    moment: Moment,
}

impl DyingDisk {
    fn new(dies_at: usize, moment: Moment) -> Self {
        Self {
            begun: Arc::default(),
            dies_at,
            moment,
        }
    }

    fn change<T>(
        &self,
        operation: DiskOperation,
        path: &Path,
        change: impl FnOnce() -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let dead = || DiskError::new(operation, path, io::Error::other("the process is dead"));
        match self.moment {
            Moment::Before if number >= self.dies_at => Err(dead()),
            Moment::After if number > self.dies_at => Err(dead()),
            Moment::After if number == self.dies_at => change().and_then(|_| Err(dead())),
            _ => change(),
        }
    }
}

impl Disk for DyingDisk {
    type File = DyingFile;
    type Reader = fs::File;

    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        self.change(DiskOperation::CreateDir, dir, || RealDisk.create_dir_all(dir))
    }

    fn open_append(&self, file: &Path) -> Result<DyingFile, DiskError> {
        self.change(DiskOperation::Open, file, || {
            Ok(DyingFile {
                file: RealDisk.open_append(file)?,
                disk: self.clone(),
                path: file.to_owned(),
            })
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change(DiskOperation::Rename, from, || RealDisk.rename(from, to))
    }

    fn remove(&self, file: &Path) -> Result<(), DiskError> {
        self.change(DiskOperation::Remove, file, || RealDisk.remove(file))
    }

    fn replace(&self, file: &Path, contents: &[u8]) -> Result<(), DiskError> {
        self.change(DiskOperation::Rename, file, || RealDisk.replace(file, contents))
    }

    fn read(&self, file: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        RealDisk.read(file)
    }

    fn open_read(&self, file: &Path) -> Result<Option<fs::File>, DiskError> {
        RealDisk.open_read(file)
    }

    fn len(&self, file: &Path) -> Result<Option<u64>, DiskError> {
        RealDisk.len(file)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        RealDisk.list(dir)
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, DiskError> {
        RealDisk.space(path)
    }
}

#[derive(Clone)]
struct DyingFile {
    file: RealFile,
    disk: DyingDisk,
    path: PathBuf,
}

impl DiskFile for DyingFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let file = &mut self.file;
        self.disk
            .change(DiskOperation::Append, &self.path, || file.append(bytes))
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        let file = &mut self.file;
        self.disk.change(DiskOperation::Sync, &self.path, || file.sync())
    }

    fn truncate(&mut self, len: u64) -> Result<(), DiskError> {
        let file = &mut self.file;
        self.disk
            .change(DiskOperation::Truncate, &self.path, || file.truncate(len))
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.len()
    }
}

/// The contents of a ledger, without its own id.
#[derive(Debug, PartialEq)]
struct LedgerContents {
    batches: Vec<(Batch, Vec<Delivery>)>,
    totals: Vec<SourceLineTotals>,
    end: Option<SourceEnd>,
    rebuilt_at: Option<Timestamp>,
    faults: Vec<String>,
}

impl LedgerContents {
    fn of(host: &Host) -> Self {
        let ledger = host.ledger();
        let batches = host.batches().into_iter().map(|batch| {
            let deliveries = ledger.deliveries(batch.id).expect("read");
            (batch, deliveries)
        });
        Self {
            batches: batches.collect(),
            totals: ledger.source_line_totals().expect("read"),
            end: ledger.source_end(&SOURCE.parse().expect("valid")).expect("read"),
            rebuilt_at: ledger.rebuilt_at().expect("read"),
            faults: ledger.integrity().expect("read"),
        }
    }
}

const OLD: [(&str, &[u8]); 4] = [
    ("ledger.db", &[7; 5000]),
    ("ledger.db-wal", b"what SQLite had not merged"),
    ("ledger.db-shm", b"shared"),
    (LAST_RECORD_FILE, b"how far its records went"),
];

/// A damaged ledger, and batches of three states. The open one ends inside a line.
fn host() -> Host {
    let host = Host::new();
    for (name, contents) in OLD {
        host.put(name, contents);
    }
    for (state, label, minute, count) in [("sent", "00-19", 5, 3), ("ready", "20-39", 20, 5)] {
        host.put_batch(state, &(name(label) + ".log"), &lines(minute, count));
    }
    let open = [lines(40, 7), b"half a line".to_vec()].concat();
    host.put_batch("open", &(name("40-59") + ".log"), &open);
    host
}

/// The names and contents of all files in `damaged-N/`.
fn kept(host: &Host) -> BTreeSet<(String, Vec<u8>)> {
    let mut kept = BTreeSet::new();
    let mut folders = RealDisk.list(host.dir.path()).expect("listed");
    folders.retain(|name| name.starts_with("damaged-"));
    let mut folders: Vec<_> = folders.iter().map(|name| host.dir.path().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for name in RealDisk.list(&folder).expect("listed") {
            let path = folder.join(&name);
            if path.is_dir() {
                folders.push(path);
            } else {
                kept.insert((name, fs::read(path).expect("read")));
            }
        }
    }
    kept
}

fn ledger_files(host: &Host) -> Vec<String> {
    let names = RealDisk.list(host.dir.path()).expect("listed");
    let is_wanted = |name: &String| {
        name.starts_with("ledger") || [WORK_FOLDER, LAST_RECORD_FILE].contains(&name.as_str())
    };
    names.into_iter().filter(is_wanted).collect()
}

/// When the ledger was rebuilt. A copy is opened, since SQLite writes to a file that it opens.
fn rebuilt_at_as_found(host: &Host) -> Result<Option<Timestamp>, LedgerError> {
    let copy = tempfile::tempdir().expect("a folder");
    for name in RealDisk.list(host.dir.path()).expect("listed") {
        if name.starts_with("ledger") {
            fs::copy(host.dir.path().join(&name), copy.path().join(name)).expect("copied");
        }
    }
    Ledger::open(copy.path())?.rebuilt_at()
}

#[test]
fn rebuild_stopped_at_any_step_and_run_again_ends_as_if_it_had_not_been() {
    let undisturbed = host();
    let counting = DyingDisk::new(usize::MAX, Moment::Before);
    undisturbed.rebuild_on(&counting).expect("rebuilt");
    let steps = counting.begun.load(Ordering::Relaxed);
    assert!(steps > 10, "{steps}");
    let expected = (LedgerContents::of(&undisturbed), contents(&undisturbed));
    assert_eq!(expected.0.faults, Vec::<String>::new());
    let to_keep = kept(&undisturbed);
    assert_eq!(to_keep.len(), OLD.len() + 1, "and the half line");
    assert!(!ledger_files(&undisturbed).contains(&LAST_RECORD_FILE.to_owned()));

    for (dies_at, moment) in (1..=steps).flat_map(|step| [(step, Moment::Before), (step, Moment::After)]) {
        let context = format!("dead {moment:?} step {dies_at} of {steps}");
        let host = host();
        let before = contents(&host);
        let stopped = host.rebuild_on(&DyingDisk::new(dies_at, moment));
        assert!(
            matches!(stopped, Err(FsckError::Disk(_))),
            "{context}: {stopped:?}"
        );
        // A role can open the ledger only if it is the whole new one.
        let found = rebuilt_at_as_found(&host);
        let is_done = found.is_ok();
        assert!(found.is_ok_and(|at| at == Some(now())) == is_done, "{context}");
        assert_eq!(contents(&host), before, "{context}");
        match host.rebuild_on(&RealDisk) {
            Ok(_) => assert!(!is_done, "{context}"),
            Err(FsckError::Whole { .. }) => assert!(is_done, "{context}"),
            Err(error) => panic!("{context}: {error:?}"),
        }
        let found = (LedgerContents::of(&host), contents(&host));
        assert_eq!(found, expected, "{context}");
        assert!(to_keep.is_subset(&kept(&host)), "{context}: not kept");
        assert_eq!(ledger_files(&host), ledger_files(&undisturbed), "{context}");
    }
}

#[test]
fn disk_without_room_for_the_copy_of_the_old_ledger_is_told_as_that() {
    let told = (1..=10).map(|step| {
        let stopped = host().rebuild_on(&DyingDisk::new(step, Moment::Before));
        stopped.expect_err("it is stopped").to_string()
    });
    let told: Vec<_> = told.collect();
    let is_of_the_copy =
        |text: &String| text.starts_with("cannot write to ") && text.ends_with("/rebuild.tmp/ledger.db");
    assert!(told.iter().any(is_of_the_copy), "{told:?}");
}

/// The contents of each file of the spool, by paths below the data folder.
fn contents(host: &Host) -> BTreeMap<PathBuf, Vec<u8>> {
    let below = |path: PathBuf| path.strip_prefix(host.dir.path()).expect("below").to_owned();
    let spool = spool_contents(host.dir.path()).into_iter();
    spool.map(|(path, contents)| (below(path), contents)).collect()
}
