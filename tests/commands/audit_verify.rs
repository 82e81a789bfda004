//! `audit --verify` reads delivered files back from the destination.

use std::fs;
use std::process::Output;

use logferry_traffic::LogFile;
use serde_json::Value;

use crate::support::logferry;
use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::Pipeline;
use crate::support::test_folder::free_port;

const LINES: usize = 1_000;

fn verified(pipeline: &Pipeline) -> (Option<i32>, Value) {
    let Output { status, stdout, .. } = pipeline.command(&["audit", "--verify", "--json"]);
    (status.code(), serde_json::from_slice(&stdout).unwrap_or_default())
}

#[test]
fn file_that_changes_at_the_drop_after_its_delivery_is_named() {
    let mut pipeline = Pipeline::new("read-back", "20m");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let past = "2024-11-20T02:20:00Z".parse().unwrap();
    append(&mut log, &mut traffic("read-back", 1), past, LINES);
    let written = WrittenLog::read(log.path());
    pipeline.start_all();
    pipeline.wait_for_delivery(&written);

    let (code, audit) = verified(&pipeline);
    assert_eq!((code, &audit["complete"]), (Some(0), &true.into()), "{audit}");
    let place = &audit["batches"][0]["destinations"][0];
    let path = place["path"].as_str().unwrap().to_owned();
    let text = fs::read(&path).unwrap();
    assert_eq!(place["bytes"], text.len());

    let mut altered = text.clone();
    altered[10] ^= 1;
    for (kind, bytes) in [
        ("remote_short", Some(&text[..100])),
        ("remote_longer", Some(&[&text[..], b"x"].concat())),
        ("remote_differs", Some(&altered)),
        ("remote_missing", None),
    ] {
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let (code, audit) = verified(&pipeline);
        assert_eq!((code, &audit["complete"]), (Some(1), &false.into()), "{audit}");
        let found = &audit["discrepancies"][0];
        assert_eq!(found["kind"], kind, "{audit}");
        assert!(found["detail"].as_str().unwrap().contains(&path), "{audit}");
        let (code, audit) = pipeline.json("audit");
        assert_eq!(
            (code, &audit["complete"]),
            (0, &true.into()),
            "{kind}: only read back when asked"
        );
    }
    fs::write(&path, &text).unwrap();
    let (config, port) = (
        pipeline.test_folder.path("logferry.yaml"),
        pipeline.config.destination.port,
    );
    let nowhere = fs::read_to_string(&config)
        .unwrap()
        .replace(&format!("port: {port}"), &format!("port: {}", free_port()));
    let nowhere = pipeline.test_folder.write("nowhere.yaml", &nowhere);
    let mut audit = logferry();
    let unread = audit
        .args(["audit", "--verify", "-c"])
        .arg(nowhere)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&unread.stderr);
    assert_eq!(unread.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("cannot read back the files delivered to drop: cannot connect to"),
        "{stderr}"
    );
    pipeline.finish(&written, LineOrder::WholeLog);
}
