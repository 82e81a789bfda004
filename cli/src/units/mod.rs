//! The installed systemd units: whether their sandbox allows what the configuration asks for.
//!
//! A data folder on another disk is refused by the unit as "Read-only file system", which names neither the unit nor the
//! remedy. `check` finds it before the start. A new role adds its paths in `used_paths`.

mod sandbox;
#[cfg(test)]
mod tests;
mod unit_file;

use std::path::{Path, PathBuf};

use logferry_config::Config;

use crate::roles::role::Role;
use crate::units::sandbox::UsedPaths;
use crate::units::unit_file::UnitFile;

/// What the units below `root` refuse of this configuration, each with the drop-in that allows it.
pub(crate) fn findings(config: &Config, root: &Path) -> Vec<String> {
    let all = ("logferry.service", Role::ALL.to_vec());
    let single = Role::ALL.map(|role| (role.unit(), vec![role]));
    let units: Vec<_> = std::iter::once(all).chain(single).collect();
    // Where one unit is enabled the others do not run.
    let any_enabled = units.iter().any(|(name, _)| UnitFile::is_enabled(root, name));
    let is_meant = |name: &str| {
        if any_enabled {
            UnitFile::is_enabled(root, name)
        } else {
            name != "logferry.service"
        }
    };
    let units = units.into_iter().filter(|(name, _)| is_meant(name));
    let found = units.filter_map(|(name, roles)| {
        let mut paths = UsedPaths::default();
        for role in roles {
            used_paths(role, config, &mut paths);
        }
        let unit = UnitFile::installed(root, name)?;
        let found = sandbox::compare(&unit, &paths)?;
        let mut text = found.refused.join("\n");
        if !found.settings.is_empty() {
            let settings = found.settings.join("\n    ");
            text = format!(
                "{text}\nso write this with `systemctl edit {name}`, and then run `systemctl restart {name}`:\n    \
                 [Service]\n    {settings}"
            );
        }
        Some(format!("{name} keeps the role from its files:\n{text}"))
    });
    found.collect()
}

/// Adds the folders that a role writes and the files that it reads.
fn used_paths(role: Role, config: &Config, paths: &mut UsedPaths) {
    let data_dir = config.data_dirs().find(|(name, _)| *name == role.name());
    paths.written.extend(data_dir.map(|(_, folder)| resolved(folder)));
    let Some(sender) = config.sender.as_ref().filter(|_| role == Role::Sender) else {
        return;
    };
    paths.written.push(resolved(&sender.state_dir));
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
        .map_or_else(|| path.to_owned(), |(real, rest)| real.join(rest))
}
