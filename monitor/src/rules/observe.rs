//! What the rules find at one look of the monitor.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{MonitorSettings, RuleSettings};
use logferry_ledger::{Ledger, LedgerError};
use logferry_numbers::IndexError;
use logferry_rules::{FinishedMinutes, RuleReadError, RuleReader, evaluate};
use logferry_text::error_chain;

use super::conditions::{conditions, waiting};
use crate::incidents::condition::{Condition, Observation, Severity, Unjudged};
use crate::time::local_time;
use logferry_inspection::time::clamped_timestamp;

/// The rule of the alert that rules are not evaluated, and its subject.
const RULES: &str = "rules";
const INDEXER: &str = "indexer";

/// The conditions of all rules. If the index cannot be used, or is behind, nothing is known of any rule, and one condition says so.
pub fn observe(
    ledger: &Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Observation, LedgerError> {
    if config.rules.is_empty() {
        return Ok(Observation::default());
    }
    let reader = match RuleReader::open(&config.store_dir, ledger, now) {
        Ok(reader) => reader,
        Err(RuleReadError::Ledger(error)) => return Err(error),
        Err(RuleReadError::Index(error)) => return Ok(none_evaluated(&config.rules, &index_reason(&error))),
    };
    let until = match reader.finished {
        FinishedMinutes::Until(until) => until,
        FinishedMinutes::Behind(until) => {
            let mut observation = none_evaluated(&config.rules, &behind_reason(until, zone));
            // Where it runs on this host, the alerts on the indexer itself say so.
            if config.host.roles.iter().any(|(role, _)| *role == INDEXER) {
                observation.conditions.clear();
            }
            return Ok(observation);
        }
    };
    let mut observation = Observation::default();
    for rule in &config.rules {
        match reader.numbers(rule, until, until) {
            Ok(Some(numbers)) => {
                let states = evaluate(rule, &numbers, until);
                observation.unjudged.extend(waiting(rule, &states));
                observation
                    .conditions
                    .extend(conditions(rule, &states, config.hold));
            }
            // The indexer counts it from its next start on.
            Ok(None) => observation.unjudged.push(of_rule(rule)),
            Err(error) => return Ok(none_evaluated(&config.rules, &index_reason(&error))),
        }
    }
    Ok(observation)
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

fn none_evaluated(rules: &[RuleSettings], reason: &str) -> Observation {
    let condition = Condition {
        rule: RULES.to_owned(),
        subject: INDEXER.to_owned(),
        severity: Severity::Warning,
        text: format!("the rules are not evaluated: {reason}"),
        advice: "`logferry status` shows the indexer, and `logferry rules` what each rule waits for"
            .to_owned(),
        hold: None,
        channels: Vec::new(),
    };
    Observation {
        conditions: vec![condition],
        unjudged: rules.iter().map(of_rule).collect(),
    }
}
