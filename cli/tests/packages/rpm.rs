//! The RPM package: its scripts, run by rpm in a bare system.

use std::fs;
use std::process::Command;

use crate::bare_root::{BareRoot, printed};
use crate::build::{self, NEW, OLD};
use crate::systemd;

#[test]
fn scripts_are_there_and_have_no_gaps() {
    let scripts = Command::new("rpm")
        .args(["-qp", "--scripts"])
        .arg(build::rpm(OLD))
        .output()
        .unwrap();
    let text = printed(&scripts);
    for name in ["preinstall", "postinstall", "preuninstall", "postuninstall"] {
        assert!(
            text.contains(&format!("{name} scriptlet (using /bin/sh)")),
            "{name}: {text}"
        );
    }
    assert!(!text.contains('@'), "a placeholder is left: {text}");
}

#[test]
fn rpm_is_installed_upgraded_and_erased_like_the_debian_package() {
    let root = BareRoot::new();
    let run = |arguments: &[&str], version: &str| {
        let output = root.rpm(arguments, &build::rpm(version));
        assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
    };
    run(&["-i"], OLD);
    assert_eq!(root.rights("/etc/logferry"), "750 root logferry");
    let owner = ["-qp", "--queryformat", "[%{FILENAMES} %{FILEGROUPNAME}\n]"];
    let owners = Command::new("rpm")
        .args(owner)
        .arg(build::rpm(OLD))
        .output()
        .unwrap();
    assert!(
        printed(&owners).contains("/etc/logferry logferry\n"),
        "an upgrade does not take it away"
    );
    assert_eq!(root.rights("/var/lib/logferry"), "750 logferry logferry");
    root.write(
        "/etc/logferry/logferry.yaml",
        "relay:\n  groups: [{name: web-1, listen: '127.0.0.1:7001'}]\n",
    );
    root.write("/etc/cron.d/logferry", "# ours\n");
    systemd::fake(&root, &["relay"]);
    run(&["-U"], NEW);
    let calls = systemd::calls(&root);
    let restarts: Vec<_> = calls
        .iter()
        .filter(|call| call.starts_with("try-restart "))
        .collect();
    assert!(
        restarts.len() == 1 && systemd::names_only(restarts[0], &["relay"]),
        "{calls:?}"
    );
    assert!(calls.iter().all(|call| !call.contains("disable")), "{calls:?}");
    assert_eq!(root.read("/etc/cron.d/logferry"), "# ours\n");

    // The header of a file that is no database: `user_version` stands at byte 60.
    fs::create_dir(root.path("/var/lib/logferry/relay")).unwrap();
    let mut ledger = b"SQLite format 3\0".to_vec();
    ledger.resize(60, 0);
    ledger.extend(4711_u32.to_be_bytes());
    fs::write(root.path("/var/lib/logferry/relay/ledger.db"), ledger).unwrap();
    let refused = root.rpm(&["-U", "--oldpackage"], &build::rpm(OLD));
    let text = printed(&refused);
    assert!(
        !refused.status.success() && text.contains("schema 4711"),
        "{text}"
    );
    assert_eq!(
        root.ok("logferry --version").trim(),
        format!("logferry {OLD}"),
        "the same program in both"
    );

    let erased = root.rpm(&["-e"], "logferry".as_ref());
    assert!(erased.status.success(), "{}", printed(&erased));
    let calls = systemd::calls(&root);
    assert!(
        calls.contains(&"--quiet disable --now logferry-relay.service".to_owned()),
        "{calls:?}"
    );
    assert!(!root.exists("/usr/bin/logferry"));
    assert!(root.exists("/etc/logferry/logferry.yaml") && root.exists("/var/lib/logferry/relay/ledger.db"));
}
