//! The reasons for the exit code 1 of `status`, one sentence each: what is wrong, and what to do. Pure.

use std::fmt::Display;

use jiff::Timestamp;
use logferry_ledger::{DestinationState, FailureKind, GroupState, Severity, covers};
use logferry_text::{count, count_of, duration, size};
use serde::{Serialize, Serializer};

use super::destinations::DestinationStatus;
use super::incidents::IncidentStatus;
use super::roles::RoleStatus;
use super::source_state::SourceState;
use super::sources::SourceStatus;
use super::{DiskState, StatusReport};
use crate::time::age;

/// The rules whose incidents are told here by their present state, whether the monitor has seen it yet or not.
pub const TOLD_ANYWAY: [&str; 15] = [
    "stale",
    "missing",
    "all silent",
    "losing",
    "held",
    "two senders",
    "checkpoint",
    "down",
    "full",
    "refusing",
    "group",
    "disk full",
    "role",
    "files",
    "recipient",
];

/// A reason why an operator has to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusProblem {
    /// The rule whose incidents tell the same; empty: none does.
    pub rule: String,
    /// What it is about. Incidents of its parts tell the same.
    pub subject: String,
    /// What is wrong, and what to do: a sentence.
    pub text: String,
}

impl StatusProblem {
    pub(super) fn new(rule: &str, subject: &dyn Display, text: String) -> Self {
        Self {
            rule: rule.to_owned(),
            subject: subject.to_string(),
            text,
        }
    }

    /// One that no incident tells.
    fn untold(text: String) -> Self {
        Self::new("", &"", text)
    }

    /// Whether an incident tells the same fact.
    pub fn is_told_by(&self, incident: &IncidentStatus) -> bool {
        self.rule == incident.rule && covers(&self.subject, &incident.subject)
    }
}

/// In JSON it is its text.
impl Serialize for StatusProblem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The problems, those first that may be the reason of others.
pub(super) fn problems(status: &StatusReport, now: Timestamp) -> Vec<StatusProblem> {
    let disk = (status.disk.state == DiskState::Low).then(|| {
        let free = size(status.disk.free_bytes);
        let text = format!(
            "the disk of data_dir has {free} free, less than min_free_disk: senders wait and look silent; make space there"
        );
        StatusProblem::new("disk full", &"disk", text)
    });
    let groups = status.groups.iter().filter_map(|group| {
        let (name, reason) = (&group.group, group.reason.as_ref()?);
        // Lines of some sources may wait, while the group accepts all others.
        let text = match group.state {
            Some(GroupState::Ok) => format!("group {name}: {reason}"),
            _ => format!("group {name} accepts no lines, its senders wait: {reason}"),
        };
        Some(StatusProblem::new("group", name, text))
    });
    let roles = status.roles.iter().flat_map(|role: &RoleStatus| {
        let problems = role.problems(now);
        problems.map(|(rule, text)| StatusProblem::new(rule, &role.name, text))
    });
    let sources = status.sources.iter().flat_map(|source| of_source(source, now));
    let destinations = status.destinations.iter().filter_map(of_destination);
    let incidents = status.incidents.iter();
    let incidents = incidents.filter(|it| {
        let is_told = TOLD_ANYWAY.contains(&it.rule.as_str());
        it.severity == Severity::Critical && it.silenced_until.is_none() && !is_told
    });
    let incidents =
        incidents.map(|it| StatusProblem::new(&it.rule, &it.subject, format!("{}; {}", it.text, it.advice)));
    disk.into_iter()
        .chain(incidents)
        .chain(groups)
        .chain(roles)
        .chain(sources)
        .chain(destinations)
        .chain(of_batches(status))
        .chain(of_mails(status))
        .collect()
}

