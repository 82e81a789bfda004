//! When a rule would have fired on what is stored. Pure.

use jiff::Timestamp;
use logferry_config::{AlertHold, RuleSettings, RuleThreshold};
use logferry_inspection::time::clamped_timestamp;
use serde::Serialize;

use crate::evaluate::{RuleState, ValueState, evaluate_value, subject, text};
use crate::index_progress::seconds;
use crate::minute_sums::RuleNumbers;

/// A time in which people would have known of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleFiring {
    /// The source, group or log; `all` for a rule without `by`.
    pub subject: String,
    /// When people would have been told: `hold` after the rule began to fire.
    pub from: Timestamp,
    /// When they would have been told that it is over; `None`: it is not.
    pub until: Option<Timestamp>,
    /// What was measured at its worst.
    pub text: String,
}

/// A value that fires, or has fired a moment ago.
#[derive(Debug, Default)]
struct FiringWatch {
    first: Option<i64>,
    gone: Option<i64>,
    open: Option<(i64, ValueState)>,
}

/// The firings in the minutes from `since` to `until`, by value and time.
pub fn replay(
    rule: &RuleSettings,
    numbers: &RuleNumbers,
    hold: AlertHold,
    since: i64,
    until: i64,
) -> Vec<RuleFiring> {
    let mut firings = Vec::new();
    for (value, sums) in &numbers.values {
        let mut watch = FiringWatch::default();
        let first = since.saturating_sub(since.rem_euclid(60));
        for minute in (first..=until).step_by(60) {
            let state = evaluate_value(rule, value, sums, numbers.first_minute, minute);
            firings.extend(watch.look(rule, state, hold, minute));
        }
        firings.extend(watch.end(rule, None));
    }
    firings
}

impl FiringWatch {
    /// Looks at the state at a minute; the firing that ends there.
    fn look(
        &mut self,
        rule: &RuleSettings,
        state: ValueState,
        hold: AlertHold,
        minute: i64,
    ) -> Option<RuleFiring> {
        if state.state == RuleState::Unknown {
            // What has not lasted for `hold` yet begins anew.
            if self.open.is_none() {
                self.first = None;
            }
            return None;
        }
        if state.state != RuleState::Fires {
            self.first = None;
            let gone = *self.gone.get_or_insert(minute);
            let is_over = minute.saturating_sub(gone) >= seconds(hold.clear);
            return self
                .open
                .is_some()
                .then_some(())
                .filter(|()| is_over)
                .and_then(|()| self.end(rule, Some(minute)));
        }
        self.gone = None;
        let first = *self.first.get_or_insert(minute);
        if let Some((_, worst)) = &mut self.open {
            if is_worse(rule, &state, worst) {
                *worst = state;
            }
        } else if minute.saturating_sub(first) >= seconds(hold.firing) {
            self.open = Some((minute, state));
        }
        None
    }

    fn end(&mut self, rule: &RuleSettings, until: Option<i64>) -> Option<RuleFiring> {
        let (from, worst) = self.open.take()?;
        Some(RuleFiring {
            subject: subject(&worst.value).to_owned(),
            from: clamped_timestamp(from),
            until: until.map(clamped_timestamp),
            text: text(rule, &worst),
        })
    }
}

fn is_worse(rule: &RuleSettings, state: &ValueState, than: &ValueState) -> bool {
    match rule.threshold {
        RuleThreshold::Above(_) => state.measured > than.measured,
        RuleThreshold::Below(_) => state.measured < than.measured,
        RuleThreshold::Absent => false,
    }
}
