//! Sections of the status: roles, mails, and the reasons for the exit code.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Config;
use logferry_inspection::status::{RoleState, SinkStatus, StatusReport, WatchedRole};
use logferry_text::{Table, count, count_of, duration, size, wrapped_to};

use crate::output::age::ago;
use crate::output::index_progress::{behind, index_progress};
use crate::output::list::list;
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

/// At most `shown` of the entries, and how many more there are.
pub(super) fn shorten(mut entries: Vec<String>, shown: usize) -> Vec<String> {
    let more = entries.len().saturating_sub(shown);
    entries.truncate(shown);
    entries.extend((more > 0).then(|| format!("and {} more; --json has all", count(more as u64))));
    entries
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
            _ if role.is_missing && role.silenced_until.is_some() => "silenced",
            (RoleState::Stopped, true) => "by cron",
            (state, _) => state.as_str(),
        };
        let host = role.host.clone().unwrap_or_else(|| "-".to_owned());
        table.row([role.name.to_owned(), state.to_owned(), since, host]);
    }
    table.section()
}

/// The last run of the housekeeper; nothing before the first one.
pub(super) fn housekeeper(status: &StatusReport, now: Timestamp) -> String {
    let Some(run) = &status.housekeeper else {
        return String::new();
    };
    let error = run.error.as_ref().map(|error| format!("; FAILED: {error}"));
    format!(
        "housekeeper: {}, took {:.1} s: {} compressed, {} deleted{}, {} freed{}\n",
        ago(Some(run.last_run_at), now),
        run.duration_seconds,
        count(run.compressed),
        count(run.deleted + run.deleted_early),
        match run.deleted_early {
            0 => String::new(),
            early => format!(" ({} BEFORE THEIR AGE: the disk was too full)", count(early)),
        },
        size(run.freed_bytes),
        error.unwrap_or_default(),
    )
}

/// How far the indexer is; nothing without one.
pub(super) fn index(status: &StatusReport, now: Timestamp, columns: usize) -> String {
    let Some(index) = &status.indexer else {
        return String::new();
    };
    let progress = index_progress(index, now);
    let gaps = match index.gaps {
        0 => String::new(),
        gaps => format!(
            "; {} ({} were gone before)",
            count_of(gaps, "gap"),
            size(index.gap_bytes)
        ),
    };
    let sink = index.opensearch.as_ref();
    let sink = sink.map(|it| sink_line(it, columns)).unwrap_or_default();
    format!("index: {progress}{gaps}\n{sink}")
}

/// How far lines are sent to OpenSearch, and why they wait.
fn sink_line(sink: &SinkStatus, columns: usize) -> String {
    let mut facts = vec![behind((sink.lag_bytes, sink.lag_lines, sink.lag_seconds))];
    if sink.refused > 0 {
        facts.push(format!("{} refused", count_of(sink.refused, "line")));
    }
    if sink.gaps > 0 {
        let (gaps, bytes) = (count_of(sink.gaps, "gap"), size(sink.gap_bytes));
        facts.push(format!("{gaps} ({bytes} were gone before)"));
    }
    facts.extend(sink.trouble.as_ref().map(|reason| format!("waits: {reason}")));
    wrapped_to(columns, &format!("opensearch: {}", facts.join("; ")))
}

/// The mails that wait; nothing if there is none.
pub(super) fn mails(status: &StatusReport) -> String {
    let mails = &status.mails;
    if mails.waiting == 0 {
        return String::new();
    }
    let oldest = duration(Duration::from_secs(mails.oldest_waiting_seconds));
    format!(
        "mails: {} not sent yet, the oldest for {oldest}\n",
        count_of(mails.waiting, "mail")
    )
}

/// What waits for the channels beside the mail; nothing if there is nothing.
pub(super) fn channels(status: &StatusReport, columns: usize) -> String {
    let lines = status.channels.iter().map(|channel| {
        let oldest = duration(Duration::from_secs(channel.oldest_waiting_seconds));
        let waiting = count_of(channel.waiting, "alert");
        let error = channel.last_error.as_ref().map(|error| {
            let attempts = count_of(channel.attempts.into(), "attempt");
            format!("; {attempts} in vain, the last one: {error}")
        });
        let text = format!(
            "channel {}: {waiting} not sent yet, the oldest for {oldest}{}",
            channel.name,
            error.unwrap_or_default()
        );
        wrapped_to(columns, &text)
    });
    lines.collect()
}

/// The open incidents, the worst first; nothing without a monitor that has seen one.
pub(super) fn incidents(status: &StatusReport, now: Timestamp, columns: usize) -> String {
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
    list(
        "incidents (`logferry alerts` has what to do):",
        shown.into_iter(),
        columns,
    )
}

/// Why the exit code is 1; nothing if it is not.
pub(super) fn problems(status: &StatusReport, columns: usize) -> String {
    let problems = status.problems.iter().map(|it| it.text.clone());
    list("exit code 1, because:", problems, columns)
}
