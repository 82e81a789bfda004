//! Checks and repairs of a spool whose files were moved, copied, changed or removed.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use jiff::Timestamp;
use logferry_durable::LockFile;
use logferry_ledger::{BatchState, FailureKind, Ledger};
use logferry_spool::gzip_encoder;
use logferry_testkit::batches::{add_batch, new_batch};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SOURCE: &str = "198.51.100.1";

fn now() -> Timestamp {
    Timestamp::from_second(1_795_227_700).expect("in range")
}

fn lines(part: u32) -> Vec<u8> {
    format!("line of part {part}\n").repeat(100).into_bytes()
}

/// A relay host with one batch in each state, each a part of the same window.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let host = Self { dir };
        for (part, state) in (1..).zip(BatchState::ALL) {
            host.add(&mut ledger, part, state);
            host.put(state.as_str(), &file_name(part), &lines(part));
        }
        host
    }

    /// Adds a part to the ledger; its file is not made.
    fn add(&self, ledger: &mut Ledger, part: u32, state: BatchState) {
        let batch = add_batch(ledger, &new_batch(SOURCE, "a"), &lines(part), state, now());
        assert_eq!(batch.part, part, "in {}", self.dir.path().display());
    }

    fn path(&self, folder: &str, file: &str) -> PathBuf {
        self.dir.path().join(folder).join(SOURCE).join(file)
    }

    fn put(&self, folder: &str, file: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(folder, file);
        write(&path, contents);
        path
    }

    /// The batch in `sent/` expires.
    fn expire_sent(&self) {
        let mut ledger = Ledger::open(self.dir.path()).expect("a ledger");
        let sent = ledger.batches_in(BatchState::Sent).expect("read");
        ledger.mark_expired(sent[0].id, now()).expect("noted");
    }

    fn findings(&self) -> Vec<(FindingKind, PathBuf)> {
        // No role runs.
        let report = check_again(self.dir.path(), &[Duration::ZERO], drop).expect("checked");
        assert_eq!(report.fine, report.findings.is_empty());
        kinds_and_paths(report.findings)
    }

    /// The contents of all files, sorted.
    fn contents(&self) -> Vec<Vec<u8>> {
        let mut contents: Vec<_> = spool_contents(self.dir.path()).into_values().collect();
        contents.sort();
        contents
    }
}

pub(crate) fn kinds_and_paths(findings: Vec<Finding>) -> Vec<(FindingKind, PathBuf)> {
    let pairs = findings.into_iter().map(|found| (found.kind, found.path));
    pairs.collect()
}

/// The contents of every file in the spool.
pub(crate) fn spool_contents(data_dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = Spool::new(RealDisk, data_dir).all_files().expect("listed");
    let read = |file: SpoolFile| (file.path.clone(), fs::read(&file.path).expect("read"));
    files.into_iter().map(read).collect()
}

pub(crate) fn write(path: &Path, contents: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, contents).expect("written");
}

