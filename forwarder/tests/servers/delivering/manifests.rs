//! Window manifests.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_config::{Destination, WindowManifest};
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::heartbeat::Heartbeat;
use serde_json::{Value, json};

use crate::connecting::embedded::Embedded;
use crate::support::{Running, Spool, Sshd, destination, names_in, until};

/// The start of a window `windows_ago` windows before the last one, which ended a minute ago.
fn start(windows_ago: i64) -> i64 {
    let now = Timestamp::now().as_second();
    now - now.rem_euclid(60) - 60 - (windows_ago + 1) * 1200
}

/// A destination that gets window manifests `wait` after a window's end at the latest.
fn with_manifests(destination: Destination, wait: Duration) -> Destination {
    Destination {
        window_manifest: Some(WindowManifest {
            wait,
            expected_sources: Vec::new(),
        }),
        ..destination
    }
}

/// Makes the destination get manifests from that second on.
fn gets_manifests_since(spool: &mut Spool, name: &str, second: i64) {
    let since = Timestamp::from_second(second).unwrap();
    spool
        .ledger
        .manifests_since(&name.parse().unwrap(), since)
        .unwrap();
}

fn manifests_in(dir: &Path) -> Vec<String> {
    let mut names = names_in(dir);
    names.retain(|name| name.starts_with("WINDOW_"));
    names
}

fn read(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
}

fn report(spool: &mut Spool, source: &str, at: Timestamp) {
    let group = "web-1".parse().unwrap();
    let source = source.parse().unwrap();
    spool
        .ledger
        .note_heartbeat(&source, &group, &Heartbeat::default(), at)
        .unwrap();
}

/// The states of a manifest's sources.
fn states(said: &Value) -> Vec<Value> {
    let sources = said["sources"].as_array().unwrap();
    sources.iter().map(|source| source["state"].clone()).collect()
}

