//! `logferry resend` asks, and `audit` names what was sent again.

use std::fs;

use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::WrittenLog;
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};

#[test]
fn bare_resend_is_refused_and_audit_names_what_was_sent_again_on_request() {
    let mut pipeline = Pipeline::new("resend", "20m");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let past = "2024-11-20T02:20:00Z".parse().unwrap();
    append(&mut log, &mut traffic("resend", 1), past, 1_000);
    let written = WrittenLog::read(log.path());
    pipeline.start_all();
    pipeline.wait_for_delivery(&written);
    let drop = pipeline.config.destination.directory.clone();
    let taken = &fs::read_dir(&drop).unwrap().next().unwrap().unwrap().path();
    let name = taken.file_stem().unwrap().to_str().unwrap().to_owned();
    // The receiver takes a file away.
    fs::remove_file(taken).unwrap();

    let refused = pipeline.command(&["resend"]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("--all") && stderr.contains("--dry-run"),
        "{stderr}"
    );
    let listed = pipeline.command(&["resend", "--dry-run"]);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.status.code(), Some(0), "{text}");
    assert!(
        text.contains(&name) && text.contains("nothing was changed"),
        "{text}"
    );
    let (_, audit) = pipeline.json("audit");
    assert_eq!(audit["warnings"], serde_json::json!([]), "nothing was sent");

    let sent = pipeline.command(&["resend", "--all"]);
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    assert!(pipeline.becomes_true(|_| taken.exists()));
    let is_named = pipeline.becomes_true(|pipeline| {
        let (_, audit) = pipeline.json("audit");
        let warning = &audit["warnings"][0];
        warning["kind"] == "resent" && warning["batch"] == *name && audit["complete"] == true
    });
    assert!(is_named);
    for role in Role::ALL {
        pipeline.stop(role, Signal::SIGTERM);
    }
}
