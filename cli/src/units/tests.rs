//! What a unit's sandbox refuses is told with the drop-in that allows it.

use std::path::{Path, PathBuf};

use super::*;
use crate::output::check_item::Marks;
use crate::units::sandbox::compare;

const OURS: &str = include_str!("../../../deploy/systemd/logferry-relay.service");

fn unit(drop_in: &str) -> UnitFile {
    UnitFile::of("logferry-relay.service", [OURS.to_owned(), drop_in.to_owned()])
}

fn told(unit: &UnitFile, written: &str, read: &str) -> Option<(Vec<String>, Vec<String>)> {
    let paths = |path: &str| {
        [path]
            .into_iter()
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect()
    };
    let paths = UsedPaths {
        written: paths(written),
        read: paths(read),
    };
    compare(unit, &paths).map(|finding| (finding.refused, finding.settings))
}

#[test]
fn shipped_unit_allows_the_documented_folders_only() {
    let unit = unit("");
    assert_eq!(
        told(&unit, "/var/lib/logferry/relay", "/var/log/nginx/access.log"),
        None
    );
    let (refused, settings) = told(&unit, "/srv/spool", "").unwrap();
    assert_eq!(refused, ["/srv/spool: may not be written (ProtectSystem=strict)"]);
    assert_eq!(settings, ["ReadWritePaths=/srv/spool"]);
    let (refused, settings) = told(&unit, "", "/home/app/access.log").unwrap();
    assert_eq!(
        refused,
        ["/home/app/access.log: may not be read below /home (ProtectHome=yes)"]
    );
    assert_eq!(settings, ["ProtectHome=read-only"]);
    let (_, settings) = told(&unit, "/home/ferry/spool", "").unwrap();
    assert_eq!(settings, ["ProtectHome=no", "ReadWritePaths=/home/ferry/spool"]);
    let (refused, settings) = told(&unit, "/tmp/spool", "").unwrap();
    assert!(refused[0].contains("PrivateTmp=yes"), "{refused:?}");
    assert_eq!(settings, [""; 0]);
}

#[test]
fn drop_in_that_was_asked_for_is_enough() {
    for (path, drop_in) in [
        ("/srv/spool", "ReadWritePaths=/srv/spool"),
        ("/srv/spool/relay", "ReadWritePaths=-/srv/spool /other"),
        (
            "/home/ferry/spool",
            "ProtectHome=no\nReadWritePaths=/home/ferry/spool",
        ),
        ("/srv/spool", "ProtectSystem=full"),
    ] {
        assert_eq!(
            told(&unit(&format!("[Service]\n{drop_in}")), path, ""),
            None,
            "{drop_in}"
        );
    }
    assert!(
        told(
            &unit("[Service]\nReadWritePaths=/srv/spool\nReadWritePaths="),
            "/srv/spool",
            ""
        )
        .is_some()
    );
    assert!(told(&unit("[Unit]\nReadWritePaths=/srv/spool"), "/srv/spool", "").is_some());
}

#[test]
fn folder_with_a_space_is_told_and_understood_as_systemd_has_it() {
    let (_, settings) = told(&unit(""), "/srv/all logs/100%", "").unwrap();
    assert_eq!(settings, ["ReadWritePaths=\"/srv/all logs/100%%\""]);
    let drop_in = |value: &str| unit(&format!("[Service]\nReadWritePaths={value}\n"));
    for value in [
        "\"/srv/all logs/100%%\"",
        "/other '-/srv/all logs'",
        "/srv/all\\ logs",
        "/other \\\n# a comment\n \"/srv/all logs\"",
    ] {
        assert_eq!(told(&drop_in(value), "/srv/all logs/100%", ""), None, "{value}");
    }
    assert!(told(&drop_in("/srv/all logs"), "/srv/all logs", "").is_some());
}

#[test]
fn drop_ins_for_several_units_count_and_the_nearest_folder_has_precedence() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| write(root.path(), path, text);
    write("usr/lib/systemd/system/logferry-housekeeper-once.service", OURS);
    let writable = || {
        let unit = UnitFile::installed(root.path(), "logferry-housekeeper-once.service").unwrap();
        let below = |folder: &&str| unit.writable.iter().any(|path| path == Path::new(folder));
        ["/a", "/b", "/c", "/d"]
            .into_iter()
            .filter(below)
            .collect::<String>()
    };
    let allow = |path: &str| format!("[Service]\nReadWritePaths={path}\n");
    assert_eq!(writable(), "");
    write("etc/systemd/system/service.d/all.conf", &allow("/a"));
    write("etc/systemd/system/logferry-.service.d/ours.conf", &allow("/b"));
    write(
        "usr/lib/systemd/system/logferry-housekeeper-.service.d/one.conf",
        &allow("/c"),
    );
    assert_eq!(writable(), "/a/b/c");
    // Of one name, that of the administrator counts.
    write("etc/systemd/system/logferry-.service.d/one.conf", &allow("/d"));
    write("etc/systemd/system/service.d/ours.conf", &allow("/c"));
    assert_eq!(writable(), "/a/b/d");
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
    std::fs::write(path, text).unwrap();
}

