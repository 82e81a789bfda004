//! Which roles run, by their signs of life.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::Silence;
use logferry_telemetry::{PresenceState, presence, sign_path};
use logferry_text::{count_of, duration};
use serde::Serialize;

use super::incidents::silence_of;
use crate::time::age;

/// The name of the role whose record of the destinations counts only while it runs.
const FORWARDER: &str = "forwarder";

/// For so long a single pass stands for a role that runs: cron and the timer start one every ten minutes or sooner.
const PASS_LIFETIME: Duration = Duration::from_hours(1);

/// A role that this host may run.
#[derive(Debug, Clone)]
pub struct WatchedRole<'a> {
    /// Its name.
    pub name: &'static str,
    /// The folder that it keeps its files in.
    pub folder: &'a Path,
    /// Whether it has a section in the configuration. A role without one is shown if it ever ran.
    pub is_configured: bool,
    /// The folders and keys that it cannot use, as far as the caller can tell. What the role says itself is preferred.
    pub file_problems: Vec<String>,
}

/// Whether a role runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleState {
    /// It gave a sign within the last 30 s.
    Running,
    /// It gave one before.
    Stopped,
    /// It never ran here.
    Unknown,
}

impl RoleState {
    /// The state's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// The state of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleStatus {
    /// Its name.
    pub name: &'static str,
    /// The host that it last ran on.
    pub host: Option<String>,
    /// Whether it runs.
    pub state: RoleState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Its last sign.
    pub last_seen_at: Option<Timestamp>,
    /// Until when nobody is told of it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Timestamp>,
    /// Whether its last run was a single pass, as cron makes them.
    pub once: bool,
    /// Whether somebody has to act, as it does not run and made no pass lately.
    #[serde(skip)]
    pub is_missing: bool,
    /// The file of its last sign, if it has no section any more.
    #[serde(skip)]
    pub left_sign: Option<PathBuf>,
    /// The folders and keys that it cannot use, a sentence each.
    pub problems: Vec<String>,
}

impl RoleStatus {
    fn of(role: &WatchedRole<'_>, now: Timestamp) -> Option<Self> {
        let sign = presence(role.folder, role.name, now);
        if sign.is_none() && !role.is_configured {
            return None;
        }
        let state = sign.as_ref().map_or(RoleState::Unknown, |sign| match sign.state {
            PresenceState::Running => RoleState::Running,
            PresenceState::Stopped | PresenceState::Once => RoleState::Stopped,
        });
        let once = sign
            .as_ref()
            .is_some_and(|sign| sign.state == PresenceState::Once);
        let last_seen_at = sign.as_ref().map(|sign| sign.last_seen);
        let is_passed = once && last_seen_at.is_some_and(|seen| age(seen, now) <= PASS_LIFETIME);
        Some(Self {
            name: role.name,
            state,
            since: sign.as_ref().map(|sign| sign.since),
            last_seen_at,
            silenced_until: None,
            once,
            is_missing: state != RoleState::Running && !is_passed,
            left_sign: (!role.is_configured).then(|| sign_path(role.folder, role.name)),
            problems: match &sign {
                Some(sign) if state == RoleState::Running => sign.problems.clone(),
                _ => role.file_problems.clone(),
            },
            host: sign.map(|sign| sign.host),
        })
    }

    /// Why an operator has to act, if so: each sentence behind the rule whose incidents tell the same.
    pub(super) fn problems(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, String)> {
        let (name, files) = (self.name, self.problems.len() as u64);
        let files = (files > 0).then(|| {
            let files = count_of(files, "path");
            let text = format!(
                "the {name} cannot use {files} of its configuration: see above, and run `logferry check`"
            );
            ("files", text)
        });
        let absence = self.absence(now).filter(|_| self.silenced_until.is_none());
        let absence = absence.map(|text| ("role", text));
        absence.into_iter().chain(files)
    }

    /// That the role does not run though it should.
    fn absence(&self, now: Timestamp) -> Option<String> {
        let name = self.name;
        if !self.is_missing {
            return None;
        }
        let Some(seen) = self.last_seen_at else {
            return Some(format!("the {name} has a section and never ran here: start it"));
        };
        let ago = duration(age(seen, now));
        Some(if let Some(sign) = &self.left_sign {
            let sign = sign.display();
            format!(
                "the {name} has no section any more, and last ran {ago} ago: put the section back, or remove {sign}"
            )
        } else if self.once {
            format!("the last pass of the {name} was {ago} ago: start it, or look at cron or its timer")
        } else {
            format!("the {name} does not run, it was last seen {ago} ago: start it, or read its log")
        })
    }
}

/// The roles that are configured or ever ran here.
pub(super) fn statuses(roles: &[WatchedRole<'_>], silences: &[Silence], now: Timestamp) -> Vec<RoleStatus> {
    let statuses = roles.iter().filter_map(|role| RoleStatus::of(role, now));
    let with_silence = statuses.map(|role| RoleStatus {
        silenced_until: silence_of(silences, role.name, now).map(|silence| silence.until),
        ..role
    });
    with_silence.collect()
}

/// Whether what the forwarder last said of its destinations may be out of date, as it does not run.
pub fn is_forwarder_down(roles: &[RoleStatus]) -> bool {
    let forwarder = roles.iter().find(|role| role.name == FORWARDER);
    forwarder.is_some_and(|role| role.state != RoleState::Running)
}
