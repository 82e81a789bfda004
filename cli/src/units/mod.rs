//! The installed systemd units: whether their sandbox allows what the configuration asks for, files and ports.
//!
//! A data folder on another disk is refused by the unit as "Read-only file system", which names neither the unit nor the
//! remedy. `check` finds it before the start. A new role, or a new setting with a path, is added in `used_paths`.

mod sandbox;
#[cfg(test)]
mod tests;
pub(crate) mod unit_file;
mod used_paths;

use std::path::{Path, PathBuf};

use logferry_config::Config;

use crate::listening;
use crate::output::check_item::{CheckItem, CheckState};
use crate::roles::role::Role;
use crate::units::sandbox::{UsedPaths, path_list};
use crate::units::unit_file::UnitFile;

/// The unit of `logferry run`.
const UNIT_OF_ALL: &str = "logferry.service";

/// Where the kernel says which port is the first that everybody may listen on, and what it says unless somebody changed it.
const FIRST_FREE_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const LOW_PORTS_END: u16 = 1024;

/// The timer that takes the place of the housekeeper's daemon, and the unit that it starts.
const HOUSEKEEPER_TIMER: &str = "logferry-housekeeper.timer";
const HOUSEKEEPER_ONCE: &str = "logferry-housekeeper-once.service";

/// What the units below `root` refuse of this configuration, each with the drop-in that allows it.
pub(crate) fn findings(config: &Config, root: &Path) -> Vec<CheckItem> {
    let first_free = std::fs::read_to_string(FIRST_FREE_PORT).ok();
    let first_free = first_free.and_then(|text| text.trim().parse().ok());
    findings_with(config, root, first_free.unwrap_or(LOW_PORTS_END))
}

/// The same. `first_free`: the first port that everybody may listen on.
fn findings_with(config: &Config, root: &Path, first_free: u16) -> Vec<CheckItem> {
    let found = meant(config, root).into_iter().flat_map(|(unit, roles)| {
        let mut paths = UsedPaths::default();
        for role in &roles {
            used_paths::add(*role, config, &mut paths);
        }
        let files = sandbox::compare(&unit, &paths).map(|found| {
            let refused = found.refused.join("\n");
            let detail = format!("keeps the role from its files:\n{refused}");
            problem(&unit, detail, &found.folders, &found.settings)
        });
        let ports = refused_ports(&unit, &roles, config, first_free);
        files.into_iter().chain(ports)
    });
    found.collect()
}

/// A finding about a unit, with the folders and the settings of the drop-in that ends it.
fn problem(unit: &UnitFile, detail: String, folders: &[PathBuf], settings: &[String]) -> CheckItem {
    let (name, lines) = (unit.name.as_str(), settings.join("\n"));
    // Before a disk is mounted, the role would find an empty folder and begin anew there.
    let mounts = match folders {
        [] => String::new(),
        folders => format!("[Unit]\nRequiresMountsFor={}\n", path_list(folders)),
    };
    let advice = format!(
        "write this with `systemctl edit {name}`, and then run `systemctl restart {name}`:\n{mounts}[Service]\n{lines}"
    );
    CheckItem {
        name: name.to_owned(),
        state: CheckState::Problem,
        detail,
        advice: Some(advice).filter(|_| !settings.is_empty()),
    }
}

/// The ports of these roles that only root may listen on, if the unit's user may not.
fn refused_ports(unit: &UnitFile, roles: &[Role], config: &Config, first_free: u16) -> Option<CheckItem> {
    if unit.may_listen_on_low_ports() {
        return None;
    }
    let ports = listening::ports(config).into_iter();
    // With port 0 the system chooses one that is free for all.
    let ports = ports.filter(|port| roles.contains(&port.role) && port.address.port() > 0);
    let refused: Vec<_> = ports
        .filter(|port| port.address.port() < first_free)
        .map(|port| {
            let (setting, address) = (port.setting, port.address);
            format!("{setting} {address}: ports below {first_free} are for root")
        })
        .collect();
    if refused.is_empty() {
        return None;
    }
    let detail = format!("keeps the role from its ports:\n{}", refused.join("\n"));
    let settings = ["AmbientCapabilities", "CapabilityBoundingSet"];
    let settings = settings.map(|setting| format!("{setting}=CAP_NET_BIND_SERVICE"));
    Some(problem(unit, detail, &[], &settings))
}

/// The installed units below `root` that run a role of the configuration, each with these roles.
pub(crate) fn meant(config: &Config, root: &Path) -> Vec<(UnitFile, Vec<Role>)> {
    // The unit of all roles takes the place of the others. A unit that nobody has enabled yet still shows how its role will run.
    let names = if UnitFile::is_enabled(root, UNIT_OF_ALL) {
        vec![UNIT_OF_ALL]
    } else {
        Role::ALL.map(|role| unit_of(role, root)).to_vec()
    };
    let installed = names.into_iter().filter_map(|name| {
        let mut roles = roles_of(name);
        roles.retain(|role| role.is_in(config));
        let unit = UnitFile::installed(root, name).filter(|_| !roles.is_empty())?;
        Some((unit, roles))
    });
    installed.collect()
}

/// The unit that runs only this role: the timer's, where a timer starts it.
fn unit_of(role: Role, root: &Path) -> &'static str {
    if role == Role::Housekeeper && UnitFile::is_enabled(root, HOUSEKEEPER_TIMER) {
        HOUSEKEEPER_ONCE
    } else {
        role.unit()
    }
}

/// The roles that a unit runs.
pub(crate) fn roles_of(unit: &str) -> Vec<Role> {
    let is_of_unit = |role: &Role| {
        let is_timed = unit == HOUSEKEEPER_ONCE && *role == Role::Housekeeper;
        unit == UNIT_OF_ALL || role.unit() == unit || is_timed
    };
    Role::ALL.into_iter().filter(is_of_unit).collect()
}
