//! The simulated disk keeps durable bytes and loses the others.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation};
use logferry_testkit::SimDisk;
use proptest::prelude::*;

fn file() -> PathBuf {
    PathBuf::from("/data/open/a.log")
}

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/data/open")).expect("no fault");
    disk
}

/// Whether these are the first bytes of `whole`, but for zeros where a page was not written.
fn is_torn(left: &[u8], whole: &[u8]) -> bool {
    left.len() <= whole.len()
        && left
            .iter()
            .zip(whole)
            .all(|(left, whole)| left == whole || *left == 0)
}

#[test]
fn synced_bytes_and_a_prefix_of_the_unsynced_bytes_survive() -> Result<(), DiskError> {
    let mut kept = Vec::new();
    for seed in 0..200 {
        let disk = disk();
        let mut open = disk.open_append(&file())?;
        open.append(b"durable")?;
        open.sync()?;
        open.append(b"-torn")?;
        assert_eq!(disk.contents(&file()).as_deref(), Some(&b"durable-torn"[..]));
        assert_eq!(disk.durable_contents(&file()).as_deref(), Some(&b"durable"[..]));
        disk.power_loss(seed);
        let left = disk.contents(&file()).expect("its name is durable");
        assert!(left.starts_with(b"durable") && is_torn(&left, b"durable-torn"));
        assert_eq!(disk.durable_contents(&file()), Some(left.clone()));
        kept.push(left.len());
    }
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept, [7, 8, 9, 10, 11, 12], "every tear happens");
    Ok(())
}

#[test]
fn new_name_survives_without_its_bytes() -> Result<(), DiskError> {
    let disk = disk();
    let mut open = disk.open_append(&file())?;
    open.append(b"x")?;
    let to = Path::new("/data/open/b.log");
    disk.rename(&file(), to)?;
    assert_eq!(disk.durable_contents(to), Some(Vec::new()));
    assert_eq!(disk.files(), [to]);
    open.sync()?;
    assert_eq!(
        disk.durable_contents(to),
        Some(b"x".to_vec()),
        "the handle follows the file"
    );
    disk.remove(to)?;
    disk.power_loss(1);
    assert!(disk.files().is_empty());
    Ok(())
}

#[test]
fn handle_fails_after_a_power_loss() -> Result<(), DiskError> {
    let disk = disk();
    let mut open = disk.open_append(&file())?;
    disk.power_loss(1);
    assert!(open.append(b"x").is_err());
    assert!(open.sync().is_err());
    assert!(open.truncate(0).is_err());
    assert!(open.len().is_err());
    assert_eq!(disk.read(&file())?, Some(Vec::new()));
    Ok(())
}

#[test]
fn bytes_of_a_failed_sync_are_lost_although_the_next_sync_succeeds() -> Result<(), DiskError> {
    let disk = disk();
    let mut open = disk.open_append(&file())?;
    let mut clone = open.clone();
    open.append(b"ab")?;
    disk.fail_next(DiskOperation::Sync, ErrorKind::Other);
    assert!(open.sync().is_err());
    assert!(clone.sync().is_err(), "the error is for all clones");
    open = disk.open_append(&file())?;
    open.append(b"cd")?;
    open.sync()?;
    assert_eq!(disk.contents(&file()).as_deref(), Some(&b"abcd"[..]));
    assert_eq!(disk.durable_contents(&file()).as_deref(), Some(&b"\0\0cd"[..]));
    open.truncate(0)?;
    open.append(b"abcd")?;
    open.sync()?;
    assert_eq!(disk.durable_contents(&file()).as_deref(), Some(&b"abcd"[..]));
    Ok(())
}

#[test]
fn full_disk_writes_the_part_that_fits() -> Result<(), DiskError> {
    let disk = disk();
    let mut open = disk.open_append(&file())?;
    disk.set_free_bytes(3);
    let error = open.append(b"abcde").expect_err("there is no room");
    assert!(error.is_disk_full());
    assert_eq!(disk.contents(&file()).as_deref(), Some(&b"abc"[..]));
    assert_eq!(disk.free_bytes(&file())?, 0);
    open.truncate(1)?;
    assert_eq!(disk.free_bytes(&file())?, 2);
    disk.remove(&file())?;
    assert_eq!(disk.free_bytes(&file())?, 3);
    Ok(())
}

