//! The rules on destinations. Pure.

use std::time::Duration;

use logferry_ledger::{DestinationState, FailureKind};
use logferry_text::{count_of, duration};

use super::finding::{Cause, RuleFinding, unknown};
use super::{Facts, RuleFindings};
use crate::incidents::rules::{DOWN, FULL, LATE, REFUSING, ROLE};
use logferry_inspection::status::{DestinationStatus, HeldBatch, is_forwarder_down};

pub(super) fn observe(facts: &Facts<'_>, findings: &mut RuleFindings) {
    let is_forwarder_down = is_forwarder_down(&facts.status.roles);
    for destination in &facts.status.destinations {
        if is_forwarder_down {
            // What it last said is no news of today.
            let rules = [DOWN, FULL, REFUSING].map(|rule| unknown(rule, &destination.name));
            findings.unjudged.extend(rules);
        } else {
            findings.found.extend(trouble(destination));
        }
        findings.found.extend(late(destination, facts));
    }
}

/// What keeps batches from it; one of these.
fn trouble(destination: &DestinationStatus) -> Option<RuleFinding> {
    let name = &destination.name;
    if destination.state == DestinationState::Down {
        let error = destination.error.as_deref().unwrap_or("no reason is known");
        return Some(match destination.error_kind {
            Some(FailureKind::NoSpace) => full(destination, error),
            _ => RuleFinding::critical(
                DOWN,
                name,
                format!("destination {name} is down: {error}"),
                "`logferry check --connect` tries it; docs/trouble/destination-down.md says what each error means; batches wait \
                 and are delivered by themselves"
                    .to_owned(),
            ),
        });
    }
    let refused: Vec<_> = destination.refusals().collect();
    let first = refused.first()?;
    let is_full = |batch: &&&HeldBatch| batch.error_kind == Some(FailureKind::NoSpace);
    if let Some(batch) = refused.iter().find(is_full) {
        return Some(full(destination, &batch.error));
    }
    let more = match refused.len() {
        1 => String::new(),
        batches => format!(" ({} at least)", count_of(batches as u64, "batch")),
    };
    Some(RuleFinding::critical(
        REFUSING,
        name,
        format!("destination {name} refuses {}{more}: {}", first.batch, first.error),
        "docs/trouble/batch-not-delivered.md says what each error means; `logferry retry` tries again at once".to_owned(),
    ))
}

fn full(destination: &DestinationStatus, error: &str) -> RuleFinding {
    let name = &destination.name;
    RuleFinding::critical(
        FULL,
        name,
        format!("destination {name} has no space: {error}"),
        "ask its operator for space; batches wait here, so look at `logferry status` for this host's disk"
            .to_owned(),
    )
}

fn late(destination: &DestinationStatus, facts: &Facts<'_>) -> Option<RuleFinding> {
    let name = &destination.name;
    let waiting = Duration::from_secs(destination.oldest_waiting_seconds);
    (destination.waiting_batches > 0 && waiting >= facts.limits.waiting).then(|| {
        let causes = [DOWN, FULL, REFUSING].map(|rule| Cause::new(rule, name));
        let limit = duration(facts.limits.waiting);
        let batches = count_of(destination.waiting_batches, "batch");
        RuleFinding::warning(
            LATE,
            name,
            format!("delivery to {name} is late: {batches} wait, the oldest for more than {limit}"),
            "`logferry status` shows what is in flight, and how fast; look at the destination's `bandwidth` and `sessions`".to_owned(),
        )
        .because_of([Cause::new(ROLE, &"forwarder")])
        .because_of(causes)
    })
}
