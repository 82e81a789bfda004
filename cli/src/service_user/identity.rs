//! The user and the groups that a unit runs as (systemd.exec(5), "User/Group Identity").

use std::ffi::CString;

use anyhow::Context;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist, setgid, setgroups, setuid};

use crate::units::unit_file::UnitFile;

/// Who a unit runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceIdentity {
    pub(super) name: String,
    pub(super) uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl ServiceIdentity {
    /// The identity of a unit; an error is a sentence about a user or a group that does not exist.
    pub(super) fn of(unit: &UnitFile) -> Result<Self, String> {
        let name = if unit.user.is_empty() { "root" } else { &unit.user };
        let unknown = |kind: &str, name: &str, remedy: &str| {
            format!("{}: there is no {kind} {name} on this host; {remedy}", unit.name)
        };
        let user = match name.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(name),
        };
        let user = user.ok().flatten().ok_or_else(|| {
            unknown(
                "user",
                name,
                &format!("create it with `useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}`"),
            )
        })?;
        let group_id = |name: &str| {
            let group = match name.parse() {
                Ok(gid) => Group::from_gid(Gid::from_raw(gid)),
                Err(_) => Group::from_name(name),
            };
            let group = group.ok().flatten();
            let remedy = "the unit does not start without it: set another with `systemctl edit`";
            group
                .map(|group| group.gid)
                .ok_or_else(|| unknown("group", name, remedy))
        };
        let gid = if unit.group.is_empty() {
            user.gid
        } else {
            group_id(&unit.group)?
        };
        let login = CString::new(user.name.as_str()).unwrap_or_default();
        let mut groups = getgrouplist(&login, gid).unwrap_or_default();
        for name in &unit.groups {
            groups.push(group_id(name)?);
        }
        groups.sort_unstable_by_key(|gid| gid.as_raw());
        groups.dedup();
        Ok(Self {
            name: user.name,
            uid: user.uid,
            gid,
            groups,
        })
    }

    /// Gives up the identity of root for this one, for good. Groups go first: afterwards nobody may change them.
    pub(super) fn assume(&self) -> anyhow::Result<()> {
        let failed = || format!("cannot become user {}", self.name);
        setgroups(&self.groups).with_context(failed)?;
        setgid(self.gid).with_context(failed)?;
        setuid(self.uid).with_context(failed)
    }
}
