//! Version 0.1: its data folder and sender state, as `tests/data/version_0_1/README.md` describes them.

use std::fs;
use std::path::Path;

use logferry_embedded_servers::MailSink;

use super::recorded::{DATA, FOREIGN_FILE, SPOOL_LINES, UNSHIPPED_LINES, pipeline_on_copy};
use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::pipeline::{Pipeline, Role};

fn assert_fsck_finds_nothing(pipeline: &Pipeline) {
    let (code, report) = pipeline.json("fsck");
    assert_eq!((code, &report["fine"]), (0, &true.into()), "{report}");
}

/// Checks that all lines of version 0.1, shipped or not, are delivered once.
fn check_that_new_roles_continue(test: &str, relay: &str) {
    let mut pipeline = pipeline_on_copy(test, relay);
    pipeline.write_config();
    assert_fsck_finds_nothing(&pipeline);
    let (code, audit) = pipeline.json("audit");
    assert_eq!((code, &audit["complete"]), (0, &true.into()), "{audit}");
    assert_eq!(audit["totals"]["lines_received"], SPOOL_LINES, "{audit}");
    let (code, status) = pipeline.json("status");
    assert_eq!(code, 1, "a batch has failed: {status}");
    for state in ["open", "ready", "failed"] {
        assert_eq!(status["batches"][state], 1, "{state}: {status}");
    }
    assert_monitor_sends_the_waiting_mail(&pipeline);

    fs::remove_file(pipeline.config.destination.directory.join(FOREIGN_FILE)).unwrap();
    pipeline.start_all();
    let written = WrittenLog::read(&pipeline.config.log);
    assert_eq!(written.kept_lines(), SPOOL_LINES + UNSHIPPED_LINES);
    pipeline.wait_for_delivery(&written);
    assert_fsck_finds_nothing(&pipeline);
    let output = pipeline.output(Role::Sender);
    assert!(
        !output.contains("moved aside"),
        "the checkpoint is readable: {output}"
    );
    pipeline.finish(&written, LineOrder::WithinWindow);
}

/// Version 0.1 could not send its mail about the failed batch. The new monitor sends it.
fn assert_monitor_sends_the_waiting_mail(pipeline: &Pipeline) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sink = runtime.block_on(MailSink::start()).unwrap();
    let text = format!(
        "monitor:\n  data_dir: {:?}\n  metrics: null\n  \
         smtp: {{host: 127.0.0.1, port: {}, from: ferry@example.com, to: [ops@example.com]}}\n",
        pipeline.config.data_dir,
        sink.port()
    );
    let config = pipeline.test_folder.write("monitor.yaml", &text);
    let monitor = crate::support::logferry()
        .args(["monitor", "--once", "-c"])
        .arg(config)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&monitor.stderr);
    assert_eq!(monitor.status.code(), Some(0), "{stderr}");
    let mails = sink.messages();
    let has_subject = mails
        .iter()
        .any(|mail| String::from_utf8_lossy(&mail.data).contains("Subject: [logferry]"));
    assert!(has_subject, "{mails:?}, {stderr}");
}

#[test]
fn new_roles_continue_after_a_clean_stop_of_version_0_1() {
    check_that_new_roles_continue("version-0-1-stopped", "relay_stopped");
}

#[test]
fn new_roles_continue_after_a_kill_of_version_0_1() {
    assert!(
        Path::new(DATA)
            .join("version_0_1/relay_killed/ledger.db-wal.gz")
            .exists()
    );
    check_that_new_roles_continue("version-0-1-killed", "relay_killed");
}
