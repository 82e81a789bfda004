//! Whether a rule fires, and its texts. Pure: rule, counts by minute and the time are arguments.

use logferry_config::{RuleMeasure, RuleSettings, RuleThreshold};
use logferry_text::{count, count_of, duration};

use crate::index_progress::{seconds, span_start};
use crate::minute_sums::{MinuteSums, RuleNumbers, RuleSum};

/// The subject of a rule for all lines together.
const ALL: &str = "all";

/// What a rule says of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleState {
    /// It fires.
    Fires,
    /// It does not fire.
    Well,
    /// There are no lines, or nothing to compare with: it does not fire, and an alert stays as it is.
    Unknown,
    /// There are too few, but some may still be on their way: an alert stays as it is.
    Waits,
}

/// A rule's verdict on one value.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueState {
    /// The value; empty for all lines together.
    pub value: String,
    /// Whether it fires.
    pub state: RuleState,
    /// The measure, if it is known.
    pub measured: Option<f64>,
    sum: RuleSum,
    baseline: Option<RuleSum>,
}

/// The state of each value at the minute's start `until`.
pub fn evaluate(rule: &RuleSettings, numbers: &RuleNumbers, until: i64) -> Vec<ValueState> {
    let wants_more = matches!(rule.threshold, RuleThreshold::Below(_) | RuleThreshold::Absent);
    let evaluated = |(value, sums): (&String, &MinuteSums)| {
        let mut state = evaluate_value(rule, value, sums, numbers.first_minute, until);
        if wants_more && state.state == RuleState::Fires && numbers.may_get_more(value, until) {
            state.state = RuleState::Waits;
        }
        state
    };
    numbers.values.iter().map(evaluated).collect()
}

/// The state of one value.
pub(crate) fn evaluate_value(
    rule: &RuleSettings,
    value: &str,
    sums: &MinuteSums,
    first_minute: Option<i64>,
    until: i64,
) -> ValueState {
    let from = span_start(until, rule.over);
    let sum = sums.between(from, until);
    let back = rule.measure.baseline().map(seconds);
    let baseline = back.map(|back| sums.between(from.saturating_sub(back), until.saturating_sub(back)));
    // Before the first minute nothing was counted, which is not the same as nothing.
    let oldest = from.saturating_sub(back.unwrap_or(0));
    let is_counted = |from: i64| first_minute.is_some_and(|first| first <= from);
    let measured = measured(rule, sum, baseline);
    let state = match (measured, rule.threshold) {
        // Whatever is there is not fewer than nothing.
        (None, RuleThreshold::Below(_)) if back.is_some() && sum.count > 0 => {
            state(is_counted(oldest), false)
        }
        (None, _) => RuleState::Unknown,
        (Some(measured), RuleThreshold::Above(limit)) => {
            let is_known = back.is_none() || is_counted(oldest);
            state(is_known, measured > limit)
        }
        (Some(measured), RuleThreshold::Below(limit)) => state(is_counted(oldest), measured < limit),
        (Some(_), RuleThreshold::Absent) => state(is_counted(from), sum.count == 0),
    };
    ValueState {
        value: value.to_owned(),
        state,
        measured,
        sum,
        baseline,
    }
}

const fn state(is_known: bool, fires: bool) -> RuleState {
    match (is_known, fires) {
        (false, _) => RuleState::Unknown,
        (true, true) => RuleState::Fires,
        (true, false) => RuleState::Well,
    }
}

/// What the rule compares with its limit; `None`: a share of no lines, or a ratio to nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "a measure need not be exact beyond 2^53"
)]
fn measured(rule: &RuleSettings, sum: RuleSum, baseline: Option<RuleSum>) -> Option<f64> {
    let count = sum.count as f64;
    let divided = |by: u64| (by > 0).then(|| count / by as f64);
    match rule.measure {
        RuleMeasure::Count => Some(count),
        RuleMeasure::Rate => divided(rule.over.as_secs()),
        RuleMeasure::Share => divided(sum.lines),
        RuleMeasure::RatioToYesterday | RuleMeasure::RatioToLastWeek => divided(baseline?.count),
    }
}

/// The subject of an alert about a value.
pub fn subject(value: &str) -> &str {
    if value.is_empty() { ALL } else { value }
}

/// `status_5xx: 7.2% of 1,650 lines in 5 min, above 5%`
pub fn text(rule: &RuleSettings, state: &ValueState) -> String {
    let (counter, over) = (&rule.counter, duration(rule.over));
    let number = count(state.sum.count);
    let measured = state.measured.unwrap_or_default();
    let what = match rule.measure {
        RuleMeasure::Count => format!("{counter}: {number} in {over}"),
        RuleMeasure::Rate => format!("{counter}: {} a second over {over}", decimal(measured)),
        RuleMeasure::Share => format!(
            "{counter}: {} of {} in {over}",
            percent(measured),
            count_of(state.sum.lines, "line")
        ),
        RuleMeasure::RatioToYesterday | RuleMeasure::RatioToLastWeek => {
            let then = match rule.measure {
                RuleMeasure::RatioToYesterday => "yesterday",
                _ => "a week ago",
            };
            let before = count(state.baseline.unwrap_or_default().count);
            format!(
                "{counter}: {number} in {over}, {} of the {before} of {then}",
                percent(measured)
            )
        }
    };
    match rule.threshold {
        RuleThreshold::Absent => format!("no {counter} in {over}"),
        _ => format!("{what}, {}", limit_text(rule)),
    }
}

/// `above 5%`
pub fn limit_text(rule: &RuleSettings) -> String {
    let (word, limit) = match rule.threshold {
        RuleThreshold::Above(limit) => ("above", limit),
        RuleThreshold::Below(limit) => ("below", limit),
        RuleThreshold::Absent => return "absent".to_owned(),
    };
    match rule.measure {
        RuleMeasure::Count => format!("{word} {}", decimal(limit)),
        RuleMeasure::Rate => format!("{word} {} a second", decimal(limit)),
        _ => format!("{word} {}", percent(limit)),
    }
}

fn percent(share: f64) -> String {
    format!("{}%", decimal(share * 100.0))
}

/// At most two digits after the point, and none that say nothing.
fn decimal(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
