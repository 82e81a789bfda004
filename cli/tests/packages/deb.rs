//! The Debian package: installation, upgrade, downgrade, removal, purge.

use std::fs;
use std::process::Command;

use logferry_ledger::Ledger;

use crate::bare_root::{BareRoot, printed};
use crate::build::{NEW, OLD};
use crate::systemd;

const RELAY: &str = "relay:\n  groups: [{name: web-1, listen: '127.0.0.1:7001'}]\n";
const DATA_DIR: &str = "/var/lib/logferry/relay";

/// Gives a ledger another schema version: in its write-ahead log only, as a role that is killed leaves it, or in its file.
fn set_schema(root: &BareRoot, schema: u32, in_log: bool) {
    let script = "import os, sqlite3, sys\n\
                  ledger = sqlite3.connect(sys.argv[1])\n\
                  ledger.execute('PRAGMA user_version = ' + sys.argv[2])\n\
                  ledger.commit()\n\
                  sys.argv[3] == 'log' and os._exit(0)\n\
                  ledger.close()\n";
    let ledger = root.path(DATA_DIR).join("ledger.db");
    let place = if in_log { "log" } else { "file" };
    let mut python = Command::new("python3");
    let python = python.args(["-c", script]).arg(&ledger);
    let python = python.args([&schema.to_string(), place]).status();
    assert!(python.unwrap().success());
    assert_eq!(ledger.with_extension("db-wal").exists(), in_log);
}

#[test]
fn installation_makes_users_and_folders_and_starts_nothing() {
    let root = BareRoot::new();
    let printed = root.install_ok(OLD);
    assert!(printed.contains("run logferry init relay-host"), "{printed}");
    assert_eq!(root.rights("/etc/logferry"), "750 root logferry");
    assert_eq!(root.rights("/var/lib/logferry"), "750 logferry logferry");
    assert_eq!(
        root.ok("id -nG logferry-collector").trim(),
        "logferry-collector logferry"
    );
    assert_eq!(
        root.ok("id -nG logferry-indexer").trim(),
        "logferry-indexer logferry"
    );
    assert_eq!(root.ok("logferry --version").trim(), format!("logferry {OLD}"));
    let shadow = root.ok("getent passwd logferry");
    assert!(
        shadow.contains(":/var/lib/logferry:/usr/sbin/nologin"),
        "{shadow}"
    );
    assert!(
        root.ok("dpkg -V logferry").is_empty(),
        "the files are as they were packed"
    );
    assert!(!root.exists("/etc/systemd/system/multi-user.target.wants/logferry-relay.service"));

    systemd::fake(&root, &[]);
    root.ok("dpkg --purge logferry");
    systemd::calls(&root);
    root.install_ok(OLD);
    assert_eq!(systemd::calls(&root), ["daemon-reload"]);
}

#[test]
fn upgrade_keeps_configuration_and_restarts_only_roles_that_run() {
    let root = BareRoot::new();
    root.install_ok(OLD);
    root.write("/etc/logferry/logferry.yaml", RELAY);
    let cron = root.read("/etc/cron.d/logferry").replace("*/5 ", "*/7 ");
    root.write("/etc/cron.d/logferry", &cron);
    systemd::fake(&root, &["relay"]);
    root.install_ok(NEW);
    assert_eq!(root.read("/etc/logferry/logferry.yaml"), RELAY);
    assert_eq!(root.read("/etc/cron.d/logferry"), cron);
    let calls = systemd::calls(&root);
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert_eq!(calls[..2], ["daemon-reload", "reload logferry-relay.service"]);
    assert!(
        calls[2].starts_with("try-restart ") && systemd::names_only(&calls[2], &["relay"]),
        "{calls:?}"
    );
}

#[test]
fn upgrade_leaves_a_role_alone_whose_configuration_the_new_version_refuses() {
    let root = BareRoot::new();
    root.install_ok(OLD);
    root.write("/etc/logferry/logferry.yaml", "relay:\n  gruops: []\n");
    systemd::fake(&root, &["relay"]);
    let printed = root.install_ok(NEW);
    let asked = ["daemon-reload", "reload logferry-relay.service"];
    assert_eq!(systemd::calls(&root), asked);
    assert!(
        printed.contains("logferry-relay runs on with the program from before the upgrade"),
        "{printed}"
    );
    assert!(printed.contains("gruops"), "{printed}");
}

#[test]
fn upgrade_asks_with_the_variables_that_only_the_unit_has() {
    let root = BareRoot::new();
    root.install_ok(OLD);
    root.write("/etc/logferry/logferry.yaml", "relay: {gruops: []}\n");
    root.write("/srv/relay.yaml", &RELAY.replace("web-1", "\"${GROUP_NAME}\""));
    systemd::fake(&root, &["relay"]);
    root.write(
        "/environment",
        "LOGFERRY_CONFIG=/srv/relay.yaml GROUP_NAME=web-1\n",
    );
    let printed = root.install_ok(NEW);
    let calls = systemd::calls(&root);
    let restarted = calls.last().is_some_and(|call| call.starts_with("try-restart "));
    assert!(restarted && !printed.contains("runs on"), "{calls:?} {printed}");
}

#[test]
fn units_that_were_copied_by_hand_are_named() {
    let root = BareRoot::new();
    root.write("/etc/systemd/system/logferry-relay.service", "[Service]\n");
    let printed = root.install_ok(OLD);
    let named = "/etc/systemd/system/logferry-relay.service is used in place of the package's unit";
    assert!(printed.contains(named), "{printed}");
}

