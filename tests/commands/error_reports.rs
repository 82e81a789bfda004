//! Reports of errors to people and scripts: exit codes, `status`, `audit`, logs.

use std::fs;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role, files_below};
use crate::support::test_folder::OUTPUT;
use crate::support::{WAIT_LIMIT, wait_for};

const LINES: usize = 1_000;
const NAME: &str = "accessLog_24112002_20-39_127-0-0-1";

/// A time in a window that is long over, so the name of its batch is known.
fn past() -> Timestamp {
    "2024-11-20T02:20:00Z".parse().unwrap()
}

fn pipeline_with_lines(test: &str) -> (Pipeline, WrittenLog) {
    let pipeline = Pipeline::new(test, "20m");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    append(&mut log, &mut traffic(test, 1), past(), LINES);
    let written = WrittenLog::read(log.path());
    (pipeline, written)
}

#[test]
fn foreign_file_at_the_drop_is_kept_reported_and_retried_when_it_is_gone() {
    let (mut pipeline, written) = pipeline_with_lines("foreign");
    pipeline.config.failed_every = "1h";
    let foreign = pipeline.config.destination.directory.join(format!("{NAME}.log"));
    fs::write(&foreign, "not ours\n").unwrap();
    pipeline.start_all();
    wait_for("the batch to fail", WAIT_LIMIT, || {
        files_below(&pipeline.config.data_dir.join("failed")).is_ok_and(|files| files.len() == 1)
    });
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "not ours\n");
    let (code, status) = pipeline.json("status");
    assert_eq!((code, &status["batches"]["failed"]), (1, &1.into()), "{status}");
    let (code, audit) = pipeline.json("audit");
    assert_eq!(
        (code, &audit["complete"]),
        (0, &true.into()),
        "waiting is no discrepancy: {audit}"
    );
    assert_eq!(audit["batches"][0]["state"], "failed", "{audit}");

    fs::remove_file(&foreign).unwrap();
    let retried = pipeline.command(&["retry", NAME]);
    assert_eq!(
        retried.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&retried.stderr)
    );
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn second_process_of_a_role_on_the_same_folder_is_refused() {
    let (mut pipeline, written) = pipeline_with_lines("second");
    pipeline.start_all();
    pipeline.wait_for_delivery(&written);
    for role in Role::ALL {
        let second = pipeline.command(&[role.name()]);
        let stderr = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(3), "{stderr}");
        let holder = format!("held by process {}", pipeline.process_id(role));
        assert!(stderr.contains(&holder), "no {holder:?} in {stderr:?}");
    }
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn roles_log_their_work() {
    let (mut pipeline, written) = pipeline_with_lines("words");
    pipeline.start_all();
    pipeline.wait_for_delivery(&written);
    for (role, word) in [
        ("sender", "access.log"),
        ("relay", "listening"),
        ("forwarder", NAME),
    ] {
        let output = pipeline.test_folder.path(OUTPUT).join(format!("{role}.log"));
        wait_for(&format!("{role} to say {word}"), WAIT_LIMIT, || {
            fs::read_to_string(&output).unwrap().contains(word)
        });
    }
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn audit_finds_changed_files_in_the_spool() {
    let (mut pipeline, written) = pipeline_with_lines("altered");
    pipeline.start_all();
    pipeline.wait_for_delivery(&written);
    for role in Role::ALL {
        pipeline.stop(role, Signal::SIGTERM);
    }
    let sent = pipeline
        .config
        .data_dir
        .join(format!("sent/127.0.0.1/{NAME}.log"));
    let whole = fs::read(&sent).unwrap();

    let mut altered = whole.clone();
    altered[100] ^= 1;
    for (contents, what) in [(&altered[..], "altered"), (&whole[..whole.len() - 1], "cut")] {
        fs::write(&sent, contents).unwrap();
        let (code, audit) = pipeline.json("audit");
        assert_eq!((code, &audit["complete"]), (1, &false.into()), "{what}: {audit}");
        assert_eq!(audit["discrepancies"][0]["batch"], NAME, "{what}: {audit}");
    }
    fs::write(&sent, &whole).unwrap();
    let (code, audit) = pipeline.json("audit");
    assert_eq!((code, &audit["complete"]), (0, &true.into()), "{audit}");
}

#[test]
fn status_names_the_role_that_does_not_run_and_calls_no_destination_up_without_it() {
    let (mut pipeline, written) = pipeline_with_lines("roles");
    pipeline.start_all();
    pipeline.wait_for_delivery(&written);
    assert!(pipeline.becomes_true(|pipeline| pipeline.json("status").0 == 0));
    let (_, status) = pipeline.json("status");
    for role in status["roles"].as_array().unwrap() {
        assert_eq!(role["state"], "running", "{status}");
    }
    assert_eq!(status["destinations"][0]["state"], "up", "{status}");
    pipeline.stop(Role::Forwarder, Signal::SIGTERM);
    let (code, status) = pipeline.json("status");
    assert_eq!(code, 1, "{status}");
    assert_eq!(status["destinations"][0]["state"], "unknown", "{status}");
    let problems = status["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{status}");
    assert!(
        problems[0]
            .as_str()
            .unwrap()
            .starts_with("the forwarder does not run"),
        "{status}"
    );
}
