//! What people are told of a rule that fires. Pure.

use logferry_config::{AlertHold, RuleCounter, RuleDimension, RuleSettings, RuleSeverity};
use logferry_ledger::Incident;
use logferry_rules::{RuleNumbers, RuleState, ValueState, subject, text};

use crate::incidents::condition::{Condition, Severity, Unjudged};

/// What is wrong now, by the states of a rule's values. `clear`: how long it must be gone.
pub(crate) fn conditions(rule: &RuleSettings, states: &[ValueState], hold: AlertHold) -> Vec<Condition> {
    let firing = states.iter().filter(|state| state.state == RuleState::Fires);
    firing
        .map(|state| Condition {
            rule: rule.name.clone(),
            subject: subject(&state.value).to_owned(),
            severity: severity(rule.severity),
            text: text(rule, state),
            advice: advice(rule, &state.value),
            hold: rule.hold.map(|firing| AlertHold { firing, ..hold }),
            channels: rule.channels.clone(),
        })
        .collect()
}

/// What nothing is said of: lines are still on their way, or there is nothing to measure. An open alert stays as it is, until the value
/// has had no lines for so long that it is given up. What has not lasted for `hold` when there is nothing to measure begins anew.
pub(crate) fn unjudged(
    rule: &RuleSettings,
    numbers: &RuleNumbers,
    states: &[ValueState],
    known: &[Incident],
) -> Vec<Unjudged> {
    let is_open = |value: &str| {
        let is_it = |it: &&Incident| it.rule == rule.name && it.subject == subject(value);
        known.iter().find(is_it).is_some_and(Incident::is_open)
    };
    let is_unjudged = |state: &&ValueState| match state.state {
        RuleState::Waits => true,
        RuleState::Unknown => is_open(&state.value) && numbers.had_lines_lately(&state.value),
        RuleState::Fires | RuleState::Well => false,
    };
    let unjudged = states.iter().filter(is_unjudged);
    unjudged
        .map(|state| Unjudged {
            rule: Some(rule.name.clone()),
            subject: Some(subject(&state.value).to_owned()),
        })
        .collect()
}

const fn severity(severity: RuleSeverity) -> Severity {
    match severity {
        RuleSeverity::Warning => Severity::Warning,
        RuleSeverity::Critical => Severity::Critical,
    }
}

/// What to look at.
fn advice(rule: &RuleSettings, value: &str) -> String {
    let filter = match rule.by {
        Some(RuleDimension::Source) => format!(" --source {value}"),
        Some(RuleDimension::Group) => format!(" --group {value}"),
        Some(RuleDimension::Log) => format!(" --log {value}"),
        None => String::new(),
    };
    let name = rule.counter.to_string();
    let since = format!("--since {}m", rule.over.as_secs() / 60 + 5);
    let is_named = matches!(rule.counter, RuleCounter::Named(_));
    let kind = match name.split_once('_') {
        Some(("status", class)) if !is_named => format!(" --status {class}"),
        Some(("level", level)) if !is_named => format!(" --level {level}"),
        _ => String::new(),
    };
    format!(
        "`logferry numbers --by source {since}` shows the minutes, `logferry search{kind}{filter} {since}` the lines"
    )
}
