//! `logferry rules`: the rules with their states now, and with `--test` when each would have fired.

use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_monitor::rules::{RuleFiring, RuleListing, RuleReplay, list_rules, replay_rules};
use logferry_text::{Table, count_of, duration};

use crate::args::RulesArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::owner;

/// How far `--test` looks back unless it is told.
const TEST_PAST: std::time::Duration = std::time::Duration::from_hours(24);

/// Prints the rules. Exit code 1 if one of them fires now, or cannot be evaluated.
pub(crate) fn run(file: &Path, options: &RulesArgs) -> Result {
    let config = configuration::load(file)?;
    let monitor = config.monitor.as_ref().ok_or_else(|| {
        Failure::Configuration(anyhow!(
            "{}: there is no monitor section, so there are no rules",
            file.display()
        ))
    })?;
    owner::act_as_owner(&[&monitor.data_dir])?;
    let now = Timestamp::now();
    if options.test {
        return test(monitor, options, now);
    }
    let rules = list_rules(monitor, now)?;
    let text = if options.json {
        serde_json::to_string(&rules)? + "\n"
    } else {
        listing(&rules)
    };
    console::print(&text)?;
    let is_well = |rule: &RuleListing| rule.firing.is_empty() && rule.not_evaluated.is_none();
    Ok(CommandOutcome::fine_if(rules.iter().all(is_well)))
}

fn test(monitor: &MonitorSettings, options: &RulesArgs, now: Timestamp) -> Result {
    let since = options.since.or_else(|| now.checked_sub(TEST_PAST).ok());
    let rules = replay_rules(monitor, since.unwrap_or(now), now)?;
    let text = if options.json {
        serde_json::to_string(&rules)? + "\n"
    } else {
        replay(&rules, now, &TimeZone::system())
    };
    console::print(&text)?;
    Ok(CommandOutcome::Fine)
}

fn listing(rules: &[RuleListing]) -> String {
    if rules.is_empty() {
        return "there are no rules in monitor.rules\n".to_owned();
    }
    let mut table = Table::new(["rule", "counter", "limit", "over", "severity", "channels", "now"]);
    let mut details = Vec::new();
    for rule in rules {
        let now = match (&rule.not_evaluated, rule.firing.len()) {
            (Some(_), _) => "not evaluated".to_owned(),
            (None, 0) if rule.values > 0 && rule.unknown == rule.values => "unknown".to_owned(),
            (None, 0) => "well".to_owned(),
            (None, firing) => format!("fires for {firing} of {}", rule.values),
        };
        table.row([
            rule.rule.clone(),
            rule.counter.clone(),
            rule.limit.clone(),
            duration(std::time::Duration::from_secs(rule.over_seconds)),
            rule.severity.to_owned(),
            rule.channels.join(", "),
            now,
        ]);
        for (subject, text) in &rule.firing {
            details.push(format!("{}, {subject}: {text}\n", rule.rule));
        }
    }
    // Mostly all rules wait for the same.
    let mut reasons: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule.not_evaluated.as_deref())
        .collect();
    reasons.dedup();
    for reason in reasons {
        details.push(format!("not evaluated: {reason}\n"));
    }
    if !details.is_empty() {
        details.insert(0, "\n".to_owned());
    }
    format!("{table}{}", details.concat())
}

fn replay(rules: &[RuleReplay], now: Timestamp, zone: &TimeZone) -> String {
    if rules.is_empty() {
        return "there are no rules in monitor.rules\n".to_owned();
    }
    let local = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%F %H:%M").to_string();
    let mut table = Table::new(["rule", "subject", "told at", "over at", ">lasted", "at its worst"]);
    let mut notes = Vec::new();
    for rule in rules {
        for firing in &rule.firings {
            table.row([
                rule.rule.clone(),
                firing.subject.clone(),
                local(firing.from),
                firing.until.map_or_else(|| "still".to_owned(), local),
                lasted(firing, now),
                firing.text.clone(),
            ]);
        }
        let note = match &rule.note {
            Some(note) => note.clone(),
            None if rule.firings.is_empty() => "would not have fired".to_owned(),
            None => count_of(rule.firings.len() as u64, "alert"),
        };
        notes.push(format!("{}: {note}\n", rule.rule));
    }
    let notes = notes.concat();
    let has_rows = rules.iter().any(|rule| !rule.firings.is_empty());
    if has_rows {
        format!("{table}\n{notes}")
    } else {
        notes
    }
}

fn lasted(firing: &RuleFiring, now: Timestamp) -> String {
    let until = firing.until.unwrap_or(now);
    duration(until.duration_since(firing.from).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(firing: &[(&str, &str)], not_evaluated: Option<&str>) -> RuleListing {
        let owned = |(subject, text): &(&str, &str)| ((*subject).to_owned(), (*text).to_owned());
        RuleListing {
            rule: "errors".to_owned(),
            counter: "status_5xx".to_owned(),
            limit: "above 5%".to_owned(),
            over_seconds: 300,
            severity: "critical",
            channels: vec!["mail".to_owned(), "chat".to_owned()],
            values: 3,
            unknown: 1,
            firing: firing.iter().map(owned).collect(),
            not_evaluated: not_evaluated.map(str::to_owned),
        }
    }

    #[test]
    fn rules_are_shown_with_their_state_and_what_fires() {
        let shown = listing(&[rule(&[("a", "status_5xx: 7% of 100 lines in 5 min")], None)]);
        assert_eq!(
            shown,
            "rule    counter     limit     over   severity  channels    now\n\
             errors  status_5xx  above 5%  5 min  critical  mail, chat  fires for 1 of 3\n\
             \n\
             errors, a: status_5xx: 7% of 100 lines in 5 min\n"
        );
        let behind = Some("the indexer is behind");
        let shown = listing(&[rule(&[], behind), rule(&[], behind)]);
        assert!(
            shown.ends_with("\nnot evaluated: the indexer is behind\n"),
            "{shown}"
        );
    }

    #[test]
    fn test_shows_when_people_would_have_been_told() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let firing = RuleFiring {
            subject: "a".to_owned(),
            from: at("2026-11-21T02:20:00Z"),
            until: Some(at("2026-11-21T02:35:00Z")),
            text: "status_5xx: 9% of 100 lines in 5 min, above 5%".to_owned(),
        };
        let replayed = |name: &str, firings| RuleReplay {
            rule: name.to_owned(),
            severity: "critical",
            firings,
            note: None,
        };
        let rules = [replayed("errors", vec![firing]), replayed("orders", Vec::new())];
        let shown = replay(&rules, at("2026-11-21T03:00:00Z"), &TimeZone::UTC);
        assert_eq!(
            shown,
            "rule    subject  told at           over at           lasted  at its worst\n\
             errors  a        2026-11-21 02:20  2026-11-21 02:35  15 min  status_5xx: 9% of 100 lines in 5 min, above 5%\n\
             \n\
             errors: 1 alert\n\
             orders: would not have fired\n"
        );
    }
}
