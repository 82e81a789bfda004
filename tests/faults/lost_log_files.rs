//! Log files that are deleted before they are shipped are reported; files at risk are shown.

use std::fs;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::logs::comparison::WrittenLog;
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};

/// Enough for several chunks.
const LINES: usize = 3_000;

struct PipelineWithBacklog {
    pipeline: Pipeline,
    log: LogFile,
    /// Lines received by the relay.
    received: usize,
    /// Bytes of the rotated file received by the relay.
    shipped: u64,
    /// The length of the rotated file.
    rotated_len: u64,
}

/// A pipeline whose sender has shipped the first part of its log. It has found a second part, but the relay is down.
fn with_backlog(test: &str) -> PipelineWithBacklog {
    let mut pipeline = Pipeline::new(test, "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut traffic = traffic(test, 1);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    pipeline.start_all();
    let received = WrittenLog::read(log.path()).kept_lines();
    pipeline.wait_for_received(received);
    let shipped = fs::metadata(log.path()).unwrap().len();

    pipeline.stop(Role::Relay, Signal::SIGTERM);
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    let rotated_len = fs::metadata(log.path()).unwrap().len();
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut traffic, Timestamp::now(), LINES);
    PipelineWithBacklog {
        pipeline,
        log,
        received,
        shipped,
        rotated_len,
    }
}

#[test]
fn file_deleted_before_it_was_shipped_is_named_with_its_offsets() {
    let PipelineWithBacklog {
        mut pipeline,
        log,
        received,
        shipped,
        rotated_len,
    } = with_backlog("gap");
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    fs::remove_file(log.rotated(1)).unwrap();
    pipeline.start(Role::Sender);
    pipeline.start(Role::Relay);

    let mut found = Value::Null;
    assert!(
        pipeline.becomes_true(|pipeline| {
            found = pipeline.json("audit").1;
            found["discrepancies"] != Value::Array(Vec::new())
        }),
        "the audit never named a gap: {found}"
    );
    assert_eq!(found["complete"], false);
    let gaps = found["discrepancies"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{found}");
    let gap = &gaps[0];
    assert_eq!(gap["kind"], "gap", "{found}");
    assert_eq!(gap["source"], "127.0.0.1");
    assert_eq!(gap["log"], "access");
    assert!(gap["stream"].is_string(), "{found}");
    assert_eq!(
        (&gap["from"], &gap["until"]),
        (&shipped.into(), &rotated_len.into())
    );
    let (code, status) = pipeline.json("status");
    assert_eq!(status["sources"][0]["gaps"][0]["from"], shipped, "{status}");
    assert_eq!(code, 1, "{status}");

    // The loss is reported once, even after restarts.
    pipeline.kill(Role::Sender);
    pipeline.start(Role::Sender);
    pipeline.wait_for_received(received + WrittenLog::read(log.path()).kept_lines());
    let (_, again) = pipeline.json("audit");
    assert_eq!(again["discrepancies"], found["discrepancies"]);
}

#[test]
fn rotated_file_that_waits_for_the_relay_is_shown_at_risk() {
    let PipelineWithBacklog {
        mut pipeline,
        log,
        shipped,
        rotated_len,
        ..
    } = with_backlog("risk");
    // The relay responds, but has no free space.
    pipeline.config.min_free_disk = "1000000TiB";
    pipeline.start(Role::Relay);
    let mut status = Value::Null;
    assert!(
        pipeline.becomes_true(|pipeline| {
            status = pipeline.json("status").1;
            status["sources"][0]["files_at_risk"] == 1
        }),
        "the status never showed a file at risk: {status}"
    );
    let streams = status["sources"][0]["streams"].as_array().unwrap();
    let stream = streams.iter().find(|stream| stream["at_risk"] == true).unwrap();
    assert_eq!(stream["path"], log.rotated(1).to_str().unwrap(), "{status}");
    assert_eq!(stream["acked_offset"], shipped, "{status}");
    assert_eq!(stream["lag_bytes"], rotated_len - shipped, "{status}");
    let table = pipeline.command(&["status"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("at risk: "), "{table}");

    pipeline.stop(Role::Relay, Signal::SIGTERM);
    pipeline.config.min_free_disk = "1MiB";
    pipeline.start(Role::Relay);
    pipeline.wait_for_delivery(&WrittenLog::read(log.path()));
    let (_, audit) = pipeline.json("audit");
    assert_eq!(audit["discrepancies"], Value::Array(Vec::new()));
    assert_eq!(audit["warnings"], Value::Array(Vec::new()));
}
