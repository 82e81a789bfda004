//! Who may use a file: for messages about files that this process may not read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

/// The user of this process.
pub fn this_user() -> String {
    user_name(Uid::effective())
}

/// The group that files of this process get.
pub fn this_group() -> String {
    group_name(Gid::effective())
}

/// What lets this process read a folder of another user: to be in the folder's group, unless that is root's or may not read it either.
pub fn way_in(folder: &Path) -> String {
    let (user, group, shown) = (this_user(), this_group(), folder.display());
    match folder.metadata() {
        Ok(metadata) if metadata.gid() != 0 && metadata.mode() & 0o050 == 0o050 => {
            let group = group_name(Gid::from_raw(metadata.gid()));
            format!("run `usermod -aG {group} {user}`")
        }
        Ok(_) => format!("run `chgrp -R {group} {shown}` and `chmod -R g+rX {shown}`"),
        Err(_) => format!("run `setfacl -m u:{user}:x {}`", closed_above(folder).display()),
    }
}

/// `user:group (mode 0750)`.
pub fn owner(path: &Path) -> String {
    path.metadata()
        .map_or_else(|_| "somebody else".to_owned(), |metadata| owner_of(&metadata))
}

/// Why this process may not read the file, and what to do; it reads on after the path.
pub fn refusal(path: &Path) -> String {
    let user = this_user();
    let Ok(metadata) = path.metadata() else {
        let closed = closed_above(path);
        let (owner, closed) = (owner(closed), closed.display());
        return format!(
            "cannot be read: its folder {closed} belongs to {owner}, and user {user} may not enter it; run `setfacl -m \
             u:{user}:x {closed}`"
        );
    };
    let (owner, shown) = (owner_of(&metadata), path.display());
    format!("belongs to {owner}, and user {user} may not read it; run `chown {user} {shown}`")
}

/// The folder above a path that this process may not enter.
fn closed_above(path: &Path) -> &Path {
    let mut above = path.ancestors().skip(1);
    above.find(|folder| folder.metadata().is_ok()).unwrap_or(path)
}

fn owner_of(metadata: &Metadata) -> String {
    let (user, gid) = (
        user_name(Uid::from_raw(metadata.uid())),
        Gid::from_raw(metadata.gid()),
    );
    let group = group_name(gid);
    format!("{user}:{group} (mode {:04o})", metadata.mode() & 0o7777)
}

/// The name of a user, or the number.
pub fn user_name(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// The name of a group, or its number.
pub fn group_name(gid: Gid) -> String {
    let group = Group::from_gid(gid).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}
