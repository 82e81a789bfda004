//! The runbooks of docs/disaster, with lines that are written all the while.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use logferry_traffic::{LogFile, Traffic};
use serde_json::Value;

use super::runbook::RunbookHost;
use crate::support::logs::comparison::{DeliveredFiles, LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{WAIT_LIMIT, becomes_true};

const LINES: usize = 500;

/// What the commands of the pages start.
const ROLES: [&str; 4] = ["forwarder", "housekeeper", "monitor", "relay"];

const NO_ROLES: [&str; 0] = [];

/// A sender whose relay has an address that can go to another host.
struct Scene {
    pipeline: Pipeline,
    log: LogFile,
    lines: Traffic,
}

impl Scene {
    fn new(test: &str, address: &'static str) -> Self {
        let mut pipeline = Pipeline::new(test, "2s");
        pipeline.config.relay_address = address;
        let log = LogFile::open(&pipeline.config.log).unwrap();
        Self {
            pipeline,
            log,
            lines: traffic(test, 1),
        }
    }

    /// A relay host with this data folder, which sees the backups of all hosts.
    fn host(&self, name: &str, data_dir: &str) -> RunbookHost {
        let folder = &self.pipeline.test_folder;
        let data_dir = folder.path(data_dir);
        let old = format!("data_dir: {:?}", self.pipeline.config.data_dir);
        let new = format!("data_dir: {data_dir:?}");
        let text = self.pipeline.config.to_string().replace(&old, &new);
        let config = folder.write(&format!("{name}.yaml"), &text);
        let paths: Vec<(&'static str, PathBuf)> = vec![
            // The first one is the host's data folder.
            ("/var/lib/logferry/relay", data_dir),
            ("/var/lib/logferry/index", folder.path("index")),
            ("/srv/backup", folder.create_dir("backup")),
            ("/mnt/backup", folder.create_dir("other-disk")),
            ("/run/logferry-copy.lock", folder.path("copy.lock")),
        ];
        RunbookHost::new(folder, name, config, paths)
    }

    fn write(&mut self) {
        append(&mut self.log, &mut self.lines, Timestamp::now(), LINES);
    }

    fn rotate(&mut self) {
        self.log.rename().unwrap();
        self.log.reopen().unwrap();
    }

    /// The roles of a host start, and lines are delivered. Returns the public key of the proof.
    fn start_and_deliver(&mut self, host: &RunbookHost) -> Vec<u8> {
        host.run("backup.md", "Start");
        self.pipeline.start(Role::Sender);
        self.write();
        self.wait_for_delivery();
        host.make_key()
    }

    fn wait_for_delivery(&mut self) {
        let written = WrittenLog::read(self.log.path());
        self.pipeline.wait_for_delivered_lines(written.kept_lines());
    }

    /// Each line is at the destination once, and the audit on this host agrees.
    fn finish(mut self, host: &RunbookHost, page: &str, heading: &str) {
        self.wait_for_delivery();
        self.pipeline
            .stop(Role::Sender, nix::sys::signal::Signal::SIGTERM);
        let written = WrittenLog::read(self.log.path());
        DeliveredFiles::read(&self.pipeline.config.destination.directory)
            .assert_is(&written, LineOrder::WithinWindow);
        // A file is at the destination a moment before the ledger has its delivery.
        let mut audit = Value::Null;
        let is_recorded = becomes_true(WAIT_LIMIT, || {
            audit = serde_json::from_str(&host.run(page, heading)).unwrap();
            audit["totals"]["lines_delivered"] == written.kept_lines()
        });
        assert!(is_recorded, "{audit}");
        assert_eq!(audit["complete"], true, "{audit}");
    }
}

#[test]
fn backup_and_restore_as_documented_with_deliveries_after_the_backup() {
    let mut scene = Scene::new("restore-runbook", "127.0.0.1");
    let host = scene.host("relay-host", "relay");
    let key = scene.start_and_deliver(&host);
    host.run("backup.md", "Make a backup");
    // After the backup lines arrive, are rotated away, and some are delivered. The restored ledger knows nothing of that.
    scene.write();
    scene.rotate();
    scene.write();
    scene.wait_for_delivery();
    scene.write();
    host.lose_power();
    host.run("backup.md", "Restore it");
    assert_eq!(host.key(), key);
    scene.write();
    scene.finish(&host, "backup.md", "See that nothing is missing");
}

#[test]
fn data_folder_that_is_a_mount_is_emptied_and_takes_the_backup() {
    let mut scene = Scene::new("mount-runbook", "127.0.0.1");
    let host = scene.host("relay-host", "relay");
    let key = scene.start_and_deliver(&host);
    host.run("backup.md", "Make a backup");
    host.lose_power();
    host.run("backup.md", "Empty a data folder that is a mount");
    let data_dir = scene.pipeline.test_folder.path("relay");
    let names = fs::read_dir(&data_dir).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["old"]);
    assert_eq!(fs::read(data_dir.join("old/audit.pub")).unwrap(), key);
    let backup = scene.pipeline.test_folder.path("other-disk/2026-11-29");
    host.sh("restore", &format!("logferry restore {}", backup.display()));
    host.run("backup.md", "Start");
    scene.write();
    scene.finish(&host, "backup.md", "See that nothing is missing");
}

