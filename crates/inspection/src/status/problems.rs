//! The reasons for the exit code 1 of `status`, one sentence each: what is wrong, and what to do. Pure.

use jiff::Timestamp;
use logferry_ledger::{DestinationState, GroupState, Severity};
use logferry_text::{count, count_of, duration, size};

use super::destinations::DestinationStatus;
use super::roles::RoleStatus;
use super::source_state::SourceState;
use super::sources::SourceStatus;
use super::{DiskState, StatusReport};
use crate::time::age;

/// The rules whose incidents are told here by their present state, whether the monitor has seen it yet or not.
pub const TOLD_ANYWAY: [&str; 13] = [
    "stale",
    "missing",
    "all silent",
    "losing",
    "held",
    "two senders",
    "checkpoint",
    "down",
    "group",
    "disk full",
    "role",
    "files",
    "recipient",
];

/// The problems, those first that may be the reason of others.
pub(super) fn problems(status: &StatusReport, now: Timestamp) -> Vec<String> {
    let disk = (status.disk.state == DiskState::Low).then(|| {
        let free = size(status.disk.free_bytes);
        format!("the disk of data_dir has {free} free, less than min_free_disk: senders wait and look silent; make space there")
    });
    let groups = status.groups.iter().filter_map(|group| {
        let (name, reason) = (&group.group, group.reason.as_ref()?);
        Some(match group.state {
            // Lines of some sources wait. The group accepts all others.
            Some(GroupState::Ok) => format!("group {name}: {reason}"),
            _ => format!("group {name} accepts no lines, its senders wait: {reason}"),
        })
    });
    let roles = status
        .roles
        .iter()
        .flat_map(|role: &RoleStatus| role.problems(now));
    let sources = status.sources.iter().flat_map(|source| of_source(source, now));
    let destinations = status.destinations.iter().filter_map(of_destination);
    let failed = (status.batches.failed > 0).then(|| {
        let failed = count(status.batches.failed);
        format!("batches in failed/: {failed}; they are tried again by themselves, `logferry retry` tries them now")
    });
    let unwanted = (status.batches.unwanted > 0).then(|| {
        let unwanted = count(status.batches.unwanted);
        format!("batches that no destination wants: {unwanted}; they wait until one takes their source, group and log")
    });
    let mails = &status.mails;
    let unsent = mails.last_error.as_ref().map(|error| {
        let failing = count_of(mails.failing, "mail");
        format!("{failing} not sent, tried again: {error}; `logferry test-mail` tries the mail server now")
    });
    let refused = status.refused_recipients.iter().map(|refused| {
        let (recipient, reason) = (&refused.recipient, &refused.reason);
        format!(
            "the mail server refuses {recipient}: {reason}; correct monitor.smtp.to, mails go to the others"
        )
    });
    let sink = status
        .indexer
        .as_ref()
        .and_then(|index| index.opensearch.as_ref());
    let sink = sink.and_then(|sink| sink.trouble.as_ref()).map(|reason| {
        format!(
            "lines wait for OpenSearch: {reason}; they are sent when it takes them, as long as their files are in the spool"
        )
    });
    let incidents = status.incidents.iter();
    let incidents = incidents.filter(|it| {
        let is_told = TOLD_ANYWAY.contains(&it.rule.as_str());
        it.severity == Severity::Critical && it.silenced_until.is_none() && !is_told
    });
    let incidents = incidents.map(|it| format!("{}; {}", it.text, it.advice));
    disk.into_iter()
        .chain(incidents)
        .chain(groups)
        .chain(roles)
        .chain(sources)
        .chain(destinations)
        .chain(failed)
        .chain(unwanted)
        .chain(sink)
        .chain(unsent)
        .chain(refused)
        .collect()
}

fn of_source(source: &SourceStatus, now: Timestamp) -> Vec<String> {
    let name = &source.source;
    let state = match (source.state, source.last_contact_at) {
        (SourceState::Active | SourceState::Quiet, _) => None,
        (_, Some(contact)) => {
            let ago = duration(age(contact, now));
            Some(format!(
                "source {name} is silent, its sender was last heard {ago} ago: look at its host and its sender"
            ))
        }
        (_, None) => Some(format!(
            "source {name} is expected and was never heard: start its sender"
        )),
    };
    let lost = source.gaps.len() as u64;
    let lost = (lost > 0).then(|| {
        format!(
            "source {name} has lost bytes in the last 24 hours: {}",
            count_of(lost, "gap")
        )
    });
    let files = source.held_files.len() as u64;
    let files = (files > 0).then(|| {
        format!(
            "source {name} has {} that its sender does not ship",
            count_of(files, "file")
        )
    });
    let logs = source.log_problems.len() as u64;
    let logs = (logs > 0).then(|| {
        format!(
            "source {name} has {} that its sender cannot ship",
            count_of(logs, "log path")
        )
    });
    let together =
        (!source.senders.is_empty()).then(|| format!("source {name} has several senders at the same time"));
    let checkpoint = source.checkpoint_failing_since;
    let checkpoint =
        checkpoint.map(|since| format!("the sender of {name} cannot save its checkpoint since {since}"));
    [state, lost, files, logs, together, checkpoint]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn of_destination(destination: &DestinationStatus) -> Option<String> {
    let name = &destination.name;
    let error = destination.error.as_deref().unwrap_or("no reason is known");
    if destination.state == DestinationState::Down {
        let waiting = count(destination.waiting_batches);
        return Some(format!(
            "destination {name} is down, batches that wait for it: {waiting}; {error}"
        ));
    }
    let stuck = destination.stuck_manifests.as_ref()?;
    let (number, first) = (count_of(stuck.number, "window manifest"), &stuck.first);
    let error = stuck
        .error
        .as_deref()
        .unwrap_or("it was not tried yet: look at the forwarder's log");
    Some(format!(
        "destination {name} did not get {number}, the first is {first}: {error}"
    ))
}