fn file_name(part: u32) -> String {
    match part {
        1 => "a.log".to_owned(),
        part => format!("a.{part}.log"),
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    let read = gzip_encoder(bytes).read_to_end(&mut compressed);
    read.expect("in memory");
    compressed
}

#[test]
fn row_of_an_undelivered_batch_that_counts_as_compressed_is_found() {
    let host = Host::new();
    let ledger = Ledger::open(host.dir.path()).expect("a ledger");
    let sqlite = rusqlite::Connection::open(ledger.path()).expect("opened");
    let change = "UPDATE batches SET compressed_at = 1 WHERE state = 'ready'";
    assert_eq!(sqlite.execute(change, []).expect("changed"), 1);
    assert_eq!(host.findings(), [(FindingKind::Ledger, ledger.path().to_owned())]);
}

#[test]
fn spool_that_agrees_with_the_ledger_has_no_finding() {
    let host = Host::new();
    let report = check_again(host.dir.path(), &[Duration::ZERO], drop).expect("checked");
    assert_eq!((report.fine, report.batches, report.files), (true, 4, 4));
    // Lines that are being committed, and a batch without a file so far.
    host.put("open", "a.log", &[lines(1), b"half a li".to_vec()].concat());
    let mut ledger = Ledger::open(host.dir.path()).expect("a ledger");
    ledger.open_batch(&new_batch(SOURCE, "a"), now()).expect("opened");
    // The housekeeper at work, in each of its steps.
    host.put("sent", "a.3.log.gz.tmp", b"");
    assert_eq!(host.findings(), []);
    host.put("sent", "a.3.log.gz", &gzip(&lines(3)));
    fs::remove_file(host.path("sent", "a.3.log.gz.tmp")).expect("removed");
    assert_eq!(host.findings(), []);
    fs::remove_file(host.path("sent", "a.3.log")).expect("removed");
    assert_eq!(host.findings(), []);
}

#[test]
fn each_kind_of_difference_is_found() {
    let host = Host::new();
    let short = host.put("open", "a.log", &lines(1)[1..]);
    assert_eq!(host.findings(), [(FindingKind::Size, short)]);
    host.put("open", "a.log", &lines(1));

    let mut changed = lines(2);
    changed[50] ^= 1;
    let changed = host.put("ready", "a.2.log", &changed);
    assert_eq!(host.findings(), [(FindingKind::Contents, changed)]);
    let long = host.put("ready", "a.2.log", &lines(2).repeat(2));
    assert_eq!(host.findings(), [(FindingKind::Size, long.clone())]);
    fs::remove_file(&long).expect("removed");
    assert_eq!(host.findings(), [(FindingKind::Missing, long)]);
    host.put("ready", "a.2.log", &lines(2));

    fs::remove_file(host.path("sent", "a.3.log")).expect("removed");
    for contents in [gzip(&lines(1)), b"\x1f\x8b".to_vec()] {
        let damaged = host.put("sent", "a.3.log.gz", &contents);
        assert_eq!(host.findings(), [(FindingKind::Contents, damaged)]);
    }
    host.put("sent", "a.3.log.gz", &gzip(&lines(3)));

    let second = host.put("ready", "a.4.log", b"");
    let leftover = host.put("ready", "a.2.log.tmp", b"");
    let unknown = host.put("ready", "a.9.log", &lines(9));
    let notes = host.put("failed", "notes.txt", b"");
    assert_eq!(
        host.findings(),
        [
            (FindingKind::Double, second),
            (FindingKind::Leftover, leftover),
            (FindingKind::Unknown, notes),
            (FindingKind::Unknown, unknown),
        ]
    );
}

#[test]
fn file_in_the_wrong_folder_is_moved_and_nothing_else_is_touched() {
    let host = Host::new();
    let (misplaced, home) = (host.path("sent", "a.2.log"), host.path("ready", "a.2.log"));
    fs::rename(&home, &misplaced).expect("moved");
    let unknown = host.put("ready", "a.9.log", b"x\n");
    assert_eq!(
        host.findings(),
        [
            (FindingKind::Misplaced, misplaced.clone()),
            (FindingKind::Unknown, unknown.clone())
        ]
    );
    let report = repair(host.dir.path()).expect("repaired");
    assert!(!report.fine, "the unknown file is left");
    let repaired: Vec<_> = report.findings.iter().map(|finding| finding.repaired).collect();
    assert_eq!(repaired, [true, false]);
    assert_eq!(host.findings(), [(FindingKind::Unknown, unknown)]);
    assert!(home.exists() && !misplaced.exists());
}

#[test]
fn nothing_is_repaired_while_a_role_runs() {
    let host = Host::new();
    fs::rename(host.path("ready", "a.2.log"), host.path("sent", "a.2.log")).expect("moved");
    for role in ["relay", "forwarder", "housekeeper"] {
        let _lock = LockFile::acquire(&host.dir.path().join(format!("{role}.lock"))).expect("free");
        let repaired = repair(host.dir.path());
        assert!(matches!(repaired, Err(FsckError::Busy(_))), "{role}");
        assert_eq!(host.findings().len(), 1);
    }
    assert!(repair(host.dir.path()).expect("nobody runs").fine);
}

#[test]
fn files_of_expired_batches_are_the_housekeepers() {
    let host = Host::new();
    host.expire_sent();
    assert_eq!(host.findings(), []);
    fs::remove_file(host.path("sent", "a.3.log")).expect("removed");
    assert_eq!(host.findings(), []);
    assert_eq!(check(host.dir.path()).expect("checked").batches, 3);
}

#[test]
fn files_of_expired_batches_in_other_folders_are_nobodys() {
    let host = Host::new();
    host.expire_sent();
    for folder in ["failed", "ready"] {
        let stray = host.put(folder, "a.3.log", &lines(3));
        assert_eq!(host.findings(), [(FindingKind::Unknown, stray.clone())]);
        repair(host.dir.path()).expect("nobody runs");
        assert!(stray.exists(), "a repair removes nothing");
        fs::remove_file(stray).expect("removed");
    }
}

/// Damage to one of the four batch files.
#[derive(Debug, Clone)]
enum FileDamage {
    Move(&'static str),
    Copy(&'static str),
    Cut,
    Spoil,
    Remove,
}

fn damage() -> impl Strategy<Value = FileDamage> {
    let folder = prop::sample::select(vec!["open", "ready", "sent", "failed"]);
    prop_oneof![
        folder.clone().prop_map(FileDamage::Move),
        folder.prop_map(FileDamage::Copy),
        Just(FileDamage::Cut),
        Just(FileDamage::Spoil),
        Just(FileDamage::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// After any damage, a repair keeps every file's bytes, and leaves no whole file in the wrong folder.
    #[test]
    fn repair_loses_no_bytes(damages in prop::collection::vec((1_u32..5, damage()), 0..6)) {
        let host = Host::new();
        for (part, damage) in damages {
            let name = file_name(part);
            let found = ["open", "ready", "sent", "failed"].map(|folder| host.path(folder, &name));
            let Some(path) = found.into_iter().find(|path| path.exists()) else { continue };
            let bytes = fs::read(&path).expect("read");
            match damage {
                FileDamage::Move(folder) => {
                    fs::remove_file(&path).expect("removed");
                    host.put(folder, &name, &bytes);
                }
                FileDamage::Copy(folder) => drop(host.put(folder, &name, &bytes)),
                FileDamage::Cut => fs::write(&path, &bytes[..bytes.len() / 2]).expect("written"),
                FileDamage::Spoil => fs::write(&path, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).expect("written"),
                FileDamage::Remove => fs::remove_file(&path).expect("removed"),
            }
        }
        let before = host.contents();
        let report = repair(host.dir.path()).expect("repaired");
        prop_assert_eq!(before, host.contents());
        let left = host.findings();
        prop_assert!(left.iter().all(|(kind, _)| *kind != FindingKind::Misplaced), "{:?}", left);
        prop_assert_eq!(report.fine, left.is_empty());
    }
}

#[test]
fn a_damaged_file_that_the_forwarder_moves_meanwhile_is_found() {
    let host = Host::new();
    let ready = host.put("ready", &file_name(2), b"damaged");
    let failed = host.path("failed", &file_name(2));
    let report = check_again(host.dir.path(), &[Duration::ZERO], |_| {
        let mut ledger = Ledger::open(host.dir.path()).expect("a ledger");
        let batch = ledger.batches_in(BatchState::Ready).expect("read")[0].id;
        let (edw, refused) = ("edw".parse().expect("a name"), (FailureKind::Refused, "damaged"));
        ledger
            .record_failure(batch, &edw, refused, now(), true)
            .expect("noted");
        fs::rename(&ready, &failed).expect("moved");
    });
    let report = report.expect("checked");
    assert!(!report.fine);
    assert_eq!(kinds_and_paths(report.findings), [(FindingKind::Size, failed)]);
}

#[test]
fn a_batch_that_the_relay_moves_late_is_no_finding() {
    let host = Host::new();
    let home = host.path("ready", &file_name(2));
    let late = host.path("open", &file_name(2));
    fs::rename(&home, &late).expect("moved");
    let mut pauses = 0;
    let report = check_again(host.dir.path(), &PAUSES, |_| {
        pauses += 1;
        if pauses == PAUSES.len() {
            fs::rename(&late, &home).expect("moved");
        }
    });
    assert!(report.expect("checked").fine);
    assert_eq!(pauses, PAUSES.len());
}
