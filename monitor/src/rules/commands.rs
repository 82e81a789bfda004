//! What `logferry rules` shows: the rules with their states now, and when they would have fired.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{AlertHold, MonitorSettings, RuleSettings};
use logferry_inspection::InspectionError;
use logferry_ledger::Ledger;
use logferry_rules::{
    FinishedMinutes, RuleFiring, RuleReadError, RuleReader, RuleState, evaluate, limit_text, replay, subject,
    text,
};
use serde::Serialize;

use super::observe::{behind_reason, index_reason};

/// A rule, and what it says now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleListing {
    /// Its name.
    pub rule: String,
    /// What it counts.
    pub counter: String,
    /// Its limit, such as `above 5%`.
    pub limit: String,
    /// The time that it looks back, in seconds.
    pub over_seconds: u64,
    /// How bad it is.
    pub severity: &'static str,
    /// Who is told.
    pub channels: Vec<String>,
    /// For how many sources, groups or logs it is evaluated.
    pub values: usize,
    /// For how many of them there are no lines, or nothing to compare with, or lines are still on their way.
    pub unknown: usize,
    /// Those for which it fires now, with the text of the alert.
    pub firing: Vec<(String, String)>,
    /// Why it is not evaluated; `None`: it is.
    pub not_evaluated: Option<String>,
}

/// When a rule would have fired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleReplay {
    /// Its name.
    pub rule: String,
    /// How bad it is.
    pub severity: &'static str,
    /// The firings, by subject and time.
    pub firings: Vec<RuleFiring>,
    /// Why it cannot be said, or not of all the time; `None`: it can.
    pub note: Option<String>,
}

/// The rules with their states now.
pub fn list_rules(config: &MonitorSettings, now: Timestamp) -> Result<Vec<RuleListing>, InspectionError> {
    let opened = open(config, now)?;
    let rules = config.rules.iter();
    let listings = rules.map(|rule| {
        let mut listing = RuleListing {
            rule: rule.name.clone(),
            counter: rule.counter.to_string(),
            limit: limit_text(rule),
            over_seconds: rule.over.as_secs(),
            severity: rule.severity.as_str(),
            channels: rule.channels.clone(),
            values: 0,
            unknown: 0,
            firing: Vec::new(),
            not_evaluated: None,
        };
        let (reader, until) = match &opened {
            Ok((reader, FinishedMinutes::Until(until))) => (reader, *until),
            Ok((_, FinishedMinutes::Behind(until))) => {
                listing.not_evaluated = Some(behind_reason(*until, &TimeZone::system()));
                return listing;
            }
            Err(reason) => {
                listing.not_evaluated = Some(reason.clone());
                return listing;
            }
        };
        match reader.numbers(rule, until, until) {
            Ok(Some(numbers)) => {
                let states = evaluate(rule, &numbers, until);
                let in_state = |wanted| states.iter().filter(move |state| state.state == wanted);
                listing.values = states.len();
                listing.unknown = in_state(RuleState::Unknown)
                    .chain(in_state(RuleState::Waits))
                    .count();
                let firing = in_state(RuleState::Fires);
                listing.firing = firing
                    .map(|state| (subject(&state.value).to_owned(), text(rule, state)))
                    .collect();
            }
            Ok(None) => listing.not_evaluated = Some(never_counted(rule)),
            Err(error) => listing.not_evaluated = Some(index_reason(&error)),
        }
        listing
    });
    Ok(listings.collect())
}

/// When each rule would have fired from `since` on, on the numbers that are stored.
pub fn replay_rules(
    config: &MonitorSettings,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<RuleReplay>, InspectionError> {
    let opened = open(config, now)?;
    let since = since.as_second();
    let rules = config.rules.iter();
    let replays = rules.map(|rule| {
        let mut result = RuleReplay {
            rule: rule.name.clone(),
            severity: rule.severity.as_str(),
            firings: Vec::new(),
            note: None,
        };
        let (reader, until) = match &opened {
            Ok((reader, FinishedMinutes::Until(until))) => (reader, *until),
            Ok((reader, FinishedMinutes::Behind(until))) => {
                result.note = Some(behind_reason(*until, &TimeZone::system()));
                match until {
                    Some(until) => (reader, *until),
                    None => return result,
                }
            }
            Err(reason) => {
                result.note = Some(reason.clone());
                return result;
            }
        };
        let hold = AlertHold {
            firing: rule.hold.unwrap_or(config.hold.firing),
            ..config.hold
        };
        match reader.numbers(rule, since, until) {
            Ok(Some(numbers)) => result.firings = replay(rule, &numbers, hold, since, until),
            Ok(None) => result.note = Some(never_counted(rule)),
            Err(error) => result.note = Some(index_reason(&error)),
        }
        result
    });
    Ok(replays.collect())
}

/// The open index, or why it cannot be used.
fn open(
    config: &MonitorSettings,
    now: Timestamp,
) -> Result<Result<(RuleReader, FinishedMinutes), String>, InspectionError> {
    let ledger = Ledger::open(&config.data_dir)?;
    match RuleReader::open(&config.store_dir, &ledger, now) {
        Ok(reader) => {
            let finished = reader.finished;
            Ok(Ok((reader, finished)))
        }
        Err(RuleReadError::Index(error)) => Ok(Err(index_reason(&error))),
        Err(RuleReadError::Ledger(error)) => Err(error.into()),
    }
}

fn never_counted(rule: &RuleSettings) -> String {
    format!(
        "the indexer has never counted `{}`; restart it, if the counter is new in indexer.counters",
        rule.counter
    )
}
