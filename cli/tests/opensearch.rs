//! What people see and can do about the sink to OpenSearch, by what the commands print.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod program;

use std::path::Path;

use jiff::Timestamp;
use logferry_ledger::{BatchState, Ledger};
use logferry_numbers::{IndexDb, IndexLag, IndexedBatch, SinkBatch, SinkChange};
use logferry_testkit::batches::{add_batch, new_batch};
use serde_json::Value;
use tempfile::TempDir;

use program::result_of;

/// A relay host with one batch in the spool, whose sink has sent it and another one, which is gone.
fn host() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, store_dir) = (dir.path().join("relay"), dir.path().join("index"));
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::create_dir(&store_dir).unwrap();
    let mut ledger = Ledger::open_or_create(&data_dir).unwrap();
    let batch = add_batch(
        &mut ledger,
        &new_batch("198.51.100.1", "b1"),
        b"one\ntwo\n",
        BatchState::Ready,
        Timestamp::now(),
    );
    let sent = SinkBatch {
        progress: IndexedBatch {
            bytes: 8,
            lines: 2,
            is_read: true,
        },
        index: "logferry-2026.11.21".to_owned(),
        documents: 2,
        ..SinkBatch::default()
    };
    let change = SinkChange {
        batches: [(batch.name(), sent.clone()), ("b0".to_owned(), sent)].into(),
        ledger: ledger.id().unwrap().to_string(),
        ..SinkChange::default()
    };
    let mut db = IndexDb::open_or_create(&store_dir).unwrap();
    db.record_sent(&change, Timestamp::now().as_second()).unwrap();
    let file = dir.path().join("logferry.yaml");
    std::fs::write(
        &file,
        config(dir.path(), "\n  opensearch: {url: \"http://127.0.0.1:9\"}"),
    )
    .unwrap();
    (dir, file.to_str().unwrap().to_owned())
}

fn config(dir: &Path, sink: &str) -> String {
    let dir = dir.display();
    format!("indexer:\n  data_dir: {dir}/relay\n  store_dir: {dir}/index{sink}\n")
}

fn index(dir: &TempDir) -> IndexDb {
    IndexDb::open_or_create(&dir.path().join("index")).unwrap()
}

#[test]
fn everything_is_sent_again_only_if_it_was_said_so_and_the_command_tells_how_much() {
    let (dir, file) = host();
    let (code, stdout, _) = result_of(&file, &["resend", "--index", "--dry-run"]);
    assert_eq!(
        (code, stdout.as_str()),
        (
            0,
            "1 batch (2 lines, 8 B) would go to OpenSearch at http://127.0.0.1:9 again\n\
             gone from the spool, and so not sent again: 1 batch\n\
             dry run: nothing was changed\n"
        )
    );
    let (code, _, stderr) = result_of(&file, &["resend", "--index"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("say --all"), "{stderr}");
    assert!(!index(&dir).is_resend_requested().unwrap());
    let (code, stdout, stderr) = result_of(&file, &["resend", "--index", "--all", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let resent: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&resent["batches"], &resent["gone"], &resent["requested"]),
        (&1.into(), &1.into(), &true.into())
    );
    assert!(index(&dir).is_resend_requested().unwrap());
    let (code, _, stderr) = result_of(&file, &["resend", "--index", "--destination", "edw"]);
    assert_eq!(code, 2, "{stderr}");
    std::fs::write(&file, config(dir.path(), "")).unwrap();
    let (code, _, stderr) = result_of(&file, &["resend", "--index", "--all"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("there is no `opensearch` in an indexer section"),
        "{stderr}"
    );
}

#[test]
fn server_that_is_down_is_a_reason_for_exit_code_1_until_the_sink_is_switched_off() {
    let (dir, file) = host();
    let reason = "lines wait for OpenSearch";
    let (_, stdout, _) = result_of(&file, &["status"]);
    assert!(!stdout.contains(reason), "{stdout}");
    index(&dir)
        .record_sink_trouble("cannot connect to 127.0.0.1:9", IndexLag::default())
        .unwrap();
    let (code, stdout, _) = result_of(&file, &["status"]);
    assert_eq!(code, 1);
    let at = stdout.find("exit code 1, because:").unwrap();
    assert!(stdout[at..].contains(reason), "{stdout}");
    assert!(stdout[at..].contains("cannot connect to 127.0.0.1:9"), "{stdout}");
    std::fs::write(&file, config(dir.path(), "")).unwrap();
    let (_, stdout, _) = result_of(&file, &["status"]);
    assert!(
        !stdout.contains(reason),
        "what it was when it was switched off says nothing of today: {stdout}"
    );
}
