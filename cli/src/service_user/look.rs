//! Looks at the files of a role as the user of this process.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use logferry_config::{Config, HostKeyPolicy, Login};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access};

use crate::roles::role::Role;
use crate::units::unit_file::UnitFile;

/// What keeps a role from its logs, folders and keys. `unit`: it makes some folders at its start.
pub(super) fn findings(role: Role, config: &Config, unit: Option<&UnitFile>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut folders: Vec<(&str, PathBuf)> = Vec::new();
    let data_dir = config.data_dirs().find(|(name, _)| *name == role.name());
    let data_dir = data_dir.map(|(_, folder)| folder);
    if let Some(indexer) = config.indexer.as_ref().filter(|_| role == Role::Indexer) {
        folders.push(("store_dir", indexer.store_dir.clone()));
        findings.extend(data_dir.and_then(check_spool));
    } else {
        folders.extend(data_dir.map(|folder| ("data_dir", folder.to_owned())));
    }
    if let Some(sender) = config.sender.as_ref().filter(|_| role == Role::Sender) {
        let found = logferry_sender::log_findings(&sender.logs);
        findings.extend(
            found
                .iter()
                .map(|found| format!("{}: {}", found.path.display(), found.reason)),
        );
        folders.push(("state_dir", sender.state_dir.clone()));
    }
    for (setting, folder) in folders {
        findings.extend(check_folder(role, setting, &folder, unit));
    }
    if role == Role::Forwarder {
        let forwarder = config.forwarder.iter();
        for destination in forwarder.flat_map(|forwarder| &forwarder.destinations) {
            let key = match &destination.login {
                Login::Key { file, .. } | Login::KeyAndPassword { file, .. } => Some(file),
                Login::Password(_) | Login::Agent { .. } => None,
            };
            let name = format!("destination {}", destination.name);
            findings.extend(key.and_then(|file| check_file(&name, "key_file", file)));
            if let HostKeyPolicy::KnownHosts(file) = &destination.host_key {
                findings.extend(check_file(&name, "known_hosts", file));
            }
        }
    }
    findings
}

/// A folder that the role writes.
fn check_folder(role: Role, setting: &str, folder: &Path, unit: Option<&UnitFile>) -> Option<String> {
    let (shown, user) = (folder.display(), this_user());
    let role = role.name();
    if folder.exists() {
        if !folder.is_dir() {
            return Some(format!(
                "{shown} ({role}.{setting}) is no folder; choose another one"
            ));
        }
        let error = access(folder, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).err()?;
        let reason = match error {
            Errno::EACCES => format!(
                "belongs to {}, and user {user} may not write there; run `chown -R {user}: {shown}`",
                owner(folder)
            ),
            error => format!("cannot be written: {}", error.desc()),
        };
        return Some(format!("{shown} ({role}.{setting}) {reason}"));
    }
    // systemd makes the folders of `StateDirectory=` at the start.
    if unit.is_some_and(|unit| unit.writable.iter().any(|made| folder.starts_with(made))) {
        return None;
    }
    let parent = folder.ancestors().skip(1).find(|ancestor| ancestor.exists())?;
    let error = access(parent, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(format!(
        "{shown} ({role}.{setting}) does not exist, and user {user} may not make it in {} ({}); run `install -d -o {user} -m 0750 {shown}`",
        parent.display(),
        error.desc()
    ))
}

/// The relay's folder, which the indexer only reads. The relay makes it.
fn check_spool(folder: &Path) -> Option<String> {
    let error = access(folder, AccessFlags::R_OK | AccessFlags::X_OK).err()?;
    let (shown, user) = (folder.display(), this_user());
    (error == Errno::EACCES).then(|| {
        format!(
            "{shown} (indexer.data_dir) belongs to {}, and user {user} may not read it; run `usermod -aG GROUP {user}` with the \
             group of the folder",
            owner(folder)
        )
    })
}

/// A file that the role reads.
fn check_file(of: &str, setting: &str, file: &Path) -> Option<String> {
    let error = std::fs::File::open(file).err()?;
    let (shown, user) = (file.display(), this_user());
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound if setting == "known_hosts" => {
            "does not exist; `logferry trust` shows the host key and writes it there".to_owned()
        }
        std::io::ErrorKind::NotFound => "does not exist; make the key, or correct the path".to_owned(),
        std::io::ErrorKind::PermissionDenied if file.exists() => format!(
            "belongs to {}, and user {user} may not read it; run `chown {user} {shown}`",
            owner(file)
        ),
        std::io::ErrorKind::PermissionDenied => {
            format!("is in a folder that user {user} may not enter; give the folder the group of that user")
        }
        _ => format!("cannot be read: {error}"),
    };
    Some(format!("{of}: {setting} {shown} {reason}"))
}

fn this_user() -> String {
    name_of(Uid::effective())
}

fn name_of(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// `user:group (mode 0750)`.
fn owner(path: &Path) -> String {
    let Ok(metadata) = path.metadata() else {
        return "somebody else".to_owned();
    };
    let (user, gid) = (
        name_of(Uid::from_raw(metadata.uid())),
        Gid::from_raw(metadata.gid()),
    );
    let group = Group::from_gid(gid).ok().flatten();
    let group = group.map_or_else(|| gid.to_string(), |group| group.name);
    format!("{user}:{group} (mode {:04o})", metadata.mode() & 0o7777)
}
