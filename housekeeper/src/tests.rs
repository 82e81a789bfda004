//! Runs on a real ledger, with the spool on a real and on a simulated disk.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::time::Duration;
use std::{fs, io};

use logferry_config::DiskThresholds;
use logferry_durable::{BootTime, Disk, DiskOperation};
use logferry_invariants::invariant_only_delivered_is_compressed_or_deleted;
use logferry_ledger::{Batch, BatchState, ClockRecord, FILE_NAME};
use logferry_testkit::SimDisk;

use self::host::{HOUR, Host, lines, rules, sealed_at, unzip};
use super::*;
use logferry_spool::FileForm;
use std::error::Error;

mod daemon;
pub(crate) mod host;
mod locks;

type TestResult = Result<(), Box<dyn Error>>;

#[test]
fn a_batch_is_compressed_and_then_deleted() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    assert_eq!(host.run(2 * HOUR)?, HousekeeperReport::default());
    host.assert_untouched(&batch);
    let report = host.run(3 * HOUR)?;
    host.assert_compressed(&batch);
    let gzip_bytes = host.get(&batch, FileForm::Compressed).ok_or("no gzip")?.len() as u64;
    let expected = HousekeeperReport {
        compressed: 1,
        bytes_freed: batch.contents.bytes - gzip_bytes,
        ..HousekeeperReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(host.run(3 * HOUR)?, HousekeeperReport::default());

    let report = host.run(4 * HOUR)?;
    let expected = HousekeeperReport {
        expired: 1,
        bytes_freed: gzip_bytes,
        ..HousekeeperReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(host.get(&batch, FileForm::Compressed), None);
    assert_eq!(host.known(&batch).expired_at, Some(sealed_at() + 4 * HOUR));
    assert_eq!(host.run(5 * HOUR)?, HousekeeperReport::default());
    Ok(())
}

#[test]
fn undelivered_batches_outlive_every_retention() -> TestResult {
    let host = Host::new(RealDisk);
    let undelivered = [BatchState::Open, BatchState::Ready, BatchState::Failed];
    let batches: Vec<Batch> = (1..)
        .zip(undelivered)
        .map(|(part, state)| host.batch(part, state))
        .collect();
    let config = HousekeeperSettings {
        compress_after: Duration::ZERO,
        delete_after: Duration::ZERO,
        ..host.config()
    };
    let report = once(&config, sealed_at() + 100_000 * HOUR)?;
    assert_eq!(report, HousekeeperReport::default());
    for batch in batches {
        let file = host.path(batch.state.as_str(), &batch.file_name());
        assert_eq!(fs::read(file)?, lines(batch.part));
        assert_eq!(host.known(&batch), batch);
        check_retention(&host, &batch, &["edw".to_owned()]);
    }
    Ok(())
}

fn check_retention(host: &Host<impl Disk>, batch: &Batch, undelivered: &[String]) {
    let checked = invariant_only_delivered_is_compressed_or_deleted(&host.known(batch), undelivered);
    assert_eq!(checked, Ok(()));
}

#[test]
fn a_batch_that_is_to_be_sent_again_is_left_alone_until_it_is() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    let name = "lab".parse()?;
    host.ledger().request_resends(&[batch.id], &name, sealed_at())?;
    for age in [3 * HOUR, 1000 * HOUR] {
        assert_eq!(host.run(age)?, HousekeeperReport::default());
    }
    host.ledger().cancel_resend(batch.id, &name)?;
    assert_eq!(host.run(1000 * HOUR)?.expired, 1);
    Ok(())
}

#[test]
fn a_sent_batch_waits_until_the_forwarder_has_moved_it() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    let ready = host.path("ready", &batch.file_name());
    fs::create_dir_all(ready.parent().ok_or("no folder")?)?;
    fs::rename(host.path("sent", &batch.file_name()), &ready)?;
    assert_eq!(host.run(9 * HOUR)?, HousekeeperReport::default());
    assert_eq!(fs::read(&ready)?, lines(1));
    assert_eq!(host.known(&batch), batch);

    fs::rename(&ready, host.path("sent", &batch.file_name()))?;
    assert_eq!(host.run(9 * HOUR)?.expired, 1);
    Ok(())
}

