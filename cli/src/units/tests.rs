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
fn installed_units_are_compared_with_the_configuration() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
        std::fs::write(path, text).unwrap();
    };
    let config =
        "relay:\n  data_dir: /srv/spool\n  groups: [{name: a, listen: '127.0.0.1:0'}]\nhousekeeper: {}\n";
    let config = logferry_config::parse(config, Path::new("c.yaml"), &|_| None).unwrap();
    let plain = Marks {
        is_unicode: true,
        is_terminal: false,
    };
    let found = || {
        let found = findings(&config, root.path());
        found.iter().map(|item| item.as_text(plain)).collect::<Vec<_>>()
    };
    assert_eq!(found(), [""; 0], "nothing is installed");

    write("usr/lib/systemd/system/logferry-relay.service", OURS);
    assert_eq!(
        found(),
        ["✗ logferry-relay.service: keeps the role from its files:\n    \
          /srv/spool: may not be written (ProtectSystem=strict)\n    \
          write this with `systemctl edit logferry-relay.service`, and then run `systemctl restart \
          logferry-relay.service`:\n    [Service]\n    ReadWritePaths=/srv/spool\n"]
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
