//! State that a later version wrote is refused, with advice, and stays as it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// Makes a database one of a later version.
fn make_newer(database: &Path) {
    let script = "import sqlite3, sys\n\
                  database = sqlite3.connect(sys.argv[1])\n\
                  database.execute('PRAGMA user_version = 4711')\n\
                  database.close()\n";
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(database)
        .status();
    assert!(python.unwrap().success());
}

/// Runs a command that must refuse: exit code 3, and these words.
fn assert_refused(config: &Path, arguments: &[&str], words: &[&str]) {
    let output = logferry().arg("-c").arg(config).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: no {word:?} in: {stderr}");
    }
}

/// A pipeline that has run and was stopped.
fn stopped_pipeline(test: &str) -> Pipeline {
    let mut pipeline = Pipeline::new(test, "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    append(&mut log, &mut traffic(test, 1), Timestamp::now(), 200);
    pipeline.start_all();
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    for role in Role::ALL {
        pipeline.stop(role, Signal::SIGTERM);
    }
    pipeline
}

#[test]
fn ledger_of_a_later_version_is_refused_by_every_role_and_command() {
    let pipeline = stopped_pipeline("newer-ledger");
    let ledger = pipeline.config.data_dir.join("ledger.db");
    make_newer(&ledger);
    let before = fs::read(&ledger).unwrap();
    let config = pipeline.write_config();
    for command in ["relay", "forwarder", "status", "audit", "fsck"] {
        assert_refused(
            &config,
            &[command],
            &["has schema 4711", "install the version that wrote it"],
        );
    }
    assert!(fs::read(&ledger).unwrap() == before, "the ledger is as it was");
}

#[test]
fn index_of_a_later_version_is_refused_with_the_choice_to_delete_it() {
    let pipeline = stopped_pipeline("newer-index");
    let store = pipeline.test_folder.path("index");
    let text = format!(
        "indexer:\n  data_dir: {:?}\n  store_dir: {store:?}\n",
        pipeline.config.data_dir
    );
    let config = pipeline.test_folder.write("indexer.yaml", &text);
    let mut indexer = logferry();
    let mut indexer = indexer.arg("-c").arg(&config).arg("indexer").spawn().unwrap();
    let index = store.join("index.db");
    wait_for("the index", WAIT_LIMIT, || {
        index.exists() && logferry_has_counted(&config)
    });
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(indexer.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(indexer.wait().unwrap().success());
    make_newer(&index);
    let words = [
        "has schema 4711",
        "install the version that wrote it, or delete the folder",
    ];
    for command in [&["indexer"][..], &["numbers"], &["search", "x"]] {
        assert_refused(&config, command, &words);
    }
}

fn logferry_has_counted(config: &Path) -> bool {
    let numbers = logferry().arg("-c").arg(config).arg("numbers").output().unwrap();
    numbers.status.success()
}

#[test]
fn checkpoint_of_a_later_version_is_kept_aside_and_the_relay_is_asked() {
    let mut pipeline = stopped_pipeline("newer-checkpoint");
    let state_dir = pipeline.config.state_dir.clone();
    let body = "{\"version\":4711,\"of\":\"a later version\"}\n";
    let newer = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
    fs::write(state_dir.join("checkpoint"), &newer).unwrap();
    pipeline.start_all();
    pipeline.wait_for_output(Role::Sender, "a later version of logferry wrote it", 1);
    let files = fs::read_dir(&state_dir).unwrap().map(|file| file.unwrap().path());
    let mut aside = files.filter(|file| file.to_string_lossy().contains("checkpoint.bad-"));
    assert_eq!(fs::read_to_string(aside.next().unwrap()).unwrap(), newer);
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    append(
        &mut log,
        &mut traffic("newer-checkpoint-2", 1),
        Timestamp::now(),
        200,
    );
    let written = WrittenLog::read(log.path());
    pipeline.finish(&written, LineOrder::WholeLog);
}
