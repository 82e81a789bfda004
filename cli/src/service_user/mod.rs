//! What keeps a role from its files, seen as the user that its unit runs as.
//!
//! Only the kernel knows what a user may read: mode bits, ACLs, security modules and network file systems decide together.
//! So `check` run by root starts itself again as that user (`identity`), and that process looks (`look`). Run by anybody
//! else it looks as that person. A new role adds its files in `look`.

mod identity;
pub(crate) mod look;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use logferry_config::Config;
use logferry_config::ownership::this_user;
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::roles::role::{Role, load_for};
use crate::service_user::identity::ServiceIdentity;
use crate::units;
use crate::units::unit_file::UnitFile;

/// What keeps a role from its files, or from its work with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleFinding {
    /// The role's name, or that of a thing of the system that it needs.
    pub(crate) about: String,
    /// One sentence.
    pub(crate) text: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct LookResult {
    pub(crate) findings: Vec<RoleFinding>,
    /// The roles that were looked at, each with the user.
    pub(crate) users: Vec<(Role, String)>,
    /// As whom it was looked, if that is not the user of the unit.
    pub(crate) note: Option<String>,
}

/// Looks for each role of the configuration, as the user of its unit if this process may become that user.
pub(crate) fn look(file: &Path, config: &Config, root: &Path) -> LookResult {
    let mut result = LookResult::default();
    let mut left: Vec<Role> = Role::ALL.into_iter().filter(|role| role.is_in(config)).collect();
    for (unit, roles) in units::meant(config, root) {
        left.retain(|role| !roles.contains(role));
        let identity = match ServiceIdentity::of(&unit) {
            Ok(identity) => identity,
            Err(problem) => {
                result.findings.push(RoleFinding::of(&roles, problem));
                continue;
            }
        };
        let users = roles.iter().map(|role| (*role, identity.name.clone()));
        result.users.extend(users);
        let here = Uid::effective();
        if here.is_root() && !identity.uid.is_root() {
            match look_in_child(file, &unit) {
                Ok(findings) => result.findings.extend(findings),
                Err(error) => {
                    let text = format!("cannot look as user {}: {error:#}", unit.user);
                    result.findings.push(RoleFinding::of(&roles, text));
                }
            }
            continue;
        }
        if here != identity.uid {
            let name = User::from_uid(here).ok().flatten();
            let name = name.map_or_else(|| here.to_string(), |user| user.name);
            result.note = Some(format!(
                "files were looked at as {name}; {} runs as {}: `sudo logferry check` looks as that user",
                unit.name, identity.name
            ));
        }
        result.findings.extend(look_for(&roles, config, Some(&unit)));
    }
    result.findings.extend(look_for(&left, config, None));
    let users = left.iter().map(|role| (*role, this_user()));
    result.users.extend(users);
    result.findings.dedup();
    result
}

/// What keeps a role from its folders and keys, seen as the user of this process; one sentence each.
pub(crate) fn own_findings(role: Role, config: &Config) -> Vec<String> {
    look::file_findings(role, config, None)
}

/// Whether this process has the user whose folder this is.
pub(crate) fn is_owner(folder: &Path) -> bool {
    folder
        .metadata()
        .is_ok_and(|metadata| metadata.uid() == Uid::effective().as_raw())
}

impl RoleFinding {
    /// A finding about the one role of a unit, or about all of its roles.
    fn of(roles: &[Role], text: String) -> Self {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        Self {
            about: names.join(", "),
            text,
        }
    }
}

fn look_for(roles: &[Role], config: &Config, unit: Option<&UnitFile>) -> Vec<RoleFinding> {
    let findings = roles.iter().flat_map(|role| look::findings(*role, config, unit));
    findings.collect()
}

/// Starts this program again, to look as the user of the unit. It prints each finding as a line of JSON.
fn look_in_child(file: &Path, unit: &UnitFile) -> anyhow::Result<Vec<RoleFinding>> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let output = Command::new(program)
        .arg("-c")
        .arg(file)
        .args(["check", "--look-as", &unit.name])
        .stdin(Stdio::null())
        .output()
        .context("cannot start this program again")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("it printed no text")?;
    let findings = text
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>();
    findings.context("it printed no list of findings")
}

/// The other side of [`look_in_child`]: becomes the user of the unit for good, looks, and prints.
pub(crate) fn run_child(file: &Path, unit: &str) -> Result {
    let root = Path::new("/");
    let unit = UnitFile::installed(root, unit).with_context(|| format!("unit {unit} is not installed"))?;
    let identity = ServiceIdentity::of(&unit).map_err(anyhow::Error::msg)?;
    identity.assume()?;
    let roles = units::roles_of(&unit.name);
    let one = roles.as_slice();
    let loaded = match one {
        [role] => load_for(file, Some(*role)),
        _ => load_for(file, None),
    };
    let is_refused = File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let findings = match loaded {
        Err(_) if is_refused => {
            let (file, user) = (file.display(), &identity.name);
            let group = if unit.group.is_empty() { user } else { &unit.group };
            let text = format!(
                "{file}: {} runs as user {user}, who may not read it; run `chgrp {group} {file} && chmod 0640 {file}`",
                unit.name
            );
            vec![RoleFinding::of(&roles, text)]
        }
        Ok(config) => {
            let roles: Vec<_> = roles.into_iter().filter(|role| role.is_in(&config)).collect();
            look_for(&roles, &config, Some(&unit))
        }
        Err(Failure::Configuration(error) | Failure::Work(error)) => {
            let text = format!(
                "{} runs as user {}, for whom the configuration is not valid: {error:#}",
                unit.name, identity.name
            );
            vec![RoleFinding::of(&roles, text)]
        }
    };
    for finding in findings {
        console::print(&(serde_json::to_string(&finding)? + "\n"))?;
    }
    Ok(CommandOutcome::Fine)
}