#[test]
fn relay_host_moves_to_another_host_without_a_gap() {
    let mut scene = Scene::new("move-runbook", "127.0.0.21");
    let (old, new) = (scene.host("old", "old-relay"), scene.host("new", "new-relay"));
    let key = scene.start_and_deliver(&old);
    old.run("move.md", "Copy a large spool before the stop");
    scene.write();
    old.run("move.md", "On the old host");
    scene.write();
    scene.rotate();
    scene.write();
    new.run("move.md", "On the new host");
    assert_eq!(new.key(), key);
    // Both hosts are started again, at any time later.
    old.boot();
    assert_eq!(old.running(), NO_ROLES, "the old relay would take lines");
    new.lose_power();
    new.boot();
    assert_eq!(new.running(), ROLES);
    scene.write();
    scene.finish(&new, "backup.md", "See that nothing is missing");
}

#[test]
fn second_host_takes_over_shared_storage_after_a_power_loss() {
    let mut scene = Scene::new("shared-failover", "127.0.0.22");
    let (active, passive) = (scene.host("active", "relay"), scene.host("passive", "relay"));
    active.run("backup.md", "Start");
    active.run("failover.md", "On both hosts");
    assert_eq!(active.running(), ROLES, "they run on");
    scene.pipeline.start(Role::Sender);
    for _ in 0..3 {
        scene.write();
    }
    scene.pipeline.wait_for_delivered_lines(LINES);
    scene.write();
    active.lose_power();
    scene.write();
    passive.run("failover.md", "Take over with shared or mirrored storage");
    active.boot();
    assert_eq!(active.running(), NO_ROLES, "two relays would have one ledger");
    scene.write();
    scene.finish(&passive, "backup.md", "See that nothing is missing");
}

#[test]
fn second_host_takes_over_from_the_last_copy_after_the_first_is_lost() {
    let mut scene = Scene::new("copied-failover", "127.0.0.23");
    let (active, passive) = (scene.host("active", "relay-a"), scene.host("passive", "relay-b"));
    active.run("backup.md", "Start");
    scene.pipeline.start(Role::Sender);
    scene.write();
    scene.wait_for_delivery();
    let key = active.make_key();
    active.run("failover.md", "Copy the key of the proof once");
    active.run("failover.md", "Copy every few minutes");
    // The next runs find what an interrupted one has left, before the copy and in the middle of it.
    let folder = &scene.pipeline.test_folder;
    let copies = folder.path("other-disk");
    for left in [folder.path("backup/latest.new"), copies.join("latest.new")] {
        let before = fs::read(copies.join("latest/backup.json")).unwrap();
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half"), "").unwrap();
        active.run("failover.md", "Copy every few minutes");
        let names = fs::read_dir(&copies).unwrap().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["key", "latest"]);
        let after = fs::read(copies.join("latest/backup.json")).unwrap();
        assert_ne!(before, after, "the new copy is in the place of the old one");
    }
    // A run that is slow holds the lock; the next one touches nothing of it.
    let lock = fs::File::open(folder.path("copy.lock")).unwrap();
    lock.lock().unwrap();
    let half = folder.path("backup/latest.new");
    fs::create_dir(&half).unwrap();
    assert!(!active.succeeds("failover.md", "Copy every few minutes"));
    assert!(half.exists() && copies.join("latest/backup.json").exists());
    drop(lock);
    scene.write();
    scene.wait_for_delivery();
    scene.write();
    scene.rotate();
    active.lose_power();
    fs::remove_dir_all(scene.pipeline.test_folder.path("relay-a")).unwrap();
    scene.write();
    passive.run("failover.md", "Take over from the last copy");
    assert_eq!(passive.key(), key);
    scene.write();
    scene.finish(&passive, "backup.md", "See that nothing is missing");
}