async fn sent(spool: &Spool, batch: &Batch) {
    until("sent", || spool.is_in(BatchState::Sent, batch)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_window_gets_a_manifest_and_a_later_part_a_further_revision_at_either_server() {
    let (sshd, embedded, mut spool) = (Sshd::start(), Embedded::start().await, Spool::new());
    let first = start(1);
    let began = Timestamp::from_second(first).unwrap();
    report(&mut spool, "198.51.100.1", began);
    report(&mut spool, "198.51.100.2", began);
    report(&mut spool, "198.51.100.3", began - SignedDuration::from_hours(1));
    for name in ["edw", "other"] {
        // In the middle of the first window, as it is in life.
        gets_manifests_since(&mut spool, name, first + 10);
    }
    let one = spool.seal_at("198.51.100.1", first, b"one\ntwo\n");
    report(&mut spool, "198.51.100.1", Timestamp::now());
    report(&mut spool, "198.51.100.2", Timestamp::now());
    let mut other = with_manifests(embedded.destination(), Duration::ZERO);
    other.name = "other".parse().unwrap();
    let both = || {
        vec![
            with_manifests(destination("edw", &sshd), Duration::ZERO),
            other.clone(),
        ]
    };
    let forwarder = Running::start(spool.dir(), both());
    let dirs = [sshd.drop_dir(), embedded.drop_dir()];
    sent(&spool, &one).await;
    // This window, and an empty one after it.
    until("manifests", || {
        dirs.iter().all(|dir| manifests_in(dir).len() == 2)
    })
    .await;
    forwarder.stop().await;

    let names = manifests_in(&dirs[0]);
    let said: Vec<_> = names.iter().map(|name| read(&dirs[0], name)).collect();
    let index = said.iter().position(|said| said["totals"]["files"] == 1).unwrap();
    let (name, said, empty) = (&names[index], &said[index], &said[1 - index]);
    assert_eq!((&said["revision"], &said["whole"]), (&json!(1), &json!(false)));
    assert_eq!(said["totals"], json!({"files": 1, "lines": 2, "bytes": 8}));
    assert_eq!(said["added"], json!([]));
    assert_eq!(states(said), ["delivered", "quiet", "missing"]);
    assert_eq!(states(empty), ["quiet", "quiet", "missing"]);
    let path = dirs[0].join(one.file_name());
    assert_eq!(
        said["sources"][0]["files"],
        json!([{"name": one.file_name(), "path": path, "part": 1, "log": null, "lines": 2, "bytes": 8,
                "sha256": spool.now(&one).sha256}])
    );

    let late = spool.seal_at("198.51.100.1", first, b"late\n");
    let before: Vec<_> = names
        .iter()
        .map(|name| fs::read(dirs[0].join(name)).unwrap())
        .collect();
    let forwarder = Running::start(spool.dir(), both());
    sent(&spool, &late).await;
    until("amended", || dirs.iter().all(|dir| manifests_in(dir).len() == 3)).await;
    forwarder.stop().await;
    let amended = name.replace(".json", "_r2.json");
    for dir in &dirs {
        let said = read(dir, &amended);
        assert_eq!(said["revision"], 2);
        assert_eq!(said["added"], json!([late.file_name()]));
        assert_eq!(said["totals"], json!({"files": 2, "lines": 3, "bytes": 13}));
    }
    let after: Vec<_> = names
        .iter()
        .map(|name| fs::read(dirs[0].join(name)).unwrap())
        .collect();
    assert_eq!(before, after, "what was said is never changed");
    assert_eq!(names_in(&dirs[0]).len(), 5, "no temporary file stays");
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn window_gets_no_manifest_while_a_file_is_missing_or_a_source_may_send_more() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let first = start(0);
    gets_manifests_since(&mut spool, "edw", first);
    // It was heard of while the window lasted, and not since.
    report(
        &mut spool,
        "198.51.100.2",
        Timestamp::from_second(first + 60).unwrap(),
    );
    let there = spool.seal_at("198.51.100.1", first, b"there\n");
    let taken = spool.seal_at("198.51.100.3", first, b"held\n");
    fs::write(sshd.drop_dir().join(taken.file_name()), b"somebody's\n").unwrap();
    let mut edw = with_manifests(destination("edw", &sshd), Duration::from_hours(2));
    edw.failed_every = Duration::from_millis(20);
    let forwarder = Running::start(spool.dir(), vec![edw.clone()]);
    sent(&spool, &there).await;
    until("held", || spool.is_in(BatchState::Failed, &taken)).await;
    fs::remove_file(sshd.drop_dir().join(taken.file_name())).unwrap();
    sent(&spool, &taken).await;
    forwarder.stop().await;
    assert_eq!(
        manifests_in(&sshd.drop_dir()),
        [""; 0],
        "one source may be behind"
    );

    edw.window_manifest.as_mut().unwrap().wait = Duration::ZERO;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("told", || manifests_in(&sshd.drop_dir()).len() == 1).await;
    forwarder.stop().await;
    let said = read(&sshd.drop_dir(), &manifests_in(&sshd.drop_dir())[0]);
    assert_eq!(said["whole"], false);
    assert_eq!(said["sources"][1]["state"], "behind");
    assert_eq!(said["totals"]["files"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_whose_delivery_was_not_recorded_is_the_same_and_anothers_name_is_left_alone() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let first = start(0);
    gets_manifests_since(&mut spool, "edw", first);
    let batch = spool.seal_at("198.51.100.1", first, b"one\n");
    let mut edw = with_manifests(destination("edw", &sshd), Duration::ZERO);
    edw.failed_every = Duration::from_millis(50);
    let forwarder = Running::start(spool.dir(), vec![edw.clone()]);
    sent(&spool, &batch).await;
    until("told", || manifests_in(&sshd.drop_dir()).len() == 1).await;
    let name = "edw".parse().unwrap();
    until("recorded", || {
        spool.ledger.waiting_manifests(&name).unwrap().is_empty()
    })
    .await;
    forwarder.stop().await;
    let path = sshd.drop_dir().join(&manifests_in(&sshd.drop_dir())[0]);
    let text = fs::read(&path).unwrap();
    // A second destination is told the same; somebody has taken the name.
    let mut lab = edw;
    lab.name = "lab".parse().unwrap();
    lab.directory = sshd.path("lab").to_str().unwrap().to_owned();
    fs::create_dir(sshd.path("lab")).unwrap();
    let taken = sshd.path("lab").join(path.file_name().unwrap());
    fs::write(&taken, b"somebody's\n").unwrap();
    gets_manifests_since(&mut spool, "lab", first);
    let other = spool.seal_at("198.51.100.2", first, b"two\n");
    let forwarder = Running::start(spool.dir(), vec![lab]);
    sent(&spool, &other).await;
    let waiting = || spool.ledger.waiting_manifests(&"lab".parse().unwrap()).unwrap();
    until("refused", || {
        waiting().first().is_some_and(|manifest| manifest.attempts > 0)
    })
    .await;
    assert_eq!(fs::read(&taken).unwrap(), b"somebody's\n");
    // What is there in the end is what was written first, as after a crash before the record.
    fs::write(&taken, waiting()[0].content.as_bytes()).unwrap();
    until("recognised", || waiting().is_empty()).await;
    forwarder.stop().await;
    assert_eq!(fs::read(&path).unwrap(), text);
}