#[test]
fn unknown_files_are_left_alone() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    let names = ["theirs.log", "theirs.log.gz", "theirs.log.gz.tmp", "notes.txt"];
    for name in names {
        host.put("sent", name, b"x");
    }
    // A known batch's name in another source's folder, and a file where folders are.
    let sent = host.dir.path().join("sent");
    fs::create_dir(sent.join("198.51.100.2"))?;
    fs::write(sent.join("198.51.100.2").join(batch.file_name()), "x")?;
    fs::write(sent.join("README"), "x")?;
    assert_eq!(host.run(9 * HOUR)?.expired, 1);
    for name in names {
        assert_eq!(fs::read(host.path("sent", name))?, b"x");
    }
    assert_eq!(fs::read(sent.join("198.51.100.2").join(batch.file_name()))?, b"x");
    assert_eq!(fs::read(sent.join("README"))?, b"x");
    Ok(())
}

#[test]
fn a_part_of_a_compressed_copy_is_written_anew() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    host.put_form(&batch, FileForm::Partial, b"half of it");
    assert_eq!(host.run(3 * HOUR)?.compressed, 1);
    host.assert_compressed(&batch);
    Ok(())
}

#[test]
fn a_compressed_copy_that_is_damaged_is_written_anew_from_the_original() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    host.put_form(&batch, FileForm::Compressed, b"damaged");
    host.ledger().mark_compressed(batch.id, sealed_at())?;
    assert_eq!(host.run(HOUR)?.compressed, 1);
    host.assert_compressed(&batch);
    Ok(())
}

#[test]
fn files_of_an_expired_batch_are_cleared() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    host.put_form(&batch, FileForm::Partial, b"x");
    host.ledger().mark_expired(batch.id, sealed_at())?;
    let report = host.run(HOUR)?;
    assert_eq!(report.expired, 0);
    assert_eq!(report.bytes_freed, batch.contents.bytes + 1);
    assert_eq!(fs::read_dir(host.path("sent", ""))?.count(), 0);
    Ok(())
}

#[test]
fn a_damaged_batch_is_kept_and_the_others_go_on() {
    let host = Host::new(RealDisk);
    let damaged = host.batch(1, BatchState::Sent);
    let good = host.batch(2, BatchState::Sent);
    let mut bytes = lines(1);
    bytes[7] ^= 1;
    host.put("sent", &damaged.file_name(), &bytes);
    let error = host.run(3 * HOUR).expect_err("one is damaged");
    assert!(matches!(
        &error,
        HousekeeperError::Unfinished {
            failed: 1,
            report: HousekeeperReport { compressed: 1, .. },
            first,
        } if matches!(**first, BatchError::Differs { .. })
    ));
    assert_eq!(host.get(&damaged, FileForm::Plain), Some(bytes));
    assert_eq!(host.get(&damaged, FileForm::Compressed), None);
    assert_eq!(host.get(&damaged, FileForm::Partial), None);
    host.assert_compressed(&good);
}

#[test]
fn a_full_disk_leaves_the_original() -> TestResult {
    let host = Host::new(SimDisk::new());
    let batch = host.batch(1, BatchState::Sent);
    host.disk.set_free_bytes(100);
    let error = host.run(3 * HOUR).expect_err("there is no room");
    assert!(matches!(
        &error,
        HousekeeperError::Unfinished { failed: 1, first, .. }
            if matches!(&**first, BatchError::Disk(error) if error.is_disk_full())
    ));
    host.assert_untouched(&batch);
    let free = host.disk.free_bytes(host.dir.path())?;
    assert_eq!(free, 100, "its part of a copy is removed");

    host.disk.set_free_bytes(1 << 20);
    assert_eq!(host.run(3 * HOUR)?.compressed, 1);
    host.assert_compressed(&batch);
    Ok(())
}

