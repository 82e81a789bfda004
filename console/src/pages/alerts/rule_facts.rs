//! Reads what the rules with an open incident measured, and keeps it for a minute: before that, there is no newer number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{Ledger, LedgerError};
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

/// Charts of a rule that are drawn at most.
const CHARTS_MAX: usize = 50;

/// Rule and subject of an incident.
pub(super) type IncidentKey = (String, String);

/// The charts that were asked for; `None` where there is nothing to draw.
pub(super) type RuleCharts = BTreeMap<IncidentKey, Option<RuleChart>>;

/// The last reading.
pub(crate) type KeptCharts = Arc<KeptRead<RuleCharts>>;

/// The charts of incidents of configured rules; the others have none. An incident that is newer than the last reading is read at once.
pub(super) async fn rule_charts(
    state: &AppState,
    kept: &KeptCharts,
    incidents: BTreeSet<IncidentKey>,
) -> Result<Arc<RuleCharts>, Problem> {
    let rules = &state.settings.shared.rules;
    let asked: BTreeSet<_> = incidents
        .into_iter()
        .filter(|(name, _)| rules.iter().any(|rule| rule.name == *name))
        .collect();
    if asked.is_empty() {
        return Ok(Arc::default());
    }
    let (state, wanted) = (state.clone(), asked.clone());
    let read = |_| async move {
        blocking(move || {
            let read = |ledger: &Ledger| read(&state, ledger, asked, Timestamp::now());
            Ok(state.host.read_here(read)?)
        })
        .await
    };
    let fits = |kept: &RuleCharts| wanted.iter().all(|key| kept.contains_key(key));
    kept.get_fitting(AGES, fits, read).await
}

/// Without an index there is nothing to draw.
fn read(
    state: &AppState,
    ledger: &Ledger,
    asked: BTreeSet<IncidentKey>,
    now: Timestamp,
) -> Result<RuleCharts, LedgerError> {
    let mut charts: RuleCharts = asked.into_iter().map(|key| (key, None)).collect();
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
    for rule in &state.settings.shared.rules {
        let mut of_rule = charts
            .iter_mut()
            .filter(|((name, _), _)| *name == rule.name)
            .take(CHARTS_MAX)
            .peekable();
        if of_rule.peek().is_none() {
            continue;
        }
        // What cannot be read costs the chart, not the page.
        let Ok(Some(numbers)) = reader.numbers(rule, since, until) else {
            continue;
        };
        for ((_, subject), chart) in of_rule {
            let value = if rule.by.is_some() { subject } else { "" };
            *chart = course(rule, &numbers, value, STEPS, until)
                .map(|course| RuleChart::new(rule, subject, &course));
        }
    }
    Ok(charts)
}
