//! The rules on sources and their senders. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::stream::Offset;
use logferry_text::{count, count_of, duration, size};

use super::finding::{Cause, RuleFinding, unknown};
use super::{Facts, RuleFindings};
use crate::incidents::condition::Unjudged;
use crate::incidents::rules::{
    ALL_SILENT, AT_RISK, BEHIND, CHECKPOINT, CLOCK, DISK, DISK_FULL, GROUP, HELD, LOSING, MISSING, ROLE,
    STALE, TWO_SENDERS,
};
use crate::time::local_time;
use logferry_inspection::GapReport;
use logferry_inspection::status::{SourceState, SourceStatus};
use logferry_inspection::time::age;

/// A sender reports every 10 s. What one has said that has not reported for so long is no news of today.
const REPORT_FRESH: Duration = Duration::from_mins(1);

/// A path without a reason is told after so long: a sender finds out the reason, and reports it, within 20 s. Older ones never do.
const UNEXPLAINED_HOLD: Duration = Duration::from_secs(30);

/// A rotated file is read to its end within seconds.
const AT_RISK_HOLD: Duration = Duration::from_mins(1);

/// A clock that is further off than this is told, if it stays so for [`CLOCK_HOLD`].
const CLOCK_DIFFERENCE: Duration = Duration::from_mins(1);
const CLOCK_HOLD: Duration = Duration::from_mins(5);

/// A clock of this host that was set back by more leaves contacts in the future.
const FUTURE_CONTACT: Duration = Duration::from_mins(1);

/// So many sources of a group that fell silent together are one incident. Fewer are named one by one.
const TOGETHER_MIN: usize = 10;

/// The last reports of sources that fall silent together are an interval of 10 s apart, and a margin: so much later the last of
/// them is stale too.
const REPORTS_APART: Duration = Duration::from_secs(20);

/// Incidents of one source by one rule. A sender with thousands of logs can have as many problems.
const PARTS_MAX: usize = 50;

/// What rests on the last report of a sender.
const REPORTED: [&str; 5] = [BEHIND, AT_RISK, HELD, CHECKPOINT, CLOCK];

pub(super) fn observe(facts: &Facts<'_>, findings: &mut RuleFindings) {
    for source in &facts.status.sources {
        contact(source, facts, findings);
        let is_fresh = source
            .reported_at
            .is_none_or(|at| age(at, facts.now) <= REPORT_FRESH);
        if is_fresh {
            findings.found.extend(reported(source, facts));
        } else {
            let rules = REPORTED.iter().map(|rule| unknown(rule, &source.source));
            findings.unjudged.extend(rules);
        }
        findings.found.extend(losses(source));
        findings.found.extend(two_senders(source));
    }
    if facts.watched_for < facts.stale_after {
        findings.unjudged.push(Unjudged {
            rule: Some(ALL_SILENT.to_owned()),
            subject: None,
        });
    } else {
        findings.found.extend(silent_groups(facts));
    }
}

/// What silences all sources of a group.
fn causes_of_silence(group: Option<&GroupName>) -> Vec<Cause> {
    let of_host = [Cause::new(ROLE, &"relay"), Cause::new(DISK_FULL, &DISK)];
    let of_group = group.map(|group| [Cause::new(GROUP, group), Cause::new(ALL_SILENT, group)]);
    of_host
        .into_iter()
        .chain(of_group.into_iter().flatten())
        .collect()
}

/// Whether a source is heard.
fn contact(source: &SourceStatus, facts: &Facts<'_>, findings: &mut RuleFindings) {
    let name = &source.source;
    let is_in_future = |at: Timestamp| age(facts.now, at) > FUTURE_CONTACT;
    if source.last_contact_at.is_some_and(is_in_future) {
        // This host's clock was set back, and the source was not heard since.
        findings.unjudged.push(unknown(STALE, name));
        return;
    }
    let finding = match (source.state, source.last_contact_at) {
        (SourceState::Active | SourceState::Quiet, _) => return,
        (_, Some(contact)) => RuleFinding::critical(
            STALE,
            name,
            format!(
                "source {name} is silent: its sender was last heard at {}",
                local_time(contact, facts.zone)
            ),
            "look at its host and at the network between, then at `systemctl status logferry-sender` and `logferry status` there"
                .to_owned(),
        ),
        (_, None) => RuleFinding::critical(
            MISSING,
            name,
            format!("source {name} is missing: it is expected, and its sender was never heard"),
            "start its sender, or take it out of monitor.expected_sources; `logferry check --connect` on its host tries the relay"
                .to_owned(),
        ),
    };
    if facts.watched_for < facts.stale_after {
        findings.unjudged.push(unknown(STALE, name));
        findings.unjudged.push(unknown(MISSING, name));
        return;
    }
    let causes = causes_of_silence(source.group.as_ref());
    findings.found.push(finding.because_of(causes));
}

