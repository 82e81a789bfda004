//! What the rules find at one look of the monitor.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{MonitorSettings, RuleSettings};
use logferry_ledger::{Incident, Ledger, LedgerError};
use logferry_numbers::IndexError;
use logferry_rules::{FinishedMinutes, RuleReadError, RuleReader, evaluate};
use logferry_text::error_chain;

use super::conditions::{conditions, unjudged};
use crate::incidents::condition::Unjudged;
use crate::incidents::observe::RuleFindings;
use crate::incidents::observe::finding::{Cause, RuleFinding};
use crate::incidents::rules::{INDEXER, ROLE, RULES};
use crate::time::local_time;
use logferry_inspection::time::clamped_timestamp;

/// What all rules find. If the index cannot be used, or is behind, nothing is known of any rule, and one finding says so.
pub(crate) fn observe(
    ledger: &Ledger,
    config: &MonitorSettings,
    known: &[Incident],
    (zone, now): (&TimeZone, Timestamp),
) -> Result<RuleFindings, LedgerError> {
    if config.rules.is_empty() {
        return Ok(RuleFindings::default());
    }
    let reader = match RuleReader::open(&config.store_dir, ledger, now) {
        Ok(reader) => reader,
        Err(RuleReadError::Ledger(error)) => return Err(error),
        Err(RuleReadError::Index(error)) => return Ok(none_evaluated(&config.rules, &index_reason(&error))),
    };
    let until = match reader.finished {
        FinishedMinutes::Until(until) => until,
        FinishedMinutes::Behind(until) => {
            let RuleFindings { mut found, unjudged } =
                none_evaluated(&config.rules, &behind_reason(until, zone));
            // The alerts on an indexer of this host say so first, and have a later limit.
            if config.host.roles.iter().any(|(role, _)| *role == INDEXER) {
                found = found
                    .into_iter()
                    .map(|it| it.lasting(config.limits.lag, config.hold))
                    .collect();
            }
            return Ok(RuleFindings { found, unjudged });
        }
    };
    let mut findings = RuleFindings::default();
    for rule in &config.rules {
        match reader.numbers(rule, until, until) {
            Ok(Some(numbers)) => {
                let states = evaluate(rule, &numbers, until);
                findings.unjudged.extend(unjudged(rule, &numbers, &states, known));
                let conditions = conditions(rule, &states, config.hold).into_iter();
                findings.found.extend(conditions.map(RuleFinding::without_cause));
            }
            // The indexer counts it from its next start on.
            Ok(None) => findings.unjudged.push(of_rule(rule)),
            Err(error) => return Ok(none_evaluated(&config.rules, &index_reason(&error))),
        }
    }
    Ok(findings)
}

/// Why no rule is evaluated while the index cannot be read.
pub(super) fn index_reason(error: &IndexError) -> String {
    match error {
        IndexError::Missing { path } => format!(
            "there are no numbers, as {} does not exist; run the indexer on this host, or correct monitor.store_dir",
            path.display()
        ),
        error => error_chain(error),
    }
}

/// Why no rule is evaluated while the indexer is behind.
pub(super) fn behind_reason(until: Option<i64>, zone: &TimeZone) -> String {
    match until {
        Some(until) => format!(
            "the indexer is behind: it has finished the minutes until {}",
            local_time(clamped_timestamp(until), zone)
        ),
        None => "the indexer has not counted anything yet".to_owned(),
    }
}

fn of_rule(rule: &RuleSettings) -> Unjudged {
    Unjudged {
        rule: Some(rule.name.clone()),
        subject: None,
    }
}

/// A rule that waits for the indexer is no incident beside the one of the indexer.
fn none_evaluated(rules: &[RuleSettings], reason: &str) -> RuleFindings {
    let finding = RuleFinding::warning(
        RULES,
        &INDEXER,
        format!("the rules are not evaluated: {reason}"),
        "`logferry status` shows the indexer, and `logferry rules` what each rule waits for".to_owned(),
    );
    RuleFindings {
        found: vec![finding.because_of([ROLE, INDEXER].map(|rule| Cause::new(rule, &INDEXER)))],
        unjudged: rules.iter().map(of_rule).collect(),
    }
}
