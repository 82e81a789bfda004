//! `logferry.service` runs all roles in one process, so it must allow what the units of the single roles allow.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNIT_OF_ALL: &str = "logferry.service";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd")
}

/// The units of services, with their text.
fn units() -> Vec<(String, String)> {
    let files = fs::read_dir(folder()).unwrap().flatten();
    let names = files.map(|file| file.file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with(".service"))
        .map(|name| (name.clone(), fs::read_to_string(folder().join(name)).unwrap()))
        .collect()
}

/// The words of all settings of this name.
fn words<'t>(unit: &'t str, setting: &str) -> BTreeSet<&'t str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(name, _)| *name == setting);
    values.flat_map(|(_, value)| value.split_whitespace()).collect()
}

#[test]
fn unit_of_all_roles_conflicts_with_each_other_one_and_has_their_groups_and_capabilities() {
    let units = units();
    let (_, all) = units.iter().find(|(name, _)| name == UNIT_OF_ALL).unwrap();
    let mut compared = 0;
    for (name, unit) in units.iter().filter(|(name, _)| name != UNIT_OF_ALL) {
        // A single run ends by itself.
        if name != "logferry-housekeeper-once.service" {
            assert!(words(all, "Conflicts").contains(&**name), "{name}");
        }
        for setting in [
            "SupplementaryGroups",
            "AmbientCapabilities",
            "CapabilityBoundingSet",
            "RestrictAddressFamilies",
        ] {
            let (has, needs) = (words(all, setting), words(unit, setting));
            assert!(
                has.is_superset(&needs),
                "{setting}: {has:?}, {name} has {needs:?}"
            );
        }
        compared += 1;
    }
    assert_eq!(compared, 9);
}

#[test]
fn exposure_of_each_unit_is_at_most_two() {
    for (name, _) in units() {
        let looked = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20"])
            .arg(folder().join(&name))
            .output()
            .expect("systemd-analyze, of the Debian package systemd");
        let text = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(looked.status.success(), "{name}: {text}");
    }
}