fn parsed(config: &str) -> Config {
    logferry_config::parse(config, Path::new("c.yaml"), &|_| None).unwrap()
}

fn found(config: &Config, root: &Path) -> Vec<String> {
    let plain = Marks {
        is_unicode: true,
        is_terminal: false,
    };
    let found = findings_with(config, root, LOW_PORTS_END);
    found.iter().map(|item| item.as_text(plain)).collect()
}

#[test]
fn installed_units_are_compared_with_the_configuration() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| write(root.path(), path, text);
    let config =
        "relay:\n  data_dir: /srv/spool\n  groups: [{name: a, listen: '127.0.0.1:0'}]\nhousekeeper: {}\n";
    let config = parsed(config);
    let found = || found(&config, root.path());
    assert_eq!(found(), [""; 0], "nothing is installed");

    write("usr/lib/systemd/system/logferry-relay.service", OURS);
    assert_eq!(
        found(),
        ["✗ logferry-relay.service: keeps the role from its files:\n    \
          /srv/spool: may not be written (ProtectSystem=strict)\n    \
          write this with `systemctl edit logferry-relay.service`, and then run `systemctl restart \
          logferry-relay.service`:\n    [Unit]\n    RequiresMountsFor=/srv/spool\n    [Service]\n    ReadWritePaths=/srv/spool\n"]
    );
    // With the unit of all roles enabled, that of one role does not run.
    write("usr/lib/systemd/system/logferry.service", OURS);
    write("etc/systemd/system/multi-user.target.wants/logferry.service", "");
    assert!(found()[0].starts_with("✗ logferry.service: "), "{:?}", found());

    write(
        "etc/systemd/system/logferry.service.d/override.conf",
        "[Service]\nReadWritePaths=/srv/spool\n",
    );
    assert_eq!(found(), [""; 0]);
}

#[test]
fn units_that_are_not_enabled_yet_are_compared_beside_one_that_is() {
    let root = tempfile::tempdir().unwrap();
    let config = parsed(
        "relay:\n  data_dir: /srv/spool\n  groups: [{name: a, listen: '127.0.0.1:0'}]\n\
         forwarder:\n  destinations: [{name: d, host: h, user: u, directory: d, password: p}]\n",
    );
    for role in ["relay", "forwarder"] {
        let unit = format!("usr/lib/systemd/system/logferry-{role}.service");
        write(root.path(), &unit, OURS);
    }
    let enabled = "etc/systemd/system/multi-user.target.wants/logferry-relay.service";
    write(root.path(), enabled, "");
    let refused = found(&config, root.path());
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(
        refused[1].starts_with("✗ logferry-forwarder.service: "),
        "{refused:?}"
    );
}

#[test]
fn housekeeper_of_the_timer_is_compared_with_the_unit_that_the_timer_starts() {
    let root = tempfile::tempdir().unwrap();
    let config = parsed("housekeeper: {data_dir: /srv/spool}\n");
    let allowed = format!("{OURS}\n[Service]\nReadWritePaths=/srv/spool\n");
    write(
        root.path(),
        "usr/lib/systemd/system/logferry-housekeeper.service",
        &allowed,
    );
    let once = include_str!("../../../deploy/systemd/logferry-housekeeper-once.service");
    write(
        root.path(),
        "usr/lib/systemd/system/logferry-housekeeper-once.service",
        once,
    );
    assert_eq!(found(&config, root.path()), [""; 0], "the timer is not enabled");

    let enabled = "etc/systemd/system/timers.target.wants/logferry-housekeeper.timer";
    write(root.path(), enabled, "");
    let refused = found(&config, root.path());
    assert!(
        refused.len() == 1 && refused[0].starts_with("✗ logferry-housekeeper-once.service: "),
        "{refused:?}"
    );
    assert_eq!(roles_of("logferry-housekeeper-once.service"), [Role::Housekeeper]);
}