#[test]
fn a_disk_that_fills_takes_delivered_batches_before_their_age_and_no_others() -> TestResult {
    let host = Host::new(SimDisk::new());
    let [oldest, older, newest] = [1, 2, 3].map(|part| host.batch(part, BatchState::Sent));
    let undelivered = [BatchState::Open, BatchState::Ready, BatchState::Failed];
    let kept: Vec<Batch> = (4..)
        .zip(undelivered)
        .map(|(part, state)| host.batch(part, state))
        .collect();
    let disk = DiskThresholds {
        warn: 80,
        early_delete: 90,
    };
    let config = HousekeeperSettings {
        disk,
        ..host.config()
    };
    let run = || once_on(&host.disk, &config, sealed_at(), &CancellationToken::new());
    assert_eq!(run()?, HousekeeperReport::default(), "there is room");

    // Six files fill all but half of a file's room: 92 %. Without one it is 77 %.
    host.disk.set_free_bytes(oldest.contents.bytes / 2);
    let report = run()?;
    assert_eq!((report.expired, report.expired_early), (0, 1));
    assert_eq!(report.bytes_freed, oldest.contents.bytes);
    assert!(host.known(&oldest).expired_at.is_some());
    host.assert_untouched(&older);
    host.assert_untouched(&newest);

    host.disk.set_free_bytes(0);
    // Room that others take at once: all delivered batches go, and nothing else.
    let hungry = HousekeeperSettings {
        disk: DiskThresholds {
            warn: 1,
            early_delete: 1,
        },
        ..host.config()
    };
    let report = once_on(&host.disk, &hungry, sealed_at(), &CancellationToken::new())?;
    assert_eq!(report.expired_early, 2);
    for batch in kept {
        let file = host.path(batch.state.as_str(), &batch.file_name());
        assert_eq!(host.disk.contents(&file), Some(lines(batch.part)));
        assert_eq!(host.known(&batch), batch);
        check_retention(&host, &batch, &["edw".to_owned()]);
    }
    Ok(())
}

#[test]
fn old_rows_leave_the_ledger_and_the_run_is_noted() -> TestResult {
    let host = Host::new(RealDisk);
    host.batch(1, BatchState::Sent);
    host.run(4 * HOUR)?;
    let undelivered = logferry_testkit::batches::new_batch("198.51.100.2", "later");
    logferry_testkit::batches::add_batch(
        &mut host.ledger(),
        &undelivered,
        b"one\n",
        BatchState::Ready,
        sealed_at(),
    );
    let mut later = logferry_testkit::batches::new_batch("198.51.100.3", "newest");
    later.window.start += 1200;
    logferry_testkit::batches::add_batch(
        &mut host.ledger(),
        &later,
        b"one\n",
        BatchState::Sent,
        sealed_at(),
    );
    let keep = host.config().keep_ledger;
    assert_eq!(
        host.run(keep + 2000 * HOUR)?.forgotten,
        0,
        "a batch of its window is not delivered"
    );

    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    logferry_testkit::batches::add_batch(
        &mut host.ledger(),
        &later,
        b"one\n",
        BatchState::Ready,
        sealed_at(),
    );
    host.run(4 * HOUR)?;
    assert_eq!(
        host.run(keep)?.forgotten,
        0,
        "it was deleted four hours after it was sealed"
    );
    let at = keep + 2000 * HOUR;
    trust(&host, sealed_at() + keep)?;
    assert_eq!(
        host.run(at)?.forgotten,
        0,
        "the monitor says that this clock is ahead"
    );
    trust(&host, sealed_at() + at)?;
    assert_eq!(host.run(at)?.forgotten, 1);
    assert_eq!(host.ledger().batch_named(&batch.name())?, None);
    let run = host.ledger().housekeeper_run()?.ok_or("not noted")?;
    assert_eq!(
        (run.started_at, run.forgotten, run.error),
        (sealed_at() + at, 1, None)
    );
    assert_eq!(host.run(at + HOUR)?, HousekeeperReport::default());
    Ok(())
}

/// The monitor looked just now, and trusts this time.
fn trust(host: &Host<RealDisk>, trusted: Timestamp) -> TestResult {
    let boot = BootTime::now();
    let clock = ClockRecord {
        boot_id: boot.boot_id.unwrap_or_default(),
        uptime_ms: boot.uptime.as_millis().try_into()?,
        trusted,
        presumed_after: None,
        step: None,
    };
    Ok(host.ledger().note_clock(&clock, None)?)
}

