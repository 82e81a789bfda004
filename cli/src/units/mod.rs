//! The installed systemd units: whether their sandbox allows what the configuration asks for.
//!
//! A data folder on another disk is refused by the unit as "Read-only file system", which names neither the unit nor the
//! remedy. `check` finds it before the start. A new role adds its paths in `used_paths`.

mod sandbox;
#[cfg(test)]
mod tests;
pub(crate) mod unit_file;

use std::path::{Path, PathBuf};

use logferry_config::Config;

use crate::output::check_item::{CheckItem, CheckState};
use crate::roles::role::Role;
use crate::units::sandbox::UsedPaths;
use crate::units::unit_file::UnitFile;

/// The unit of `logferry run`.
const UNIT_OF_ALL: &str = "logferry.service";

/// What the units below `root` refuse of this configuration, each with the drop-in that allows it.
pub(crate) fn findings(config: &Config, root: &Path) -> Vec<CheckItem> {
    let found = meant(config, root).into_iter().filter_map(|(unit, roles)| {
        let mut paths = UsedPaths::default();
        for role in roles {
            used_paths(role, config, &mut paths);
        }
        let name = unit.name.as_str();
        let found = sandbox::compare(&unit, &paths)?;
        let settings = found.settings.join("\n");
        let advice = format!(
            "write this with `systemctl edit {name}`, and then run `systemctl restart {name}`:\n[Service]\n{settings}"
        );
        Some(CheckItem {
            name: name.to_owned(),
            state: CheckState::Problem,
            detail: format!("keeps the role from its files:\n{}", found.refused.join("\n")),
            advice: Some(advice).filter(|_| !found.settings.is_empty()),
        })
    });
    found.collect()
}

/// The installed units below `root` that run a role of the configuration, each with these roles.
pub(crate) fn meant(config: &Config, root: &Path) -> Vec<(UnitFile, Vec<Role>)> {
    let single = Role::ALL.map(Role::unit);
    let names: Vec<_> = std::iter::once(UNIT_OF_ALL).chain(single).collect();
    // Where one unit is enabled the others do not run.
    let any_enabled = names.iter().any(|name| UnitFile::is_enabled(root, name));
    let is_meant = |name: &&str| {
        if any_enabled {
            UnitFile::is_enabled(root, name)
        } else {
            *name != UNIT_OF_ALL
        }
    };
    let installed = names.into_iter().filter(is_meant).filter_map(|name| {
        let mut roles = roles_of(name);
        roles.retain(|role| role.is_in(config));
        let unit = UnitFile::installed(root, name).filter(|_| !roles.is_empty())?;
        Some((unit, roles))
    });
    installed.collect()
}

/// The roles that a unit runs.
pub(crate) fn roles_of(unit: &str) -> Vec<Role> {
    let is_of_unit = |role: &Role| unit == UNIT_OF_ALL || role.unit() == unit;
    Role::ALL.into_iter().filter(is_of_unit).collect()
}

/// Adds the folders that a role writes and the files that it reads.
fn used_paths(role: Role, config: &Config, paths: &mut UsedPaths) {
    let data_dir = config.data_dirs().find(|(name, _)| *name == role.name());
    let data_dir = data_dir.map(|(_, folder)| resolved(folder));
    if let Some(indexer) = config.indexer.as_ref().filter(|_| role == Role::Indexer) {
        paths.written.push(resolved(&indexer.store_dir));
        return paths.read.extend(data_dir);
    }
    if let Some(console) = config.console.as_ref().filter(|_| role == Role::Console) {
        paths.written.push(resolved(&console.state_dir));
        paths.read.push(resolved(&console.store_dir));
        return paths.read.extend(data_dir);
    }
    paths.written.extend(data_dir);
    if let Some(collector) = config.collector.as_ref().filter(|_| role == Role::Collector) {
        paths.written.push(resolved(&collector.state_dir));
        return paths.read.push(resolved(&collector.sender_state_dir));
    }
    let Some(sender) = config.sender.as_ref().filter(|_| role == Role::Sender) else {
        return;
    };
    paths.written.push(resolved(&sender.state_dir));
    paths.read.extend(sender.captures.as_deref().map(resolved));
    let logs = sender.logs.iter();
    paths
        .read
        .extend(logs.map(|log| resolved(&plain_beginning(&log.path))));
}

/// The part of a glob before its first wildcard.
fn plain_beginning(pattern: &str) -> PathBuf {
    let is_plain = |part: &Path| part.to_str().is_none_or(|part| !part.contains(['*', '?', '[']));
    let parts = Path::new(pattern).components();
    parts.take_while(|part| is_plain(part.as_ref())).collect()
}

/// The path without symbolic links: the sandbox judges what they lead to. What does not exist yet is taken as it is.
fn resolved(path: &Path) -> PathBuf {
    let mut ancestors = path.ancestors();
    ancestors
        .find_map(|ancestor| {
            Some((
                std::fs::canonicalize(ancestor).ok()?,
                path.strip_prefix(ancestor).ok()?,
            ))
        })
        // An empty rest would add a slash.
        .map_or_else(
            || path.to_owned(),
            |(real, rest)| real.join(rest).components().collect(),
        )
}
