//! Sections of the status: roles, mails, and the reasons for the exit code.

use std::path::Path;

use jiff::Timestamp;
use logferry_config::Config;
use logferry_inspection::status::{RoleState, SinkStatus, StatusReport, WatchedRole};
use logferry_text::{Table, count_of, duration, size, wrapped};

use super::{ago, shorten};
use crate::roles::role::Role;
use crate::service_user;

/// Incidents that are shown.
const INCIDENTS_SHOWN: usize = 20;

/// The roles that this host may run. Each role of the relay host uses the data folder, also where its section is missing.
pub(super) fn watched_roles<'a>(data_dir: &'a Path, config: &'a Config) -> Vec<WatchedRole<'a>> {
    let roles = Role::ALL.into_iter();
    let watched = roles.map(|role| {
        let folder = role.folder(config).unwrap_or(data_dir);
        // Another user's view of the files says nothing about the role.
        let is_its_user = service_user::is_owner(folder);
        WatchedRole {
            name: role.name(),
            folder,
            is_configured: role.is_in(config),
            file_problems: if is_its_user {
                service_user::own_findings(role, config)
            } else {
                Vec::new()
            },
        }
    });
    watched.collect()
}

/// A titled list, one item a line or more; nothing if there is no item.
pub(super) fn list(title: &str, items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| wrapped(&format!("- {item}"))).collect();
    if items.is_empty() {
        return items;
    }
    format!("\n{title}\n{items}")
}

/// The roles, and since when they run or not.
pub(super) fn roles(status: &StatusReport, now: Timestamp) -> String {
    let mut table = Table::new(["role", "state", "since", "host"]);
    for role in &status.roles {
        let since = match (role.since, role.once) {
            (None, _) => "never seen".to_owned(),
            (since, true) => format!("one pass, {}", ago(since, now)),
            (since, false) => ago(since, now),
        };
        let state = match (role.state, role.once) {
            (RoleState::Stopped, true) => "by cron",
            (state, _) => state.as_str(),
        };
        let host = role.host.clone().unwrap_or_else(|| "-".to_owned());
        table.row([role.name.to_owned(), state.to_owned(), since, host]);
    }
    table.section()
}

/// How far the indexer is; nothing without one.
pub(super) fn index(status: &StatusReport) -> String {
    let Some(index) = &status.indexer else {
        return String::new();
    };
    let behind = behind((index.lag_bytes, index.lag_lines, index.lag_seconds));
    let gaps = match index.gaps {
        0 => String::new(),
        gaps => format!(
            "; {} ({} were gone before)",
            count_of(gaps, "gap"),
            size(index.gap_bytes)
        ),
    };
    let sink = index.opensearch.as_ref().map(sink).unwrap_or_default();
    format!("index: {behind}{gaps}\n{sink}")
}

/// How far lines are sent to OpenSearch, and why they wait.
fn sink(sink: &SinkStatus) -> String {
    let mut facts = vec![behind((sink.lag_bytes, sink.lag_lines, sink.lag_seconds))];
    if sink.refused > 0 {
        facts.push(format!("{} refused", count_of(sink.refused, "line")));
    }
    if sink.gaps > 0 {
        let (gaps, bytes) = (count_of(sink.gaps, "gap"), size(sink.gap_bytes));
        facts.push(format!("{gaps} ({bytes} were gone before)"));
    }
    facts.extend(sink.trouble.as_ref().map(|reason| format!("waits: {reason}")));
    wrapped(&format!("opensearch: {}", facts.join("; ")))
}

fn behind((bytes, lines, seconds): (u64, u64, u64)) -> String {
    if bytes == 0 {
        return "all lines are in it".to_owned();
    }
    format!(
        "{} ({}) behind, for {}",
        count_of(lines, "line"),
        size(bytes),
        duration(std::time::Duration::from_secs(seconds))
    )
}

/// The mails that wait; nothing if there is none.
pub(super) fn mails(status: &StatusReport) -> String {
    let mails = &status.mails;
    if mails.waiting == 0 {
        return String::new();
    }
    let oldest = duration(std::time::Duration::from_secs(mails.oldest_waiting_seconds));
    format!(
        "mails: {} not sent yet, the oldest for {oldest}\n",
        count_of(mails.waiting, "mail")
    )
}

/// The open incidents, the worst first; nothing without a monitor that has seen one.
pub(super) fn incidents(status: &StatusReport, now: Timestamp) -> String {
    let lines = status.incidents.iter().map(|it| {
        let (severity, rule, subject, text) = (it.severity.as_str(), &it.rule, &it.subject, &it.text);
        let since = ago(Some(it.since), now);
        let muted = it.silenced_until.zip(it.silenced_why.as_ref());
        let muted = muted.map_or_else(String::new, |(until, why)| {
            let left = until.duration_since(now).try_into().unwrap_or_default();
            format!(" (SILENCED for {}: {why})", duration(left))
        });
        format!("{severity}: {rule} {subject}, {since}: {text}{muted}")
    });
    let lines: Vec<_> = lines.collect();
    let shown = shorten(lines, INCIDENTS_SHOWN);
    list("incidents (`logferry alerts` has what to do):", shown.into_iter())
}

/// Why the exit code is 1; nothing if it is not.
pub(super) fn problems(status: &StatusReport) -> String {
    list("exit code 1, because:", status.problems.iter().cloned())
}