#[test]
fn every_path_of_the_configuration_is_compared() {
    let root = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // The configuration is read only if these can be.
    let readable = dir.path().join("pem");
    write(dir.path(), "pem", "x");
    let config = parsed(&format!(
        "relay:\n  groups: [{{name: a, listen: '127.0.0.1:0'}}]\n  tokens_file: {tmp}\n\
         forwarder:\n  destinations:\n  - {{name: d, host: h, user: u, directory: d, key_file: /home/a/key, \
         known_hosts: /home/a/hosts}}\n  - {{name: e, host: h, user: u, directory: d, key_file: /home/a/key, \
         known_hosts: /home/a/hosts}}\n\
         monitor:\n  store_dir: /home/a/index\n  heartbeat: {{file: /srv/beat/logferry, every: 1m}}\n  \
         smtp: {{host: m, from: a@b, to: [a@b], ca_file: {tmp}}}\n\
         collector:\n  sources: [{{type: windows_events, name: win, path: '/home/a/evtx/*.evtx'}}]\n",
        tmp = readable.display()
    ));
    let refused = |unit: &str| {
        write(root.path(), &format!("usr/lib/systemd/system/{unit}"), OURS);
        let found = findings(&config, root.path()).into_iter();
        let mut found = found.filter(|item| item.name == unit);
        let detail = found.next().unwrap().detail;
        detail.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let hidden = |path: &str| format!("{path}: may not be read below /home (ProtectHome=yes)");
    let private = format!(
        "{}: is another folder inside the unit (PrivateTmp=yes); use a folder outside /tmp and /var/tmp",
        readable.canonicalize().unwrap().display()
    );
    assert_eq!(refused("logferry-relay.service"), std::slice::from_ref(&private));
    assert_eq!(
        refused("logferry-forwarder.service"),
        [hidden("/home/a/key"), hidden("/home/a/hosts")]
    );
    assert_eq!(
        refused("logferry-monitor.service"),
        [
            hidden("/home/a/index"),
            private,
            "/srv/beat: may not be written (ProtectSystem=strict)".to_owned()
        ]
    );
    assert_eq!(refused("logferry-collector.service"), [hidden("/home/a/evtx")]);
}

#[test]
fn low_ports_need_a_capability_of_the_unit() {
    let port = LOW_PORTS_END - 1;
    let root = tempfile::tempdir().unwrap();
    let config = parsed(&format!(
        "relay:\n  groups: [{{name: a, listen: '127.0.0.1:{port}'}}, {{name: b, listen: '127.0.0.1:0'}}]\n\
         collector:\n  sources: [{{type: syslog, name: net, listen: '127.0.0.2:{port}', tcp: false}}]\n"
    ));
    write(root.path(), "usr/lib/systemd/system/logferry-relay.service", OURS);
    let collector = include_str!("../../../deploy/systemd/logferry-collector.service");
    write(
        root.path(),
        "usr/lib/systemd/system/logferry-collector.service",
        collector,
    );
    let end = port + 1;
    let told = format!(
        "✗ logferry-relay.service: keeps the role from its ports:\n    \
         port of group a 127.0.0.1:{port}: ports below {end} are for root\n    \
         write this with `systemctl edit logferry-relay.service`, and then run `systemctl restart \
         logferry-relay.service`:\n    [Service]\n    AmbientCapabilities=CAP_NET_BIND_SERVICE\n    \
         CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
    );
    assert_eq!(
        found(&config, root.path()),
        [told],
        "the collector's unit has the capability"
    );

    // One of both lines is not enough.
    let drop_in = "etc/systemd/system/logferry-relay.service.d/override.conf";
    let ambient = "[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n";
    write(root.path(), drop_in, ambient);
    assert_eq!(found(&config, root.path()).len(), 1);
    let both = format!("{ambient}CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n");
    write(root.path(), drop_in, &both);
    assert_eq!(found(&config, root.path()), [""; 0]);

    let without = collector.replace("CAP_NET_BIND_SERVICE", "");
    write(
        root.path(),
        "usr/lib/systemd/system/logferry-collector.service",
        &without,
    );
    let refused = found(&config, root.path());
    assert!(
        matches!(&refused[..], [told] if told.contains(&format!("UDP port of source net 127.0.0.2:{port}: ports below"))),
        "{refused:?}"
    );

    // The unit of all roles has the capability.
    let all = include_str!("../../../deploy/systemd/logferry.service");
    write(root.path(), "usr/lib/systemd/system/logferry.service", all);
    write(
        root.path(),
        "etc/systemd/system/multi-user.target.wants/logferry.service",
        "",
    );
    assert_eq!(found(&config, root.path()), [""; 0]);
}