/// What the sender's last report says.
fn reported(source: &SourceStatus, facts: &Facts<'_>) -> Vec<RuleFinding> {
    let mut found = Vec::new();
    found.extend(behind(source, facts));
    found.extend(at_risk(source, facts));
    found.extend(held(source, facts));
    found.extend(clock(source, facts));
    let name = &source.source;
    found.extend(source.checkpoint_failing_since.map(|_| {
        RuleFinding::warning(
            CHECKPOINT,
            name,
            format!("the sender of {name} cannot write its checkpoint"),
            "make its state_dir writable, and its disk free; until then a restart of it compares files with the relay anew"
                .to_owned(),
        )
    }));
    found
}

fn behind(source: &SourceStatus, facts: &Facts<'_>) -> Option<RuleFinding> {
    let name = &source.source;
    let oldest = Duration::from_secs(source.oldest_unread_seconds);
    (oldest >= facts.limits.lag).then(|| {
        let (limit, lag) = (duration(facts.limits.lag), source.lag_bytes);
        let lag = lag.map_or_else(String::new, |bytes| {
            format!(", {} are not stored here", size(bytes))
        });
        RuleFinding::warning(
            BEHIND,
            name,
            format!("source {name} is behind: lines wait on its disk for more than {limit}{lag}"),
            "`logferry status` shows lag and groups; the sender's own log says what it waits for".to_owned(),
        )
        .because_of(causes_of_silence(source.group.as_ref()))
    })
}

fn at_risk(source: &SourceStatus, facts: &Facts<'_>) -> Option<RuleFinding> {
    let at_risk: Vec<_> = source.streams.iter().filter(|stream| stream.at_risk).collect();
    let first = at_risk.first()?;
    let (name, path) = (&source.source, &first.path);
    let is_deleted = at_risk.iter().any(|stream| stream.deleted);
    let event = if first.deleted { "deleted" } else { "rotated" };
    let more = match at_risk.len() {
        1 => String::new(),
        files => format!(" ({} in all)", count_of(files as u64, "file")),
    };
    let text =
        format!("source {name} may lose lines: {path} is {event}, and not stored here to its end{more}");
    let advice = "keep the file until `logferry status` no longer names it, and do not restart that sender if it is deleted";
    let finding = RuleFinding::warning(AT_RISK, name, text, advice.to_owned());
    let finding = finding.critical_if(is_deleted).lasting(AT_RISK_HOLD, facts.hold);
    Some(finding.because_of(causes_of_silence(source.group.as_ref())))
}

/// Logs and files that are not shipped, each of its own.
fn held(source: &SourceStatus, facts: &Facts<'_>) -> Vec<RuleFinding> {
    let name = &source.source;
    let finding = |path: &str, reason: &str| {
        RuleFinding::warning(
            HELD,
            &format!("{name}:{path}"),
            format!("source {name} does not ship {path}: {reason}"),
            "on its host `logferry check` looks as the service user and names what to change; `logferry backfill` ships a held \
             file that is wanted"
                .to_owned(),
        )
    };
    let logs = source.log_problems.iter().map(|problem| {
        let finding = finding(&problem.path, &problem.reason);
        match problem.log {
            Some(_) => finding,
            // From the list of unreadable files, which has no reasons.
            None => finding.lasting(UNEXPLAINED_HOLD, facts.hold),
        }
    });
    let files = source
        .held_files
        .iter()
        .map(|file| finding(&file.path, &file.reason));
    logs.chain(files).take(PARTS_MAX).collect()
}

