//! The installed systemd units: whether their sandbox allows what the configuration asks for.
//!
//! A data folder on another disk is refused by the unit as "Read-only file system", which names neither the unit nor the
//! remedy. `check` finds it before the start. A new role, or a new setting with a path, is added in `used_paths`.

mod sandbox;
#[cfg(test)]
mod tests;
pub(crate) mod unit_file;
mod used_paths;

use std::path::Path;

use logferry_config::Config;

use crate::output::check_item::{CheckItem, CheckState};
use crate::roles::role::Role;
use crate::units::sandbox::UsedPaths;
use crate::units::unit_file::UnitFile;

/// The unit of `logferry run`.
const UNIT_OF_ALL: &str = "logferry.service";

/// The timer that takes the place of the housekeeper's daemon, and the unit that it starts.
const HOUSEKEEPER_TIMER: &str = "logferry-housekeeper.timer";
const HOUSEKEEPER_ONCE: &str = "logferry-housekeeper-once.service";

/// What the units below `root` refuse of this configuration, each with the drop-in that allows it.
pub(crate) fn findings(config: &Config, root: &Path) -> Vec<CheckItem> {
    let found = meant(config, root).into_iter().filter_map(|(unit, roles)| {
        let mut paths = UsedPaths::default();
        for role in &roles {
            used_paths::add(*role, config, &mut paths);
        }
        let found = sandbox::compare(&unit, &paths)?;
        let refused = found.refused.join("\n");
        let detail = format!("keeps the role from its files:\n{refused}");
        Some(problem(&unit, detail, &found.settings))
    });
    found.collect()
}

/// A finding about a unit, with the settings of the drop-in that ends it.
fn problem(unit: &UnitFile, detail: String, settings: &[String]) -> CheckItem {
    let (name, lines) = (unit.name.as_str(), settings.join("\n"));
    let advice = format!(
        "write this with `systemctl edit {name}`, and then run `systemctl restart {name}`:\n[Service]\n{lines}"
    );
    CheckItem {
        name: name.to_owned(),
        state: CheckState::Problem,
        detail,
        advice: Some(advice).filter(|_| !settings.is_empty()),
    }
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