#[test]
fn version_that_cannot_read_the_ledger_is_not_installed() {
    let root = BareRoot::new();
    root.install_ok(NEW);
    fs::create_dir(root.path(DATA_DIR)).unwrap();
    drop(Ledger::open_or_create(&root.path(DATA_DIR)).unwrap());
    set_schema(&root, 4711, true);
    systemd::fake(&root, &["relay"]);
    let refused = root.install(OLD);
    let text = printed(&refused);
    assert!(
        !refused.status.success() && text.contains("this host's ledger has schema 4711"),
        "{text}"
    );
    let state = root.ok("dpkg-query -W -f '${Version} ${Status}' logferry");
    assert_eq!(state, format!("{NEW} install ok installed"));
    assert!(
        systemd::calls(&root).iter().all(|call| call == "daemon-reload"),
        "no role was touched"
    );

    // Without an installed program, the file itself is read.
    root.ok("dpkg --remove logferry");
    set_schema(&root, 4711, false);
    let refused = root.install(OLD);
    assert!(
        !refused.status.success() && printed(&refused).contains("schema 4711"),
        "{}",
        printed(&refused)
    );

    // The ledger from before the upgrade is back: now it may be installed.
    set_schema(&root, 1, false);
    root.install_ok(OLD);
}

#[test]
fn removal_stops_the_roles_and_keeps_configuration_and_state() {
    let root = BareRoot::new();
    root.install_ok(OLD);
    root.write("/etc/logferry/logferry.yaml", RELAY);
    root.write("/var/lib/logferry/sender/checkpoint", "state");
    systemd::fake(&root, &["relay"]);
    root.ok("dpkg --remove logferry");
    let calls = systemd::calls(&root);
    let stopped = |unit: &str| calls.contains(&format!("--quiet disable --now {unit}.service"));
    assert!(
        stopped("logferry-relay") && stopped("logferry-sender") && stopped("logferry"),
        "{calls:?}"
    );
    assert_eq!(calls.last().map(String::as_str), Some("daemon-reload"));
    assert!(!root.exists("/usr/bin/logferry"));
    assert_eq!(root.read("/etc/logferry/logferry.yaml"), RELAY);
    assert!(root.exists("/var/lib/logferry/sender/checkpoint") && root.exists("/etc/cron.d/logferry"));
}

#[test]
fn purge_deletes_everything_but_lines_that_are_not_delivered() {
    let root = BareRoot::new();
    let waiting = ["relay/ready", "relay/failed", "relay/open", "collector"];
    for folder in waiting.iter().chain(&["relay/sent"]) {
        root.install_ok(OLD);
        root.write("/etc/logferry/logferry.yaml", RELAY);
        let batch = format!("/var/lib/logferry/{folder}/198.51.100.1/accessLog_1.log");
        root.write(&batch, "line\n");
        root.write("/etc/logferry/id_ed25519", "key");
        let printed = root.ok("dpkg --purge logferry");
        assert!(!root.exists("/etc/cron.d/logferry"));
        if *folder == "relay/sent" {
            assert!(!root.exists("/var/lib/logferry"), "{printed}");
            assert!(!root.exists("/etc/logferry"), "{printed}");
        } else {
            assert_eq!(root.read(&batch), "line\n");
            assert_eq!(root.read("/etc/logferry/logferry.yaml"), RELAY);
            assert_eq!(
                root.read("/etc/logferry/id_ed25519"),
                "key",
                "without it nobody delivers"
            );
            assert!(
                printed.contains("/var/lib/logferry is kept")
                    && printed.contains("/etc/logferry is kept too")
                    && printed.contains(&batch),
                "{printed}"
            );
            fs::remove_dir_all(root.path("/var/lib/logferry")).unwrap();
        }
    }
}

#[test]
fn purge_keeps_the_keys_for_batches_in_a_folder_elsewhere() {
    let root = BareRoot::new();
    root.install_ok(OLD);
    root.write(
        "/etc/logferry/logferry.yaml",
        "relay:\n  data_dir: \"/srv/spool\"  # a disk of its own\n",
    );
    root.write("/etc/logferry/id_ed25519", "key");
    root.write("/srv/spool/ready/198.51.100.1/accessLog_1.log", "line\n");
    let printed = root.ok("dpkg --purge logferry");
    assert!(
        printed.contains("/srv/spool/ready/198.51.100.1/accessLog_1.log"),
        "{printed}"
    );
    assert_eq!(root.read("/etc/logferry/id_ed25519"), "key");
}

#[test]
fn cron_lines_run_what_is_configured_and_nothing_where_systemd_runs() {
    let root = BareRoot::new();
    root.install_ok(OLD);
    root.write("/etc/logferry/logferry.yaml", "housekeeper: {}\n");
    root.write("/usr/bin/logferry", "#!/bin/sh\necho \"$*\" >>/ran\n");
    let file = root.read("/etc/cron.d/logferry");
    let lines: Vec<_> = file.lines().filter(|line| line.starts_with('*')).collect();
    assert_eq!(lines.len(), 2, "{file}");
    let run_lines = || {
        root.write("/ran", "");
        for line in &lines {
            let words = line.split_whitespace().collect::<Vec<_>>();
            assert_eq!(words[5], "logferry", "the user");
            let command = words[6..].join(" ");
            root.ok(&format!("LOGFERRY_CONFIG=/etc/logferry/logferry.yaml\n{command}"));
        }
        root.read("/ran")
    };
    assert_eq!(run_lines(), "housekeeper --once\n");
    systemd::fake(&root, &[]);
    assert_eq!(run_lines(), "");
}
