//! The rules on this host: disk, groups of the relay, certificates, counts, the indexer, mail recipients. Pure.

use std::time::Duration;

use jiff::SignedDuration;
use logferry_ledger::GroupState;
use logferry_text::{count, count_of, duration, size};

use super::finding::{Cause, RuleFinding, unknown};
use super::{Facts, RuleFindings};
use crate::certificate_expiry::CertificateFact;
use crate::incidents::condition::Unjudged;
use crate::incidents::rules::{AUDIT, CERTIFICATE, DISK, DISK_FULL, GROUP, INDEXER, LEDGER, RECIPIENT, ROLE};
use crate::time::local_time;
use logferry_inspection::status::{DiskState, GroupStatus, RoleState};

/// A relay reports on its groups at once when it starts, and every 30 s.
const UNREPORTED_HOLD: Duration = Duration::from_mins(1);

/// A line that has come just now, after a long quiet, is read within seconds.
const UNREAD_HOLD: Duration = Duration::from_mins(1);

/// The subject of gaps in the index: a part of the indexer, so who silences that one silences them too.
const INDEX_GAP: &str = "indexer:gap";

/// A certificate that expires within this time is critical.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(3 * 24);

pub(super) fn observe(facts: &Facts<'_>, findings: &mut RuleFindings) {
    findings.found.extend(disk(facts));
    let relay = facts.status.roles.iter().find(|role| role.name == "relay");
    let is_running = relay.is_some_and(|relay| relay.state == RoleState::Running);
    for group in &facts.status.groups {
        if is_running {
            findings.found.extend(of_group(group, facts));
        } else {
            let rules = [GROUP, LEDGER].map(|rule| unknown(rule, &group.group));
            findings.unjudged.extend(rules);
        }
    }
    for certificate in facts.certificates {
        match certificate.expires {
            Some(_) => findings.found.extend(expiry(certificate, facts)),
            None => findings
                .unjudged
                .push(unknown(CERTIFICATE, &certificate.file.display())),
        }
    }
    counts(facts, findings);
    findings.found.extend(indexer(facts));
    findings.found.extend(index_gaps(facts));
    findings.found.extend(recipients(facts));
}

fn disk(facts: &Facts<'_>) -> Vec<RuleFinding> {
    let disk = &facts.status.disk;
    let free = size(disk.free_bytes);
    let is_full = disk.state == DiskState::Low;
    let full = is_full.then(|| {
        RuleFinding::critical(
            DISK_FULL,
            &DISK,
            "the disk of data_dir is full: the relay takes no lines, and its senders wait".to_owned(),
            format!("make space there ({free} are free); docs/trouble/disk-full.md says what may go; no line is lost meanwhile"),
        )
    });
    let used = disk.total_bytes.saturating_sub(disk.free_bytes);
    let percent = u128::from(used) * 100 / u128::from(disk.total_bytes.max(1));
    let limit = facts.limits.disk_percent;
    let fills = (percent >= u128::from(limit)).then(|| {
        RuleFinding::warning(
            DISK,
            &DISK,
            format!("the disk of data_dir is more than {limit} % full"),
            format!("make space ({free} are free), or shorten housekeeper.delete_after; docs/trouble/disk-full.md says what may go"),
        )
        .because_of([Cause::new(DISK_FULL, &DISK)])
    });
    full.into_iter().chain(fills).collect()
}

/// Of a relay that runs.
fn of_group(group: &GroupStatus, facts: &Facts<'_>) -> Option<RuleFinding> {
    let name = &group.group;
    let finding = match group.state {
        Some(GroupState::Ok) => return None,
        Some(GroupState::Low | GroupState::Failing) => {
            let reason = group.reason.as_deref().unwrap_or("its log says why");
            RuleFinding::critical(
                GROUP,
                name,
                format!("group {name} takes no lines, its senders wait: {reason}"),
                "`journalctl -u logferry-relay` has the whole error; no line is lost meanwhile".to_owned(),
            )
        }
        None => RuleFinding::critical(
            LEDGER,
            name,
            format!("the relay runs and does not report on group {name}: it cannot write its ledger, or the group is not its own"),
            "`journalctl -u logferry-relay` says what it cannot do; `logferry fsck` compares ledger and spool; if the group is \
             new, restart the relay"
                .to_owned(),
        )
        .lasting(UNREPORTED_HOLD, facts.hold),
    };
    Some(finding.because_of([Cause::new(DISK_FULL, &DISK), Cause::new(ROLE, &"relay")]))
}

