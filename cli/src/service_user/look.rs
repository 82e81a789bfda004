//! Looks at the files of a role as the user of this process.

use std::io::ErrorKind;
use std::path::Path;

use logferry_config::ownership::{self, owner, this_user};
use logferry_config::{Config, Destination, HostKeyPolicy, Login, RelaySettings};
use logferry_durable::{Disk, RealDisk};
use logferry_text::size;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::roles::role::Role;
use crate::units::unit_file::UnitFile;

/// What keeps a role from its logs, folders and keys. `unit`: it makes some folders at its start.
pub(super) fn findings(role: Role, config: &Config, unit: Option<&UnitFile>) -> Vec<String> {
    let sender = config.sender.iter().filter(|_| role == Role::Sender);
    let logs = sender.flat_map(|sender| logferry_sender::log_findings(&sender.logs));
    let logs = logs.map(|found| format!("{}: {}", found.path.display(), found.reason));
    // A relay that runs tells its disk itself.
    let relay = config.relay.as_ref().filter(|_| role == Role::Relay);
    logs.chain(file_findings(role, config, unit))
        .chain(relay.and_then(low_disk))
        .collect()
}

/// What keeps a role from its folders and keys, one sentence each.
pub(super) fn file_findings(role: Role, config: &Config, unit: Option<&UnitFile>) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(folder) = role.folder(config) {
        let setting = match role {
            Role::Sender | Role::Collector => "state_dir",
            Role::Indexer => "store_dir",
            Role::Relay | Role::Forwarder | Role::Monitor | Role::Housekeeper => "data_dir",
        };
        findings.extend(check_folder(role, setting, folder, unit));
        findings.extend(written_files(role, folder));
    }
    match role {
        Role::Sender => findings.extend(
            config
                .sender
                .as_ref()
                .and_then(logferry_sender::credential_finding),
        ),
        Role::Monitor => {
            let smtp = config.monitor.as_ref().map(|monitor| &monitor.smtp);
            findings.extend(smtp.and_then(logferry_monitor::smtp_finding));
        }
        Role::Forwarder => {
            let forwarder = config.forwarder.iter();
            let destinations = forwarder.flat_map(|forwarder| &forwarder.destinations);
            findings.extend(destinations.flat_map(destination_findings));
        }
        Role::Indexer => {
            let spool = config.indexer.as_ref().map(|indexer| indexer.data_dir.as_path());
            findings.extend(spool.and_then(check_spool));
        }
        Role::Collector => {
            let folder = config
                .collector
                .as_ref()
                .map(|collector| collector.sender_state_dir.as_path());
            findings.extend(folder.and_then(check_sender_folder));
        }
        Role::Relay | Role::Housekeeper => {}
    }
    findings
}

fn low_disk(relay: &RelaySettings) -> Option<String> {
    let (folder, least) = (&relay.data_dir, relay.limits.min_free_disk);
    // A full disk is low even if nothing has to stay free.
    let free = RealDisk
        .free_bytes(folder)
        .ok()
        .filter(|free| *free < least.max(1))?;
    let (shown, free, least) = (folder.display(), size(free), size(least));
    Some(format!(
        "{shown} (relay.data_dir) has {free} free, less than limits.min_free_disk ({least}): the relay takes no lines; make space \
         there"
    ))
}

fn destination_findings(destination: &Destination) -> Vec<String> {
    let name = destination.name.as_str();
    let key = match &destination.login {
        Login::Key { file, .. } | Login::KeyAndPassword { file, .. } => Some(file),
        Login::Password(_) | Login::Agent { .. } => None,
    };
    let refused = key.and_then(|file| check_file(name, "key_file", file));
    let unusable = match &refused {
        None => logferry_forwarder::key_finding(destination),
        Some(_) => None,
    };
    let told = |problem: String| format!("destination {name}: {problem}");
    let known_hosts = match &destination.host_key {
        HostKeyPolicy::KnownHosts(file) => check_file(name, "known_hosts", file)
            .or_else(|| logferry_forwarder::known_hosts_finding(destination).map(told)),
        HostKeyPolicy::Fingerprint(_) => None,
    };
    let unusable = unusable.map(told);
    refused.into_iter().chain(unusable).chain(known_hosts).collect()
}

/// A folder that the role writes.
fn check_folder(role: Role, setting: &str, folder: &Path, unit: Option<&UnitFile>) -> Option<String> {
    let (shown, user) = (folder.display(), this_user());
    let role = role.name();
    if folder.exists() {
        if !folder.is_dir() {
            return Some(format!(
                "{shown} ({role}.{setting}) is a file, and has to be a folder; move the file away, or set another folder"
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

/// Files in its folder that the role writes and may not: a command that another user has run there may have left them.
fn written_files(role: Role, folder: &Path) -> impl Iterator<Item = String> {
    let files: &[&str] = match role {
        Role::Sender => &["lock", "checkpoint", "status.json"],
        Role::Relay => &["relay.lock", "ledger.db", "ledger.db-wal", "ledger.db-shm"],
        Role::Forwarder => &["forwarder.lock"],
        Role::Monitor => &["monitor.lock"],
        Role::Housekeeper => &["housekeeper.lock"],
        Role::Collector => &["collector.lock", "status.json"],
        Role::Indexer => &["indexer.lock", "index.db", "index.db-wal", "index.db-shm"],
    };
    let paths = files.iter().map(|name| folder.join(name));
    let refused =
        paths.filter(|path| path.is_file() && access(path, AccessFlags::W_OK) == Err(Errno::EACCES));
    refused.map(|path| {
        let (shown, owner, user) = (path.display(), owner(&path), this_user());
        format!("{shown} belongs to {owner}, and user {user} may not write it; run `chown {user}: {shown}`")
    })
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

/// The sender's folder, in which it says what of the captures the relay has. The sender makes it.
fn check_sender_folder(folder: &Path) -> Option<String> {
    let error = access(folder, AccessFlags::R_OK | AccessFlags::X_OK).err()?;
    let (shown, user) = (folder.display(), this_user());
    (error == Errno::EACCES).then(|| {
        format!(
            "{shown} (collector.sender_state_dir) belongs to {}, and user {user} may not read it, so captures that are shipped would \
             stay; run `usermod -aG GROUP {user}` with the group of the folder",
            owner(folder)
        )
    })
}

/// A file that the role reads.
fn check_file(of: &str, setting: &str, file: &Path) -> Option<String> {
    let error = std::fs::File::open(file).err()?;
    let shown = file.display();
    let reason = match error.kind() {
        ErrorKind::NotFound if setting == "known_hosts" => {
            format!("does not exist; `logferry trust {of}` shows the host key and writes it there")
        }
        ErrorKind::NotFound => {
            format!("does not exist; make the key (`ssh-keygen -t ed25519 -f {shown}`), or correct the path")
        }
        ErrorKind::PermissionDenied => ownership::refusal(file),
        _ => format!("cannot be read: {error}"),
    };
    Some(format!("destination {of}: {setting} {shown} {reason}"))
}