#[test]
fn a_dry_run_says_what_a_run_would_do_and_does_nothing() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    for (age, kinds) in [
        (2 * HOUR, &[][..]),
        (3 * HOUR, &[StepKind::Compress]),
        (4 * HOUR, &[StepKind::Delete]),
    ] {
        let steps = dry_run(&host.config(), sealed_at() + age)?;
        assert_eq!(steps.iter().map(|step| step.kind).collect::<Vec<_>>(), kinds);
        assert!(
            steps
                .iter()
                .all(|step| (&step.batch, step.bytes) == (&batch.name(), batch.contents.bytes))
        );
    }
    let disk = DiskThresholds {
        warn: 1,
        early_delete: 1,
    };
    let full = HousekeeperSettings {
        disk,
        ..host.config()
    };
    let steps = dry_run(&full, sealed_at())?;
    assert_eq!(steps.first().map(|step| step.kind), Some(StepKind::DeleteEarly));
    host.assert_untouched(&batch);
    assert_eq!(host.ledger().housekeeper_run()?, None);
    Ok(())
}

#[test]
fn a_failed_sync_leaves_the_original() {
    let host = Host::new(SimDisk::new());
    let batch = host.batch(1, BatchState::Sent);
    host.disk.fail_next(DiskOperation::Sync, io::ErrorKind::Other);
    assert!(host.run(3 * HOUR).is_err());
    host.assert_untouched(&batch);
}

/// The batch's lines, from a file that a power cut would leave.
fn survives(host: &Host<SimDisk>, batch: &Batch) -> bool {
    let durable = |form: FileForm| {
        let path = host.path("sent", &(batch.name() + form.suffix()));
        host.disk.durable_contents(&path)
    };
    let plain = durable(FileForm::Plain);
    let gzip = durable(FileForm::Compressed).and_then(|gzip| unzip(&gzip).ok());
    plain.or(gzip) == Some(lines(batch.part))
}

/// Stops a run at `age` after each number of changes, by a kill or by a power cut, and lets the next run finish.
fn stopped_anywhere(age: Duration, check: impl Fn(&Host<SimDisk>, &Batch), is_kept: bool) {
    for is_power_cut in [false, true] {
        let mut stops = 0;
        for changes in 0.. {
            let host = Host::new(SimDisk::new());
            let batch = host.batch(1, BatchState::Sent);
            host.disk.fail_after(changes);
            let done = host.run(age);
            if is_power_cut {
                host.disk.power_loss(changes);
            }
            host.disk.heal();
            assert!(!is_kept || survives(&host, &batch), "after {changes} changes");
            check_retention(&host, &batch, &[]);
            host.run(age).expect("no fault is left");
            check(&host, &batch);
            if done.is_ok() {
                break;
            }
            stops += 1;
        }
        assert!(stops > 2, "it stopped only {stops} times");
    }
}

#[test]
fn a_compression_stopped_anywhere_is_finished_by_the_next_run() {
    stopped_anywhere(3 * HOUR, Host::assert_compressed, true);
}

#[test]
fn a_deletion_stopped_anywhere_is_finished_by_the_next_run() {
    let is_deleted = |host: &Host<SimDisk>, batch: &Batch| {
        assert!(host.disk.files().is_empty());
        assert!(host.known(batch).expired_at.is_some());
    };
    stopped_anywhere(4 * HOUR, is_deleted, false);
}

#[test]
fn without_a_ledger_nothing_is_done() {
    let host = Host::new(RealDisk);
    fs::remove_file(host.dir.path().join(FILE_NAME)).expect("removed");
    assert!(matches!(host.run(HOUR), Err(HousekeeperError::Ledger(_))));
}

#[test]
fn after_stop_it_touches_nothing() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    let stop = CancellationToken::new();
    stop.cancel();
    let report = once_on(&RealDisk, &host.config(), sealed_at() + 3 * HOUR, &stop)?;
    assert_eq!(report, HousekeeperReport::default());
    host.assert_untouched(&batch);
    Ok(())
}

#[test]
fn source_whose_folder_cannot_be_read_keeps_no_other_source_from_being_compressed() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    let other = logferry_testkit::batches::new_batch("198.51.100.2", "accessLog_of_another");
    let (state, lines) = (BatchState::Sent, b"one\n");
    let other = logferry_testkit::batches::add_batch(&mut host.ledger(), &other, lines, state, sealed_at());
    fs::write(host.dir.path().join("sent").join("198.51.100.2"), "a plain file")?;
    assert_eq!(host.run(3 * HOUR)?.compressed, 1);
    host.assert_compressed(&batch);
    assert_eq!(host.known(&other).expired_at, None);
    Ok(())
}
