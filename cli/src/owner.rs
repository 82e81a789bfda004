//! Whose rights a command has on the folders of the roles.
//!
//! Invariant: a command of root leaves no file or lock there that the roles cannot write. It acts as the owner of the folder,
//! from before the first file until its end. An ordinary user who may not read them is told what to do.

use std::ffi::CString;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use logferry_config::ownership;
use logferry_durable::{Disk, RealDisk};
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access, chown, initgroups, setgid, setgroups, setuid};

use crate::output::exit::{Failure, Result};

/// The user of the roles in the units.
pub(crate) const SERVICE_USER: &str = "logferry";

/// The owner of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

/// As root, takes the rights of the folders' owner for good; a folder that does not exist yet will have the owner of the first
/// one above it. An error if this user has no rights on a folder.
///
/// Call it before the first file is made, and while the process has one thread.
pub(crate) fn act_as_owner(folders: &[&Path]) -> Result<()> {
    if !Uid::effective().is_root() {
        return folders.iter().try_for_each(|folder| require_rights(folder));
    }
    let mut owners: Vec<_> = folders
        .iter()
        .filter_map(|folder| Some((*folder, owner(folder)?)))
        .collect();
    owners.retain(|(_, owner)| !owner.uid.is_root());
    let Some(&(folder, first)) = owners.first() else {
        return Ok(());
    };
    if let Some((other, owner)) = owners.iter().find(|(_, owner)| owner.uid != first.uid) {
        let (folder, other) = (folder.display(), other.display());
        let (first, owner) = (user_name(first.uid), user_name(owner.uid));
        return Err(Failure::configuration(anyhow!(
            "{folder} belongs to {first} and {other} to {owner}: one process cannot act as both, and as root it would leave files \
             that neither can write. Start each role by its own unit or command (`logferry relay`, `logferry indexer` …), which \
             acts as the owner of its own folder; or, to run all roles in one process for good, first run `chown -R {first}: \
             {other}`"
        )));
    }
    let (folder, user) = (folder.display(), user_name(first.uid));
    become_owner(first).with_context(|| {
        format!(
            "{folder} belongs to {user}, and root here cannot act as {user}; run `{}`",
            as_user(&user)
        )
    })?;
    tracing::info!(
        "acting as {user}, the owner of {folder}, so that root leaves no files there that {user} cannot write"
    );
    Ok(())
}

/// As root, makes a folder for the owner of `like`, who could not make it, and those that it is in. Does nothing if it exists, or
/// for another user.
pub(crate) fn create_for_owner_of(like: &Path, folder: &Path) -> anyhow::Result<()> {
    let Some(owner) = owner(like).filter(|_| Uid::effective().is_root() && !folder.exists()) else {
        return Ok(());
    };
    // With a strict umask root's folders would be closed to the owner of the one in them.
    let missing: Vec<_> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    RealDisk.create_dir_all(folder)?;
    for made in missing {
        chown(made, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(())
}

/// The user that the files of this folder are for, if this process is root and leaves them to root; none if there is no such
/// user.
pub(crate) fn left_to_root(folder: &Path) -> Option<&'static str> {
    let is_roots = Uid::effective().is_root() && owner(folder).is_some_and(|owner| owner.uid.is_root());
    let has_user = || matches!(User::from_name(SERVICE_USER), Ok(Some(_)));
    (is_roots && has_user()).then_some(SERVICE_USER)
}

/// The advice for an ordinary user who may not read `path`; `None` if that is not the reason.
pub(crate) fn advice(path: &Path, error: &Error) -> Option<String> {
    let is_denied = error.kind() == ErrorKind::PermissionDenied && !Uid::effective().is_root();
    let folder = path.parent().filter(|_| is_denied)?;
    let Owner { uid, gid } = owner(folder)?;
    let user = if uid.is_root() {
        // `/etc/logferry` belongs to root; its group is that of the roles' user.
        let group = Group::from_gid(gid).ok().flatten()?;
        User::from_name(&group.name)
            .ok()
            .flatten()
            .map_or_else(|| "root".to_owned(), |user| user.name)
    } else {
        user_name(uid)
    };
    let me = user_name(Uid::effective());
    let refused = if path.metadata().is_ok() {
        format!(
            "belongs to {}, and the user {me} may not read it",
            ownership::owner(path)
        )
    } else {
        format!("{} is closed to the user {me}", folder.display())
    };
    Some(format!("{refused}; run `{}`", as_user(&user)))
}

fn require_rights(folder: &Path) -> Result<()> {
    match access(folder, AccessFlags::R_OK | AccessFlags::X_OK) {
        Err(nix::errno::Errno::EACCES) => {
            let user = owner(folder).map_or_else(|| "logferry".to_owned(), |owner| user_name(owner.uid));
            let (me, folder) = (user_name(Uid::effective()), folder.display());
            Err(anyhow!("{folder} is closed to the user {me}; run `{}`", as_user(&user)).into())
        }
        _ => Ok(()),
    }
}

/// The owner of the folder, or of the first folder above it that exists.
fn owner(folder: &Path) -> Option<Owner> {
    let metadata = folder
        .ancestors()
        .find_map(|folder| std::fs::metadata(folder).ok())?;
    Some(Owner {
        uid: Uid::from_raw(metadata.uid()),
        gid: Gid::from_raw(metadata.gid()),
    })
}

/// Groups first: after the user, none of them can be changed any more.
fn become_owner(owner: Owner) -> anyhow::Result<()> {
    match User::from_uid(owner.uid).ok().flatten() {
        Some(user) => initgroups(&CString::new(user.name)?, user.gid)?,
        None => setgroups(&[owner.gid])?,
    }
    setgid(owner.gid)?;
    setuid(owner.uid)?;
    Ok(())
}

fn user_name(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("#{uid}"), |user| user.name)
}

/// This command line, as another user.
fn as_user(user: &str) -> String {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let user = match user {
        "root" => String::new(),
        user => format!("-u {} ", user.replace('#', "\\#")),
    };
    format!("sudo {user}logferry {arguments}")
}
