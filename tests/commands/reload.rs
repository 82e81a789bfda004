//! SIGHUP: a new configuration in the same process.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{LogWriter, append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{WAIT_LIMIT, seed, wait_for};

const LINES_PER_SECOND: u32 = 4_000;

/// The log message of a role that restarts with a new configuration.
const RESTART_MESSAGE: &str = "restarting the roles whose section changed";

#[test]
fn reload_under_load_loses_nothing() {
    let seed = seed();
    let mut pipeline = Pipeline::new("reload", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    // After this wait, every role has its signal handlers.
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    let ids = Role::ALL.map(|role| pipeline.process_id(role));
    for (times, seal_after) in (1..).zip(["1100ms", "1200ms", "1300ms"]) {
        pipeline.config.seal_after = seal_after;
        pipeline.config.failed_every = seal_after;
        pipeline.config.max_delay = seal_after;
        for role in Role::ALL {
            let lines = pipeline.delivered_lines();
            pipeline.reload(role);
            pipeline.wait_for_output(role, RESTART_MESSAGE, times);
            wait_for("more lines at the drop", WAIT_LIMIT, || {
                pipeline.delivered_lines() > lines
            });
        }
    }
    load.stop();
    assert_eq!(ids, Role::ALL.map(|role| pipeline.process_id(role)));
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn invalid_configuration_leaves_the_old_one_in_force() {
    let mut pipeline = Pipeline::new("reload-invalid", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed());
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    let valid = pipeline.config.to_string();
    let unusable = [
        valid
            .replace("window: 1s", "window: 7s")
            .replace("relay: \"http", "relay: \"ftp")
            .replace("user: ", "usr: "),
        "sender: [".to_owned(),
        String::new(),
    ];
    for (times, text) in (1..).zip(&unusable) {
        pipeline.test_folder.write("logferry.yaml", text);
        for role in Role::ALL {
            pipeline.signal(role, Signal::SIGHUP);
            pipeline.wait_for_output(role, "the old one stays in force", times);
        }
    }
    fs::remove_file(pipeline.test_folder.path("logferry.yaml")).unwrap();
    for role in Role::ALL {
        pipeline.signal(role, Signal::SIGHUP);
        pipeline.wait_for_output(role, "the old one stays in force", unusable.len() + 1);
    }
    let lines = pipeline.delivered_lines();
    wait_for("more lines at the drop", WAIT_LIMIT, || {
        pipeline.delivered_lines() > lines
    });
    for role in Role::ALL {
        pipeline.reload(role);
        pipeline.wait_for_output(role, "no section of a running role changed", 1);
        assert!(
            !pipeline.output(role).contains(RESTART_MESSAGE),
            "{role:?} went on as it was"
        );
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn run_reloads_all_its_roles_and_follows_a_new_log() {
    let mut pipeline = Pipeline::new("reload-run", "1s");
    pipeline.start(Role::AllInOne);
    let first = pipeline.config.log.clone();
    let mut log = logferry_traffic::LogFile::open(&first).unwrap();
    let mut traffic = traffic("reload-run", 1);
    append(&mut log, &mut traffic, jiff::Timestamp::now(), 1_000);
    pipeline.wait_for_received(WrittenLog::read(&first).kept_lines());

    // The new configuration has one more log, and changes for relay and forwarder.
    let other = first.with_file_name("other.log");
    pipeline.config.other_log = Some(other.clone());
    pipeline.config.seal_after = "1100ms";
    pipeline.config.failed_every = "2s";
    let mut log = logferry_traffic::LogFile::open(&other).unwrap();
    append(&mut log, &mut traffic, jiff::Timestamp::now(), 1_000);
    pipeline.reload(Role::AllInOne);
    pipeline.wait_for_output(Role::AllInOne, RESTART_MESSAGE, 1);
    assert!(
        pipeline
            .output(Role::AllInOne)
            .contains("sender, relay, forwarder")
    );
    let written = WrittenLog::read(&first).and(WrittenLog::read(&other));
    pipeline.finish(&written, LineOrder::WithinWindow);
}

#[test]
fn stop_during_a_reload_is_a_stop() {
    let mut pipeline = Pipeline::new("reload-stop", "1s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed());
    pipeline.start_all();
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    pipeline.config.seal_after = "1100ms";
    pipeline.config.failed_every = "2s";
    pipeline.config.max_delay = "60ms";
    for role in Role::ALL {
        pipeline.reload(role);
        pipeline.stop(role, Signal::SIGTERM);
        pipeline.start(role);
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}
