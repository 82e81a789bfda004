//! Looks at the files of a role as the user of this process.

use std::io::ErrorKind;
use std::path::Path;

use logferry_config::ownership::{self, owner, this_group, this_user, way_in};
use logferry_config::{Config, Destination, HostKeyPolicy, Login};
use logferry_ledger::BatchState;
use logferry_text::count_of;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::RoleFinding;
use crate::roles::role::Role;
use crate::units::unit_file::UnitFile;

/// What findings about inotify(7) are about.
pub(crate) const INOTIFY: &str = "inotify";

/// Folders of batches that are named.
const FOLDERS_NAMED: usize = 3;

/// What keeps a role from its logs, folders and keys. `unit`: it makes some folders at its start.
pub(super) fn findings(role: Role, config: &Config, unit: Option<&UnitFile>) -> Vec<RoleFinding> {
    let sender = || config.sender.iter().filter(|_| role == Role::Sender);
    let logs = sender().flat_map(|sender| logferry_sender::log_findings(&sender.logs));
    let logs = logs.map(|found| format!("{}: {}", found.path.display(), found.reason));
    let files = logs
        .chain(file_findings(role, config, unit))
        .map(|text| RoleFinding {
            about: role.name().to_owned(),
            text,
        });
    // The limits of inotify are each user's own.
    let watches = sender().filter_map(|sender| logferry_sender::watch_finding(&sender.logs));
    let watches = watches.map(|text| RoleFinding {
        about: INOTIFY.to_owned(),
        text,
    });
    files.chain(watches).collect()
}

/// What keeps a role from its folders and keys, one sentence each.
pub(super) fn file_findings(role: Role, config: &Config, unit: Option<&UnitFile>) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(folder) = role.folder(config) {
        let setting = match role {
            Role::Sender | Role::Collector | Role::Console => "state_dir",
            Role::Indexer => "store_dir",
            Role::Relay | Role::Forwarder | Role::Monitor | Role::Housekeeper => "data_dir",
        };
        findings.extend(check_folder(role, setting, folder, unit));
        findings.extend(written_files(role, folder));
    }
    match role {
        Role::Sender => {
            findings.extend(
                config
                    .sender
                    .as_ref()
                    .and_then(logferry_sender::credential_finding),
            );
            let captures = config
                .sender
                .as_ref()
                .and_then(|sender| sender.captures.as_deref());
            findings.extend(captures.and_then(check_captures));
        }
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
            findings.extend(spool.and_then(|folder| check_read_folder("indexer.data_dir", folder)));
        }
        Role::Console => {
            let read = config.console.iter().flat_map(|console| {
                let (spool, index) = (console.data_dir.as_path(), console.store_dir.as_path());
                [("console.data_dir", spool), ("console.store_dir", index)]
            });
            findings.extend(read.filter_map(|(setting, folder)| check_read_folder(setting, folder)));
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
    let (shown, user, group) = (folder.display(), this_user(), this_group());
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
                "belongs to {}, and user {user} may not write there; run `chown -R {user}:{group} {shown}`",
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
        "{shown} ({role}.{setting}) does not exist, and user {user} may not make it in {} ({}); run `install -d -o {user} -g {group} -m \
         0750 {shown}`",
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
        Role::Housekeeper => &["housekeeper.lock", "housekeeper-daemon.lock"],
        Role::Collector => &["collector.lock", "status.json"],
        Role::Indexer => &["indexer.lock", "index.db", "index.db-wal", "index.db-shm"],
        Role::Console => &["console.lock", "console.db", "console.db-wal", "console.db-shm"],
    };
    let spool = match role {
        Role::Relay | Role::Forwarder | Role::Housekeeper => refused_folders(folder),
        Role::Sender | Role::Monitor | Role::Collector | Role::Indexer | Role::Console => Vec::new(),
    };
    let paths = files.iter().map(|name| folder.join(name));
    let refused =
        paths.filter(|path| path.is_file() && access(path, AccessFlags::W_OK) == Err(Errno::EACCES));
    refused
        .map(|path| {
            let (shown, owner, user, group) = (path.display(), owner(&path), this_user(), this_group());
            format!(
                "{shown} belongs to {owner}, and user {user} may not write it; run `chown {user}:{group} {shown}`"
            )
        })
        .chain(spool)
}

/// Folders of batches that this user may not write: the first ones, and how many more there are.
fn refused_folders(data_dir: &Path) -> Vec<String> {
    let is_refused =
        |folder: &Path| access(folder, AccessFlags::W_OK | AccessFlags::X_OK) == Err(Errno::EACCES);
    let mut refused = Vec::new();
    for state in BatchState::ALL.map(|state| data_dir.join(state.as_str())) {
        let entries = std::fs::read_dir(&state).into_iter().flatten().flatten();
        let sources = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
        let mut sources: Vec<_> = sources.filter(|path| is_refused(path)).collect();
        sources.sort_unstable();
        refused.extend(Some(state).filter(|state| is_refused(state)));
        refused.extend(sources);
    }
    let more = refused.len().saturating_sub(FOLDERS_NAMED);
    let (user, group) = (this_user(), this_group());
    let named = refused.iter().take(FOLDERS_NAMED).map(|path| {
        let (shown, owner) = (path.display(), owner(path));
        format!(
            "{shown} belongs to {owner}, and user {user} may not write there; run `chown -R {user}:{group} {shown}`"
        )
    });
    let shown = data_dir.display();
    let more = (more > 0).then(|| {
        let folders = count_of(more as u64, "more folder");
        format!("user {user} may not write {folders} of {shown}; run `chown -R {user}:{group} {shown}`")
    });
    named.chain(more).collect()
}

/// A folder that the role only reads. Another role makes it.
fn check_read_folder(setting: &str, folder: &Path) -> Option<String> {
    let error = access(folder, AccessFlags::R_OK | AccessFlags::X_OK).err()?;
    let (shown, user) = (folder.display(), this_user());
    (error == Errno::EACCES).then(|| {
        format!(
            "{shown} ({setting}) belongs to {}, and user {user} may not read it; {}",
            owner(folder),
            way_in(folder)
        )
    })
}

/// The collector's folder, whose captures the sender reads. The collector makes it.
fn check_captures(folder: &Path) -> Option<String> {
    let error = access(folder, AccessFlags::R_OK | AccessFlags::X_OK).err()?;
    let (shown, user) = (folder.display(), this_user());
    (error == Errno::EACCES).then(|| {
        format!(
            "{shown} (sender.captures) belongs to {}, and user {user} may not read it, so records of the collector are not shipped; \
             {}",
            owner(folder),
            way_in(folder)
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
             stay; {}",
            owner(folder),
            way_in(folder)
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
