//! `logferry fsck --rebuild`: a new ledger from the spool, completed by the senders.

use std::fs;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::logs::comparison::{DeliveredFiles, LineOrder, WrittenLog};
use crate::support::logs::writer::{LogWriter, append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{WAIT_LIMIT, seed, wait_for};

/// Enough for several chunks.
const LINES: usize = 3_000;

/// Overwrites every page of the ledger; relay and forwarder refuse to start.
fn damage(pipeline: &Pipeline) {
    let ledger = pipeline.config.data_dir.join("ledger.db");
    let len = fs::metadata(&ledger).unwrap().len();
    fs::write(&ledger, vec![7; usize::try_from(len).unwrap()]).unwrap();
    assert_refused(pipeline, Role::Relay);
    assert_refused(pipeline, Role::Forwarder);
}

fn assert_refused(pipeline: &Pipeline, role: Role) {
    let output = pipeline.command(&[role.name()]);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(printed.contains("fsck --rebuild"), "{printed}");
}

fn rebuild(pipeline: &Pipeline) -> (Option<i32>, Value) {
    let output = pipeline.command(&["fsck", "--rebuild", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        value.unwrap_or_else(|error| panic!("no JSON ({error}): {stderr}")),
    )
}

#[test]
fn rebuilt_ledger_loses_and_doubles_nothing_after_a_clean_stop() {
    let mut pipeline = Pipeline::new("rebuild", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic("rebuild", 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    pipeline.wait_for_delivery(&WrittenLog::read(log.path()));
    // When everything stops, some batches are open or waiting, and one log file is rotated.
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    for role in [Role::Sender, Role::Relay, Role::Forwarder] {
        pipeline.stop(role, Signal::SIGTERM);
    }

    damage(&pipeline);
    let (code, rebuilt) = rebuild(&pipeline);
    assert_eq!(code, Some(0), "{rebuilt}");
    let received = WrittenLog::read(log.path()).kept_lines();
    assert_eq!(rebuilt["lines"], received, "{rebuilt}");
    let printed = String::from_utf8(pipeline.command(&["fsck", "--rebuild"]).stderr).unwrap();
    assert!(printed.contains("is not damaged"), "{printed}");

    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_delivery(&written);
    for role in Role::ALL {
        pipeline.stop(role, Signal::SIGTERM);
    }
    DeliveredFiles::read(&pipeline.config.destination.directory).assert_is(&written, LineOrder::WholeLog);
    let (code, audit) = pipeline.json("audit");
    assert_eq!(
        (code, &audit["complete"]),
        (0, &true.into()),
        "{}",
        audit["discrepancies"]
    );
    assert_eq!(audit["warnings"], Value::Array(Vec::new()));
    assert_eq!(audit["totals"]["lines_delivered"], written.kept_lines());
}

#[test]
fn rebuilt_ledger_loses_nothing_after_a_crash_and_reports_possible_duplicates() {
    let mut pipeline = Pipeline::new("rebuild-crash", "1s");
    let load = LogWriter::start(&pipeline.config.log, 4_000, seed());
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    pipeline.kill(Role::Relay);
    pipeline.stop(Role::Forwarder, Signal::SIGTERM);
    fs::remove_file(pipeline.config.data_dir.join("ledger.db")).unwrap();
    assert_refused(&pipeline, Role::Relay);
    let (code, rebuilt) = rebuild(&pipeline);
    assert!(matches!(code, Some(0 | 1)), "{rebuilt}");
    let is_torn = |finding: &Value| finding["kind"] == "torn";
    assert!(
        rebuilt["findings"].as_array().unwrap().iter().all(is_torn),
        "{rebuilt}"
    );

    pipeline.start(Role::Relay);
    pipeline.start(Role::Forwarder);
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    let is_all_there = pipeline.becomes_true(|pipeline| {
        DeliveredFiles::read(&pipeline.config.destination.directory).holds(&written)
    });
    assert!(is_all_there, "waited {WAIT_LIMIT:?} for every line");
    pipeline.wait_for_delivery(&written);
    for role in Role::ALL {
        pipeline.stop(role, Signal::SIGTERM);
    }
    let (code, audit) = pipeline.json("audit");
    assert_eq!(
        (code, &audit["complete"]),
        (0, &true.into()),
        "{}",
        audit["discrepancies"]
    );
    let delivered = DeliveredFiles::read(&pipeline.config.destination.directory);
    if audit["warnings"] == Value::Array(Vec::new()) {
        delivered.assert_is(&written, LineOrder::WholeLog);
    } else {
        assert_eq!(audit["warnings"][0]["kind"], "maybe_doubled");
        println!(
            "{} lines written, {} delivered: {}",
            written.kept_lines(),
            delivered.lines(),
            audit["warnings"]
        );
    }
}

/// Kills sender and relay under load, rebuilds the ledger, and starts everything again; with `forget` the sender has lost its state
/// folder too. What was delivered twice must be announced.
fn assert_doubled_lines_are_announced(name: &str, forget: bool) {
    let mut pipeline = Pipeline::new(name, "1s");
    let load = LogWriter::start(&pipeline.config.log, 4_000, seed());
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    pipeline.kill(Role::Relay);
    pipeline.kill(Role::Sender);
    pipeline.stop(Role::Forwarder, Signal::SIGTERM);
    fs::remove_file(pipeline.config.data_dir.join("ledger.db")).unwrap();
    if forget {
        fs::remove_dir_all(&pipeline.config.state_dir).unwrap();
    }
    let (code, rebuilt) = rebuild(&pipeline);
    assert!(matches!(code, Some(0 | 1)), "{rebuilt}");

    pipeline.start_all();
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    let is_all_there = pipeline.becomes_true(|pipeline| {
        DeliveredFiles::read(&pipeline.config.destination.directory).holds(&written)
    });
    assert!(is_all_there, "waited {WAIT_LIMIT:?} for every line");
    pipeline.wait_for_delivery(&written);
    for role in Role::ALL {
        pipeline.stop(role, Signal::SIGTERM);
    }
    let (_, audit) = pipeline.json("audit");
    let warnings = audit["warnings"].as_array().unwrap();
    let is_announced = warnings.iter().any(|warning| warning["kind"] == "maybe_doubled");
    let delivered = DeliveredFiles::read(&pipeline.config.destination.directory);
    if forget {
        assert!(is_announced, "{audit}");
        assert!(
            delivered.lines() > written.kept_lines(),
            "the sender shipped again"
        );
    } else if !is_announced {
        delivered.assert_is(&written, LineOrder::WholeLog);
    }
}

#[test]
fn rebuilt_ledger_announces_what_a_killed_sender_may_have_posted_twice() {
    assert_doubled_lines_are_announced("rebuild-killed", false);
}

#[test]
fn rebuilt_ledger_announces_what_a_sender_without_its_state_ships_again() {
    assert_doubled_lines_are_announced("rebuild-forgot", true);
}