fn clock(source: &SourceStatus, facts: &Facts<'_>) -> Option<RuleFinding> {
    let (name, difference) = (&source.source, source.clock_difference_seconds?);
    (difference.unsigned_abs() > CLOCK_DIFFERENCE.as_secs()).then(|| {
        let side = if difference > 0 { "behind" } else { "ahead of" };
        let finding = RuleFinding::warning(
            CLOCK,
            name,
            format!("the clock of source {name} is more than a minute {side} this host's"),
            "look at NTP on both hosts (`timedatectl`): lines fall into the windows of their own time"
                .to_owned(),
        );
        finding.lasting(CLOCK_HOLD, facts.hold)
    })
}

/// Lost bytes, each gap of its own. They are shown for a day; the audit keeps them.
fn losses(source: &SourceStatus) -> Vec<RuleFinding> {
    let name = &source.source;
    let gaps = source.gaps.iter().take(PARTS_MAX);
    gaps.map(|gap| {
        let (from, path) = (gap.from.get(), &gap.path);
        let until = gap.until.map_or(from, Offset::get);
        RuleFinding::critical(
            LOSING,
            &lost_part(name, gap),
            format!(
                "source {name} has lost lines: bytes {} to {} of {path} were gone before they were sent",
                count(from),
                count(until)
            ),
            "`logferry audit` names the gap; if the file is still anywhere, `logferry backfill` ships it; keep rotated files for \
             longer"
                .to_owned(),
        )
    })
    .collect()
}

/// The subject of a gap. The stream tells the losses of one rotated name apart: so many of its digits are enough. It is written
/// as a part, so a silence of path and offset covers it.
fn lost_part(source: &SourceId, gap: &GapReport) -> String {
    let stream: String = gap.stream.to_string().chars().take(8).collect();
    format!("{source}:{}@{}:{stream}", gap.path, gap.began.get())
}

fn two_senders(source: &SourceStatus) -> Option<RuleFinding> {
    let name = &source.source;
    let senders = source.senders.iter();
    let senders: Vec<_> = senders.map(|it| format!("{} at {}", it.id, it.address)).collect();
    (!senders.is_empty()).then(|| {
        RuleFinding::warning(
            TWO_SENDERS,
            name,
            format!("source {name} has several senders at the same time: {}", senders.join(", ")),
            "give one of them a `source:` name or an address of its own; docs/operate.md has a section on cloned machines".to_owned(),
        )
    })
}

/// The groups whose sources fell silent together.
fn silent_groups(facts: &Facts<'_>) -> Vec<RuleFinding> {
    let mut groups: BTreeMap<&GroupName, Vec<Timestamp>> = BTreeMap::new();
    for source in &facts.status.sources {
        if let (Some(group), Some(contact)) = (&source.group, source.last_contact_at) {
            groups.entry(group).or_default().push(contact);
        }
    }
    let silent = groups.into_iter().filter_map(|(group, contacts)| {
        let last = contacts.iter().max().copied()?;
        let is_silent = age(last, facts.now) >= facts.stale_after.saturating_sub(REPORTS_APART);
        // Sources that were given up long ago do not count.
        let together = contacts.iter().filter(|at| age(**at, last) < facts.stale_after);
        let stale = together.filter(|at| age(**at, facts.now) >= facts.stale_after);
        let is_one = is_silent && stale.count() >= TOGETHER_MIN;
        is_one.then(|| silent_group(group, last, facts))
    });
    silent.collect()
}

fn silent_group(group: &GroupName, last: Timestamp, facts: &Facts<'_>) -> RuleFinding {
    let finding = RuleFinding::critical(
        ALL_SILENT,
        group,
        format!(
            "all sources of group {group} are silent, the last was heard at {}",
            local_time(last, facts.zone)
        ),
        "look at the network and the firewall in front of the relay, and at `logferry check --connect` on one of the sources"
            .to_owned(),
    );
    let mut causes = causes_of_silence(Some(group));
    causes.retain(|cause| cause.rule != ALL_SILENT);
    finding.because_of(causes)
}