/// Batches that do not go on, and lines that wait for OpenSearch.
fn of_batches(status: &StatusReport) -> impl Iterator<Item = StatusProblem> {
    let failed = (status.batches.failed > 0).then(|| {
        let failed = count(status.batches.failed);
        format!("batches in failed/: {failed}; they are tried again by themselves, `logferry retry` tries them now")
    });
    let unwanted = (status.batches.unwanted > 0).then(|| {
        let unwanted = count(status.batches.unwanted);
        format!("batches that no destination wants: {unwanted}; they wait until one takes their source, group and log")
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
    [failed, unwanted, sink]
        .into_iter()
        .flatten()
        .map(StatusProblem::untold)
}

fn of_mails(status: &StatusReport) -> impl Iterator<Item = StatusProblem> {
    let mails = &status.mails;
    let unsent = mails.last_error.as_ref().map(|error| {
        let failing = count_of(mails.failing, "mail");
        StatusProblem::untold(format!(
            "{failing} not sent, tried again: {error}; `logferry test-mail` tries the mail server now"
        ))
    });
    let refused = status.refused_recipients.iter().map(|refused| {
        let (recipient, reason) = (&refused.recipient, &refused.reason);
        let text = format!(
            "the mail server refuses {recipient}: {reason}; correct monitor.smtp.to, mails go to the others"
        );
        StatusProblem::new("recipient", recipient, text)
    });
    unsent.into_iter().chain(refused)
}

/// Of a silent source that is silenced only its losses are told: the rest is no news, or rests on a report of long ago.
fn of_source(source: &SourceStatus, now: Timestamp) -> Vec<StatusProblem> {
    let name = &source.source;
    let lost = source.gaps.len() as u64;
    let lost = (lost > 0).then(|| {
        let lost = count_of(lost, "gap");
        let text = format!("source {name} has lost bytes in the last 24 hours: {lost}");
        StatusProblem::new("losing", name, text)
    });
    if source.is_silenced() {
        return lost.into_iter().collect();
    }
    let state = match (source.state, source.last_contact_at) {
        (SourceState::Active | SourceState::Quiet, _) => None,
        (_, Some(contact)) => {
            let ago = duration(age(contact, now));
            let text = format!(
                "source {name} is silent, its sender was last heard {ago} ago: look at its host and its sender"
            );
            Some(StatusProblem::new("stale", name, text))
        }
        (_, None) => {
            let text = format!("source {name} is expected and was never heard: start its sender");
            Some(StatusProblem::new("missing", name, text))
        }
    };
    let held = [
        (source.held_files.len() as u64, "file", "does not ship"),
        (source.log_problems.len() as u64, "log path", "cannot ship"),
    ];
    let held = held.into_iter().filter(|(number, ..)| *number > 0);
    let held = held.map(|(number, what, verb)| {
        let text = format!(
            "source {name} has {} that its sender {verb}",
            count_of(number, what)
        );
        StatusProblem::new("held", name, text)
    });
    let together = (!source.senders.is_empty()).then(|| {
        let text = format!("source {name} has several senders at the same time");
        StatusProblem::new("two senders", name, text)
    });
    let checkpoint = source.checkpoint_failing_since.map(|since| {
        let text = format!("the sender of {name} cannot save its checkpoint since {since}");
        StatusProblem::new("checkpoint", name, text)
    });
    let mut problems: Vec<_> = state.into_iter().chain(lost).chain(held).collect();
    problems.extend(together.into_iter().chain(checkpoint));
    problems
}

/// What a destination that answers has refused.
fn of_refusals(destination: &DestinationStatus) -> Option<StatusProblem> {
    let refused: Vec<_> = destination.refusals().collect();
    let first = refused
        .first()
        .filter(|_| destination.state == DestinationState::Up)?;
    let (name, batch, error) = (&destination.name, &first.batch, &first.error);
    let text = if destination.is_refusing {
        let waiting = count_of(destination.waiting_batches, "batch");
        format!(
            "destination {name} answers, but takes nothing, {waiting} not delivered, such as {batch}: {error}"
        )
    } else {
        let refused = count_of(refused.len() as u64, "batch");
        format!("destination {name} did not take {refused}, the first is {batch}: {error}")
    };
    // The rule of the incident for it.
    let is_full = refused
        .iter()
        .any(|it| it.error_kind == Some(FailureKind::NoSpace));
    let rule = if is_full { "full" } else { "refusing" };
    Some(StatusProblem::new(rule, name, text))
}

pub(super) fn of_destination(destination: &DestinationStatus) -> Option<StatusProblem> {
    let name = &destination.name;
    let error = destination.error.as_deref().unwrap_or("no reason is known");
    if destination.state == DestinationState::Down {
        let waiting = count(destination.waiting_batches);
        let text = format!("destination {name} is down, batches that wait for it: {waiting}; {error}");
        // The rule of the incident for it.
        let is_full = destination.error_kind == Some(FailureKind::NoSpace);
        let rule = if is_full { "full" } else { "down" };
        return Some(StatusProblem::new(rule, name, text));
    }
    if let Some(problem) = of_refusals(destination) {
        return Some(problem);
    }
    let stuck = destination.stuck_manifests.as_ref()?;
    let (number, first) = (count_of(stuck.number, "window manifest"), &stuck.first);
    let error = stuck
        .error
        .as_deref()
        .unwrap_or("it was not tried yet: look at the forwarder's log");
    Some(StatusProblem::untold(format!(
        "destination {name} did not get {number}, the first is {first}: {error}"
    )))
}
