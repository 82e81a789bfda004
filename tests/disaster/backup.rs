//! Backups of a relay host under load, with a housekeeper that compresses and deletes at once.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::LogWriter;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::Process;
use crate::support::{logferry, seed};

/// Backups that are made under load.
const BACKUPS: usize = 5;

/// Lines that must be there before the first one.
const FIRST_LINES: usize = 2_000;

#[test]
fn each_backup_under_load_restores_to_a_ledger_and_a_spool_that_agree() {
    let mut pipeline = Pipeline::new("backups", "2s");
    pipeline.config.housekeeper = "{compress_after: 0s, delete_after: 0s, schedule: \"* * * * * *\", \
                                   disk: {warn: 1%, early_delete: 1%}}";
    let load = LogWriter::start(&pipeline.config.log, 2_000, seed());
    pipeline.start_all();
    let _housekeeper = Process::start(
        &pipeline.test_folder,
        "housekeeper",
        logferry()
            .arg("-c")
            .arg(pipeline.write_config())
            .arg("housekeeper"),
    );
    pipeline.wait_for_delivered_lines(FIRST_LINES);
    let mut lines = 0;
    for number in 0..BACKUPS {
        let folder = pipeline.test_folder.path(&format!("backup-{number}"));
        let made = pipeline.command(&["backup", "--json", folder.to_str().unwrap()]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        assert_eq!(made["faults"], Value::Array(Vec::new()));
        let received = restored_lines(&pipeline, &folder, number);
        assert!(
            received > lines,
            "{received} lines after {lines}: each backup has what came since"
        );
        lines = received;
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

/// Restores a backup beside the pipeline. Ledger and spool must agree, and no line may be missing or doubled. Returns the number of
/// received lines.
fn restored_lines(pipeline: &Pipeline, backup: &Path, number: usize) -> u64 {
    let data_dir = pipeline.test_folder.path(&format!("restored-{number}"));
    let config = with_data_dir(pipeline, &data_dir, &format!("restored-{number}.yaml"));
    let run = |arguments: &[&str]| {
        let output = logferry()
            .arg("-c")
            .arg(&config)
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stdout)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    run(&["restore", "--json", backup.to_str().unwrap()]);
    assert_eq!(run(&["fsck", "--json"])["findings"], Value::Array(Vec::new()));
    let audit = run(&["audit", "--json"]);
    assert_eq!(audit["complete"], true, "{}", audit["discrepancies"]);
    audit["totals"]["lines_received"].as_u64().unwrap()
}

/// The pipeline's configuration with another data folder.
fn with_data_dir(pipeline: &Pipeline, data_dir: &Path, name: &str) -> PathBuf {
    let old = format!("data_dir: {:?}", pipeline.config.data_dir);
    let text = pipeline
        .config
        .to_string()
        .replace(&old, &format!("data_dir: {data_dir:?}"));
    pipeline.test_folder.write(name, &text)
}

#[test]
fn a_backup_is_refused_where_files_are_and_a_restore_over_a_ledger() {
    let mut pipeline = Pipeline::new("refused-backups", "2s");
    pipeline.start(Role::Relay);
    pipeline.wait_for_output(Role::Relay, "listening", 1);
    let folder = pipeline.test_folder.path("backup");
    let folder = folder.to_str().unwrap();
    let told = |arguments: &[&str], text: &str| {
        let output = pipeline.command(arguments);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{printed}");
        assert!(printed.contains(text), "{printed}");
    };
    told(&["restore", folder], "is no backup");
    let made = pipeline.command(&["backup", folder]);
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    assert_eq!(made.status.code(), Some(0), "{printed}");
    let keys = pipeline.config.destination.key.display().to_string();
    for outside in ["logferry.yaml", "audit.key", &keys] {
        assert!(printed.contains(outside), "{outside} in {printed}");
    }
    assert!(!fs::exists(Path::new(folder).join("audit.key")).unwrap());
    told(&["backup", folder], "is not empty");
    told(&["restore", folder], "an empty data folder only");
}
