//! Reads what the rules with an open incident measured, and keeps it for a minute: before that, there is no newer number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::RuleSettings;
use logferry_ledger::{Incident, Ledger, LedgerError};
use logferry_rules::{FinishedMinutes, RuleReadError, RuleReader, course};

use super::rule_chart::{RuleChart, STEPS};
use crate::answer::problem::Problem;
use crate::app::kept_read::{KeptAges, KeptRead};
use crate::app::state::AppState;
use crate::host::blocking;

const AGES: KeptAges = KeptAges {
    fresh: Duration::from_mins(1),
    usable: Duration::from_mins(5),
};

/// Charts that are kept at most.
const CHARTS_MAX: usize = 50;

/// The charts by rule and subject.
pub(super) type RuleCharts = BTreeMap<(String, String), RuleChart>;

/// The last reading.
pub(crate) type KeptCharts = Arc<KeptRead<RuleCharts>>;

/// The charts of the configured rules that have an open incident. Without an index there are none.
pub(super) async fn rule_charts(state: &AppState, kept: &KeptCharts) -> Result<Arc<RuleCharts>, Problem> {
    if state.settings.shared.rules.is_empty() {
        return Ok(Arc::default());
    }
    let state = state.clone();
    kept.get(AGES, |_| async move {
        blocking(move || {
            let read = state
                .host
                .read_here(|ledger| read(&state, ledger, Timestamp::now()))?;
            Ok(read)
        })
        .await
    })
    .await
}

fn read(state: &AppState, ledger: &Ledger, now: Timestamp) -> Result<RuleCharts, LedgerError> {
    let mut charts = RuleCharts::new();
    let incidents = ledger.incidents(Timestamp::MAX)?;
    let rules = state.settings.shared.rules.iter();
    let open: Vec<_> = rules
        .map(|rule| (rule, subjects(rule, &incidents)))
        .filter(|(_, subjects)| !subjects.is_empty())
        .collect();
    if open.is_empty() {
        return Ok(charts);
    }
    let reader = match RuleReader::open(state.host.store_dir(), ledger, now) {
        Ok(reader) => reader,
        Err(RuleReadError::Ledger(error)) => return Err(error),
        Err(RuleReadError::Index(_)) => return Ok(charts),
    };
    let (FinishedMinutes::Until(until) | FinishedMinutes::Behind(Some(until))) = reader.finished else {
        return Ok(charts);
    };
    let (step, steps) = STEPS;
    let since = until.saturating_sub(step.saturating_mul(i64::try_from(steps).unwrap_or(0)));
    for (rule, subjects) in open {
        // What cannot be read costs the chart, not the page.
        let Ok(Some(numbers)) = reader.numbers(rule, since, until) else {
            continue;
        };
        for subject in subjects {
            let value = if rule.by.is_some() { subject } else { "" };
            if let Some(course) = course(rule, &numbers, value, STEPS, until)
                && charts.len() < CHARTS_MAX
            {
                let chart = RuleChart::new(rule, subject, &course);
                charts.insert((rule.name.clone(), subject.to_owned()), chart);
            }
        }
    }
    Ok(charts)
}

fn subjects<'a>(rule: &RuleSettings, incidents: &'a [Incident]) -> Vec<&'a str> {
    let open = incidents.iter().filter(|it| it.is_open() && it.rule == rule.name);
    open.map(|it| it.subject.as_str()).collect()
}
