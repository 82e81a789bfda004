//! What a rule measured over time. Pure.

use logferry_config::{RuleSettings, RuleThreshold};

use crate::evaluate::{RuleState, ValueState, evaluate_value};
use crate::minute_sums::RuleNumbers;

/// Seconds of a minute, at whose end a rule is evaluated.
const MINUTE: i64 = 60;

/// What was measured of one value, in equally long steps.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleCourse {
    /// First second of the first step.
    pub from: i64,
    /// Seconds of a step.
    pub step_seconds: i64,
    /// The steps, oldest first.
    pub steps: Vec<CourseStep>,
}

/// The worst minute of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CourseStep {
    /// What was measured; `None`: nothing is known.
    pub measured: Option<f64>,
    /// Whether the rule's limit was passed in a minute of it. People are told only if that lasts.
    pub fires: bool,
}

/// What a rule measured of a value in the steps that end at `until`, as [`crate::evaluate()`] saw it at each minute.
pub fn course(
    rule: &RuleSettings,
    numbers: &RuleNumbers,
    value: &str,
    (step_seconds, steps): (i64, usize),
    until: i64,
) -> Option<RuleCourse> {
    let sums = numbers.values.get(value)?;
    let step_seconds = step_seconds.max(MINUTE);
    let length = step_seconds.saturating_mul(i64::try_from(steps).unwrap_or(0));
    let from = until.saturating_sub(length);
    let starts = (0..steps).scan(from, |start, _| {
        let this = *start;
        *start = start.saturating_add(step_seconds);
        Some(this)
    });
    let steps = starts.map(|start| {
        let ends = (start.saturating_add(MINUTE)..=start.saturating_add(step_seconds)).step_by(60);
        let states = ends.map(|end| evaluate_value(rule, value, sums, numbers.first_minute, end));
        states.fold(CourseStep::default(), |worst, state| worst.or(rule, &state))
    });
    Some(RuleCourse {
        from,
        step_seconds,
        steps: steps.collect(),
    })
}

impl RuleCourse {
    /// The worst of all steps.
    pub fn worst(&self, rule: &RuleSettings) -> Option<f64> {
        let known = self.steps.iter().filter_map(|step| step.measured);
        known.reduce(|one, other| worse(rule, one, other))
    }
}

impl CourseStep {
    fn or(self, rule: &RuleSettings, state: &ValueState) -> Self {
        // Before the first minute that was counted, nothing is not a number.
        let is_known = state.state != RuleState::Unknown || matches!(rule.threshold, RuleThreshold::Above(_));
        let new = state.measured.filter(|_| is_known);
        let measured = match (self.measured, new) {
            (Some(one), Some(other)) => Some(worse(rule, one, other)),
            (one, other) => one.or(other),
        };
        Self {
            measured,
            fires: self.fires || state.state == RuleState::Fires,
        }
    }
}

/// The number that is nearer to what the rule warns of.
fn worse(rule: &RuleSettings, one: f64, other: f64) -> f64 {
    match rule.threshold {
        RuleThreshold::Above(_) => one.max(other),
        RuleThreshold::Below(_) | RuleThreshold::Absent => one.min(other),
    }
}
