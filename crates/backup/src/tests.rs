//! Backups of a data folder that changes meanwhile, and their restores.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use logferry_durable::{LockFile, RealDisk};
use logferry_ledger::{Batch, BatchState, FILE_NAME, Ledger, LedgerError, RestoreRecord};
use logferry_spool::{FileForm, Spool};
use logferry_testkit::batches::{add_batch, new_batch, put_file};
use tempfile::TempDir;

use crate::{BackupError, BackupManifest, make, restore};

type TestResult = Result<(), Box<dyn Error>>;

fn now() -> Timestamp {
    Timestamp::from_second(1_795_230_000).expect("in range")
}

fn lines(part: u32) -> Vec<u8> {
    (0..50)
        .flat_map(|n| format!("part {part} line {n}\n").into_bytes())
        .collect()
}

/// A relay host with a batch in each state, a compressed one, one that expired, and an open one that has grown since its last
/// commit.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            dir: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(host.data_dir()).expect("a folder");
        drop(Ledger::open_or_create(&host.data_dir()).expect("a ledger"));
        for (part, state) in (1..).zip(BatchState::ALL) {
            let batch = host.add(part, state);
            host.put(&batch, state, FileForm::Plain, &lines(part));
        }
        let compressed = host.add(5, BatchState::Sent);
        host.put(
            &compressed,
            BatchState::Sent,
            FileForm::Compressed,
            &gzip(&lines(5)),
        );
        let expired = host.add(6, BatchState::Sent);
        host.ledger().mark_expired(expired.id, now()).expect("marked");
        let open = host.path("data/open/198.51.100.1/accessLog.log");
        fs::OpenOptions::new()
            .append(true)
            .open(open)
            .expect("there")
            .write_all(b"not commi")
            .expect("room");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.data_dir()).expect("a ledger")
    }

    fn add(&self, part: u32, state: BatchState) -> Batch {
        let new = new_batch("198.51.100.1", "accessLog");
        let batch = add_batch(&mut self.ledger(), &new, &lines(part), state, now());
        assert_eq!(batch.part, part);
        batch
    }

    fn put(&self, batch: &Batch, state: BatchState, form: FileForm, bytes: &[u8]) {
        let spool = Spool::new(RealDisk, &self.data_dir());
        put_file(&RealDisk, &spool.path_of_form(batch, state, form), bytes);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn is_fine(data_dir: &Path) -> TestResult {
    let report = logferry_fsck::check(data_dir)?;
    assert_eq!(report.findings, []);
    Ok(())
}

#[test]
fn a_backup_is_not_made_in_the_folder_that_it_is_of() -> TestResult {
    let host = Host::new();
    std::os::unix::fs::symlink(host.data_dir(), host.path("link"))?;
    for target in ["data", "data/backup", "data/backup/of/today", "link/backup"] {
        let error = make(&host.data_dir(), &host.path(target), now).expect_err(target);
        assert!(matches!(error, BackupError::TargetInDataDir { .. }), "{error}");
        assert!(error.to_string().contains("outside of it, such as"), "{error}");
    }
    assert!(!host.path("data/backup").exists(), "nothing was made");
    make(&host.data_dir(), &host.path("data-backup"), now)?;
    Ok(())
}

#[test]
fn restored_folder_has_the_bytes_of_every_batch_that_its_ledger_names() -> TestResult {
    let host = Host::new();
    let made = make(&host.data_dir(), &host.path("backup"), now)?;
    assert_eq!(
        (made.linked, made.copied, made.faults.len()),
        (4, 1, 0),
        "the open one is copied"
    );
    assert_eq!(made.manifest.batches, 5);

    let back = host.path("back");
    let restored = restore(&host.path("backup"), &back, now())?;
    assert_eq!((restored.files, restored.faults.len()), (5, 0));
    is_fine(&back)?;
    let ledger = Ledger::open_or_create(&back)?;
    assert_eq!(ledger.id()?, host.ledger().id()?, "senders know it");
    let record = RestoreRecord {
        backup_at: now(),
        restored_at: now(),
    };
    assert_eq!(ledger.restores()?, [record]);
    assert_eq!(
        fs::read(back.join("open/198.51.100.1/accessLog.log"))?,
        lines(1),
        "as committed"
    );
    assert!(!back.join("restoring").exists());
    is_fine(&host.data_dir())
}

#[test]
fn what_is_written_after_the_backup_changes_nothing_in_it() -> TestResult {
    let host = Host::new();
    make(&host.data_dir(), &host.path("backup"), now)?;
    let open = host.path("data/open/198.51.100.1/accessLog.log");
    fs::OpenOptions::new()
        .append(true)
        .open(open)?
        .write_all(b"more\n")?;
    fs::remove_dir_all(host.path("data/sent"))?;
    restore(&host.path("backup"), &host.path("back"), now())?;
    is_fine(&host.path("back"))
}

#[test]
fn a_backup_needs_an_empty_folder_and_a_restore_an_empty_data_folder() -> TestResult {
    let host = Host::new();
    let (data, backup) = (host.data_dir(), host.path("backup"));
    make(&data, &backup, now)?;
    assert!(matches!(
        make(&data, &backup, now),
        Err(BackupError::TargetNotEmpty(_))
    ));
    for folder in [&data, &backup] {
        assert!(matches!(
            restore(&backup, folder, now()),
            Err(BackupError::DataDirNotEmpty(_))
        ));
    }
    let spool_only = host.path("spool");
    put_file(&RealDisk, &spool_only.join("ready/198.51.100.1/x.log"), b"x\n");
    assert!(matches!(
        restore(&backup, &spool_only, now()),
        Err(BackupError::DataDirNotEmpty(_))
    ));
    Ok(())
}

#[test]
fn a_backup_is_of_the_moment_when_the_housekeeper_let_it_copy() -> TestResult {
    let host = Host::new();
    let lock = host.data_dir().join(logferry_spool::HOUSEKEEPER_LOCK);
    make(&host.data_dir(), &host.path("backup"), || {
        assert!(LockFile::acquire(&lock).is_err(), "the backup has it");
        assert!(
            !host.path("backup/ledger.db").exists(),
            "what comes now is not in it"
        );
        now()
    })?;
    Ok(())
}

#[test]
fn a_backup_that_was_not_finished_is_not_restored() -> TestResult {
    let host = Host::new();
    let (backup, back) = (host.path("backup"), host.path("back"));
    make(&host.data_dir(), &backup, now)?;
    let manifest = backup.join("backup.json");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 2"))?;
    assert!(matches!(
        restore(&backup, &back, now()),
        Err(BackupError::OtherFormat { found: 2, .. })
    ));
    let id = BackupManifest::read(&backup).err().map(|error| error.to_string());
    assert!(id.is_some_and(|text| text.contains("install the version that made it")));
    fs::write(&manifest, "{")?;
    assert!(matches!(
        restore(&backup, &back, now()),
        Err(BackupError::Manifest { .. })
    ));
    fs::remove_file(&manifest)?;
    assert!(matches!(
        restore(&backup, &back, now()),
        Err(BackupError::NoBackup(_))
    ));
    assert!(!back.exists(), "nothing was written");
    Ok(())
}

#[test]
fn a_relay_does_not_start_on_a_restore_that_was_interrupted() -> TestResult {
    let host = Host::new();
    let (backup, back) = (host.path("backup"), host.path("back"));
    make(&host.data_dir(), &backup, now)?;
    restore(&backup, &back, now())?;
    // As a crash before the last rename leaves it.
    fs::create_dir(back.join("restoring"))?;
    fs::rename(back.join(FILE_NAME), back.join("restoring").join(FILE_NAME))?;
    assert!(matches!(
        Ledger::open_or_create(&back),
        Err(LedgerError::Lost { .. })
    ));
    assert!(matches!(
        restore(&backup, &back, now()),
        Err(BackupError::DataDirNotEmpty(_))
    ));
    Ok(())
}

#[test]
fn a_damaged_backup_says_which_batch_it_lacks_and_restores_the_others() -> TestResult {
    let host = Host::new();
    let (backup, back) = (host.path("backup"), host.path("back"));
    make(&host.data_dir(), &backup, now)?;
    fs::remove_file(backup.join("ready/198.51.100.1/accessLog.2.log"))?;
    let sent = backup.join("sent/198.51.100.1/accessLog.3.log");
    let mut bytes = fs::read(&sent)?;
    bytes[3] ^= 1;
    fs::remove_file(&sent)?;
    fs::write(&sent, bytes)?;
    let restored = restore(&backup, &back, now())?;
    let faults: Vec<_> = restored.faults.iter().map(|fault| fault.batch.as_str()).collect();
    assert_eq!(faults, ["accessLog.2", "accessLog.3"]);
    assert_eq!(restored.files, 4);
    Ok(())
}

#[test]
fn a_batch_without_its_file_is_told_and_the_others_are_saved() -> TestResult {
    let host = Host::new();
    fs::remove_file(host.path("data/ready/198.51.100.1/accessLog.2.log"))?;
    let made = make(&host.data_dir(), &host.path("backup"), now)?;
    let faults: Vec<_> = made.faults.iter().map(|fault| fault.batch.as_str()).collect();
    assert_eq!((faults, made.manifest.batches), (vec!["accessLog.2"], 4));
    Ok(())
}

#[test]
fn no_backup_is_restored_under_a_running_role() -> TestResult {
    let host = Host::new();
    make(&host.data_dir(), &host.path("backup"), now)?;
    fs::create_dir(host.path("back"))?;
    let _relay = LockFile::acquire(&host.path("back").join("relay.lock"))?;
    let refused = restore(&host.path("backup"), &host.path("back"), now());
    assert!(matches!(refused, Err(BackupError::RoleRunning(_))));
    Ok(())
}

mod moved {
    //! The forwarder moves and the relay grows what the copied ledger names.

    use super::*;
    use crate::make::tests::save;

    #[test]
    fn batches_that_moved_on_since_the_ledger_was_copied_are_saved_as_it_says() -> TestResult {
        let host = Host::new();
        let before = host.ledger().batches(&logferry_ledger::BatchFilter::default())?;
        let name = |part: u32, suffix: &str| {
            let part = if part == 1 {
                String::new()
            } else {
                format!(".{part}")
            };
            format!("198.51.100.1/accessLog{part}.log{suffix}")
        };
        let path =
            |state: &str, part: u32, suffix: &str| host.data_dir().join(state).join(name(part, suffix));
        // The open one grew, was sealed and delivered; the ready one was delivered and compressed; the failed one is ready again.
        let grown = [lines(1), b"more\n".to_vec()].concat();
        fs::remove_file(path("open", 1, ""))?;
        fs::write(path("sent", 1, ""), grown)?;
        fs::remove_file(path("ready", 2, ""))?;
        fs::write(path("sent", 2, ".gz"), gzip(&lines(2)))?;
        fs::rename(path("failed", 4, ""), path("ready", 4, ""))?;
        let target = host.path("backup");
        assert_eq!(save(&host.data_dir(), &target, &before)?, 0, "no faults");
        for (state, part) in [("open", 1), ("ready", 2), ("sent", 3), ("failed", 4)] {
            assert_eq!(
                fs::read(target.join(state).join(name(part, "")))?,
                lines(part),
                "{state}"
            );
        }
        Ok(())
    }
}
