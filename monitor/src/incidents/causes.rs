//! One incident for one cause: what is only the consequence of something else that is wrong is told with it, and is no incident
//! of its own. Pure.
//!
//! What was an incident already stays as it is while a cause of it lasts, and shortly after: nobody knows then.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::Incident;
use logferry_text::count;

use super::condition::Observation;
use super::observe::RuleFindings;
use super::observe::finding::{Cause, unknown};
use super::rules::RULES;
use logferry_inspection::time::age;

/// Subjects that the text of a cause names.
const NAMED_MAX: usize = 5;

/// The findings without the consequences of others. `grace`: for so long after its end a cause still explains them, as senders
/// need a moment to come back.
pub(crate) fn fold(
    findings: RuleFindings,
    known: &[Incident],
    grace: Duration,
    now: Timestamp,
) -> Observation {
    let RuleFindings { found, mut unjudged } = findings;
    let is_found = |cause: &Cause| {
        found
            .iter()
            .any(|it| it.condition.rule == cause.rule && it.condition.subject == cause.subject)
    };
    let is_remembered = |cause: &Cause| {
        known
            .iter()
            .any(|it| it.rule == cause.rule && it.subject == cause.subject && explains(it, grace, now))
    };
    let mut consequences: BTreeMap<Cause, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut conditions = Vec::new();
    for finding in &found {
        let condition = &finding.condition;
        if let Some(cause) = finding.causes.iter().find(|cause| is_found(cause)) {
            let by_rule = consequences.entry(cause.clone()).or_default();
            let subjects = by_rule.entry(condition.rule.clone()).or_default();
            subjects.push(condition.subject.clone());
        } else if !finding.causes.iter().any(is_remembered) {
            conditions.push(condition.clone());
            continue;
        }
        unjudged.push(unknown(&condition.rule, &condition.subject));
    }
    for condition in &mut conditions {
        let is_of = |cause: &&Cause| cause.rule == condition.rule && cause.subject == condition.subject;
        if let Some(cause) = consequences.keys().find(is_of) {
            condition.text += &with_it(&consequences[cause]);
        }
    }
    Observation { conditions, unjudged }
}

/// Whether an incident still explains others.
fn explains(incident: &Incident, grace: Duration, now: Timestamp) -> bool {
    match (incident.opened_at, incident.gone_since) {
        (None, _) => false,
        (Some(_), None) => incident.closed_at.is_none(),
        (Some(_), Some(gone)) => incident.closed_at.is_none() || age(gone, now) < grace,
    }
}

/// `; with it 300 are stale (a, b, c, d, e and 295 more)`
fn with_it(by_rule: &BTreeMap<String, Vec<String>>) -> String {
    let parts = by_rule.iter().map(|(rule, subjects)| {
        if rule == RULES {
            return "; the configured rules are not evaluated meanwhile".to_owned();
        }
        let verb = if subjects.len() == 1 { "is" } else { "are" };
        let named: Vec<_> = subjects.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = match subjects.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {} more", count(more as u64)),
        };
        let number = count(subjects.len() as u64);
        format!("; with it {number} {verb} {rule} ({}{more})", named.join(", "))
    });
    parts.collect()
}