#[test]
fn ordered_fault_happens_once_and_only_at_its_operation() -> Result<(), DiskError> {
    let disk = disk();
    disk.fail_next(DiskOperation::Append, ErrorKind::Interrupted);
    let mut open = disk.open_append(&file())?;
    let error = open.append(b"abcd").expect_err("ordered");
    assert_eq!(error.source.kind(), ErrorKind::Interrupted);
    assert_eq!(open.len()?, 2, "half of it was written");
    open.append(b"ef")?;
    assert_eq!(disk.contents(&file()).as_deref(), Some(&b"abef"[..]));
    Ok(())
}

#[test]
fn interrupted_replace_leaves_the_old_or_the_new_file() -> Result<(), DiskError> {
    let mut changes = 0;
    loop {
        let disk = disk();
        disk.replace(&file(), b"old")?;
        disk.fail_after(changes);
        let replaced = disk.replace(&file(), b"newer");
        assert!(disk.read(&file()).is_err(), "nothing works any more");
        disk.power_loss(changes);
        let expected: &[u8] = if replaced.is_ok() { b"newer" } else { b"old" };
        assert_eq!(disk.contents(&file()).as_deref(), Some(expected));
        disk.replace(&file(), b"last")?;
        assert_eq!(disk.files(), [file()]);
        if replaced.is_ok() {
            return Ok(());
        }
        changes += 1;
        assert!(changes < 10, "it is done in a few steps");
    }
}

#[test]
fn folders_are_listed_and_required() -> Result<(), DiskError> {
    let disk = disk();
    drop(disk.open_append(&file())?);
    assert_eq!(disk.list(Path::new("/data"))?, ["open"]);
    assert_eq!(disk.list(Path::new("/data/open"))?, ["a.log"]);
    assert!(disk.list(Path::new("/none"))?.is_empty());
    assert_eq!(disk.len(&file())?, Some(0));
    assert_eq!(disk.len(Path::new("/none"))?, None);
    assert!(disk.open_append(Path::new("/none/a.log")).is_err());
    assert!(disk.rename(&file(), Path::new("/none/a.log")).is_err());
    assert!(disk.rename(Path::new("/data/none"), &file()).is_err());
    assert!(disk.create_dir_all(&file()).is_err());
    Ok(())
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    Sync,
    Truncate(u64),
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Step::Append),
        Just(Step::Sync),
        (0_u64..40).prop_map(Step::Truncate),
        any::<u64>().prop_map(Step::PowerLoss),
    ]
}

proptest! {
    #[test]
    fn exactly_the_synced_bytes_are_certain_to_survive(steps in prop::collection::vec(step(), 0..60)) {
        let disk = disk();
        let mut open = disk.open_append(&file())?;
        let (mut seen, mut synced) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    open.append(&bytes)?;
                    seen.extend(bytes);
                }
                Step::Sync => {
                    open.sync()?;
                    synced.clone_from(&seen);
                }
                Step::Truncate(len) => {
                    let len = len.min(open.len()?);
                    open.truncate(len)?;
                    seen.truncate(usize::try_from(len)?);
                    synced.clone_from(&seen);
                }
                Step::PowerLoss(seed) => {
                    disk.power_loss(seed);
                    let left = disk.contents(&file()).unwrap_or_default();
                    prop_assert!(left.starts_with(&synced) && is_torn(&left, &seen));
                    (seen, synced) = (left.clone(), left);
                    open = disk.open_append(&file())?;
                }
            }
            prop_assert_eq!(disk.contents(&file()), Some(seen.clone()));
            prop_assert_eq!(disk.durable_contents(&file()), Some(synced.clone()));
        }
    }
}