fn expiry(certificate: &CertificateFact, facts: &Facts<'_>) -> Option<RuleFinding> {
    let expires = certificate.expires?;
    let left = expires.duration_since(facts.now);
    let limit = SignedDuration::try_from(facts.limits.certificate).unwrap_or(SignedDuration::MAX);
    (left < limit).then(|| {
        let (file, setting) = (certificate.file.display(), certificate.setting);
        let at = local_time(expires, facts.zone);
        let verb = if left <= SignedDuration::ZERO {
            "has expired"
        } else {
            "expires"
        };
        let finding = RuleFinding::warning(
            CERTIFICATE,
            &file,
            format!("the certificate {file} ({setting}) {verb} at {at}"),
            "put a new one in its place; the relay and the senders read it by themselves, the monitor with `systemctl reload`"
                .to_owned(),
        );
        finding.critical_if(left < EXPIRES_SOON)
    })
}

/// The two counts of each source's lines. Windows and remote files are for `logferry audit`.
fn counts(facts: &Facts<'_>, findings: &mut RuleFindings) {
    let Some(totals) = facts.line_totals else {
        findings.unjudged.push(Unjudged {
            rule: Some(AUDIT.to_owned()),
            subject: None,
        });
        return;
    };
    let differing = totals.iter().filter(|it| it.lines_sent != it.lines_batched);
    findings.found.extend(differing.map(|it| {
        let name = &it.source;
        let (sent, stored) = (count_of(it.lines_sent, "line"), count(it.lines_batched));
        RuleFinding::critical(
            AUDIT,
            name,
            format!("the counts of source {name} differ: {sent} taken, {stored} in batches"),
            "run `logferry audit` and `logferry fsck`, and keep a copy of ledger.db".to_owned(),
        )
    }));
}

/// How far the indexer is.
fn indexer(facts: &Facts<'_>) -> Option<RuleFinding> {
    let index = facts.status.indexer.as_ref()?;
    let limit = facts.limits.lag;
    let finding = |text: String, advice: &str| {
        let finding = RuleFinding::warning(INDEXER, &INDEXER, text, advice.to_owned());
        finding.because_of([Cause::new(ROLE, &INDEXER)])
    };
    if index.lag_lines > 0 && Duration::from_secs(index.lag_seconds) >= limit {
        let limit = duration(limit);
        return Some(finding(
            format!("the indexer is behind: lines wait for it for more than {limit}"),
            "search, numbers and the rules on them are late, no line is; look at `journalctl -u logferry-indexer` and at the host's load",
        ));
    }
    index.is_stuck(limit, facts.now).then(|| {
        let since = index.recorded_at.map_or_else(String::new, |at| {
            format!(" since {}", local_time(at, facts.zone))
        });
        let finding = finding(
            format!("the indexer is behind: lines wait for it, and it has recorded nothing{since}"),
            "search, numbers and the rules on them stand still, no line is late; `journalctl -u logferry-indexer` says why: its disk may \
             be full",
        );
        finding.lasting(UNREAD_HOLD, facts.hold)
    })
}

/// Stretches that the index does not have. They are told for a day; the index keeps them.
fn index_gaps(facts: &Facts<'_>) -> Option<RuleFinding> {
    let index = facts.status.indexer.as_ref()?;
    (index.recent_gaps > 0).then(|| {
        let (gaps, bytes) = (count_of(index.recent_gaps, "stretch"), size(index.recent_gap_bytes));
        RuleFinding::warning(
            INDEXER,
            &INDEX_GAP,
            format!("{gaps} of batches ({bytes}) are in neither numbers nor search: they were gone before the indexer read them"),
            "the lines were delivered; keep batches for longer (housekeeper.delete_after), or give the indexer more time".to_owned(),
        )
    })
}

fn recipients(facts: &Facts<'_>) -> Vec<RuleFinding> {
    let refused = facts.status.refused_recipients.iter();
    refused
        .map(|refused| {
            let (recipient, reason) = (&refused.recipient, &refused.reason);
            RuleFinding::warning(
                RECIPIENT,
                recipient,
                format!("the mail server refuses {recipient}: {reason}"),
                "correct monitor.smtp.to; mails go to the others; `logferry check --connect` asks the server"
                    .to_owned(),
            )
        })
        .collect()
}
