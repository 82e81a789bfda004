//! The state machine of incidents: what was known, and what one look has found, give what is known now and what people are told.
//! Pure: the time is an argument, and everything that is remembered is in the [`Incident`]s, so a restart changes nothing.
//!
//! Invariants:
//! - At most one incident with the same rule and subject is not closed.
//! - It opens once it has lasted for `hold.firing`, and closes once it was gone for `hold.clear`; what comes back before is the
//!   same incident. What opens and closes again and again must be gone for longer each time.
//! - People are told of an incident once, again when it becomes worse, and once when it is over. Who was told that it began is
//!   told that it is over, even if the subject was silenced meanwhile; who was not, is not.
//! - What is gone is not told as new, not even when a silence ends.
//! - What cannot be judged stays as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::AlertHold;
use logferry_ledger::{Incident, IncidentUpdate, Silence, TimelineEntry, covers};
use logferry_text::duration;
use serde::{Deserialize, Serialize};

use super::condition::{Condition, Observation, Unjudged};
use logferry_inspection::time::age;

/// What opens again within so long of its end comes and goes.
pub(crate) const RELAPSE_WINDOW: Duration = Duration::from_hours(1);

/// What comes and goes must be gone for at least so long, doubled with each relapse up to [`RELAPSE_CLEAR_MAX`].
const RELAPSE_CLEAR_MIN: Duration = Duration::from_mins(1);
const RELAPSE_CLEAR_MAX: Duration = Duration::from_mins(30);

/// Doublings of the time that something must be gone.
const DOUBLINGS_MAX: u32 = 5;

/// Returns that a timeline tells one by one.
const RETURNS_TOLD: u32 = 10;

/// People are reminded once in so long of what is still open.
const REMINDER: Duration = Duration::from_hours(24);

/// What people are told of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NewsKind {
    /// It has begun.
    Opened,
    /// It has become worse.
    Worse,
    /// It is still open, a day later.
    StillOpen,
    /// It is over.
    Over,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) kind: NewsKind,
    /// The incident as it is now.
    pub(crate) incident: Incident,
}

/// What a look leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LookOutcome {
    /// What has changed of incidents, told or not.
    pub(crate) updates: Vec<IncidentUpdate>,
    /// What people are told.
    pub(crate) news: Vec<News>,
}

/// Applies what a look has found. `known`: the incidents that are not closed, and those closed within [`RELAPSE_WINDOW`].
pub(crate) fn advance(
    known: &[Incident],
    silences: &[Silence],
    observed: &Observation,
    hold: AlertHold,
    now: Timestamp,
) -> LookOutcome {
    let key = |it: &Incident| (it.rule.clone(), it.subject.clone());
    let (closed, open): (Vec<_>, Vec<_>) = known.iter().partition(|it| it.closed_at.is_some());
    let mut open: BTreeMap<_, _> = open.into_iter().map(|it| (key(it), it)).collect();
    // The latest one of a key is the last.
    let closed: BTreeMap<_, _> = closed.into_iter().map(|it| (key(it), it)).collect();
    let mut steps = Vec::new();
    for (key, condition) in distinct(&observed.conditions) {
        let before = open.remove(&key);
        let hold = condition.hold.unwrap_or(hold);
        let mut step = IncidentStep::from(
            before.cloned(),
            || begin(condition, closed.get(&key).copied(), now),
            now,
        );
        step.seen(condition, hold, now);
        steps.push(step);
    }
    for before in open.into_values() {
        let mut step = IncidentStep::known(before.clone(), now);
        if !is_unjudged(&observed.unjudged, before) {
            step.not_seen(now);
        }
        steps.push(step);
    }
    tell(&mut steps, silences, now);
    outcome(steps)
}

/// The conditions by rule and subject. Of several with the same ones the worst counts.
fn distinct(conditions: &[Condition]) -> BTreeMap<(String, String), &Condition> {
    let mut distinct: BTreeMap<_, &Condition> = BTreeMap::new();
    for condition in conditions {
        let key = (condition.rule.clone(), condition.subject.clone());
        let worst = distinct.entry(key).or_insert(condition);
        if condition.severity > worst.severity {
            *worst = condition;
        }
    }
    distinct
}

fn is_unjudged(unjudged: &[Unjudged], incident: &Incident) -> bool {
    unjudged.iter().any(|it| {
        let is_rule = it.rule.as_ref().is_none_or(|rule| *rule == incident.rule);
        let subject = it.subject.as_ref();
        is_rule && subject.is_none_or(|subject| covers(subject, &incident.subject))
    })
}

/// A new incident; `last`: the last one with this rule and subject that is closed.
fn begin(condition: &Condition, last: Option<&Incident>, now: Timestamp) -> Incident {
    let last = last.filter(|last| {
        last.closed_at
            .is_some_and(|closed| age(closed, now) <= RELAPSE_WINDOW)
    });
    Incident {
        id: None,
        rule: condition.rule.clone(),
        subject: condition.subject.clone(),
        severity: condition.severity,
        text: String::new(),
        advice: String::new(),
        channels: Vec::new(),
        clear_after: Duration::ZERO,
        since: now,
        opened_at: None,
        gone_since: None,
        closed_at: None,
        told: None,
        told_at: None,
        returns: 0,
        relapses: last.map_or(0, |last| last.relapses.saturating_add(1)),
    }
}

/// How long an incident must be gone: `clear`, longer if it comes and goes.
fn clear_after(clear: Duration, relapses: u32) -> Duration {
    if relapses == 0 {
        return clear;
    }
    let doubled = clear
        .max(RELAPSE_CLEAR_MIN)
        .saturating_mul(1 << relapses.min(DOUBLINGS_MAX));
    doubled.min(RELAPSE_CLEAR_MAX).max(clear)
}

/// What one look makes of one incident.
#[derive(Debug)]
struct IncidentStep {
    before: Option<Incident>,
    incident: Incident,
    entries: Vec<TimelineEntry>,
    is_dropped: bool,
    news: Option<NewsKind>,
}

impl IncidentStep {
    fn from(before: Option<Incident>, new: impl FnOnce() -> Incident, now: Timestamp) -> Self {
        match before {
            Some(before) => Self::known(before, now),
            None => Self {
                before: None,
                incident: new(),
                entries: Vec::new(),
                is_dropped: false,
                news: None,
            },
        }
    }

    /// An incident of an earlier look. A clock that was set back does not keep it for longer than `hold` says.
    fn known(before: Incident, now: Timestamp) -> Self {
        let past = |at: Option<Timestamp>| at.map(|at| at.min(now));
        let incident = Incident {
            since: match before.opened_at {
                // It is part of the incident's name elsewhere.
                Some(_) => before.since,
                None => before.since.min(now),
            },
            opened_at: past(before.opened_at),
            gone_since: past(before.gone_since),
            told_at: past(before.told_at),
            ..before.clone()
        };
        Self {
            before: Some(before),
            incident,
            entries: Vec::new(),
            is_dropped: false,
            news: None,
        }
    }

    fn note(&mut self, at: Timestamp, text: String) {
        self.entries.push(TimelineEntry { at, text });
    }

    /// The condition is true.
    fn seen(&mut self, condition: &Condition, hold: AlertHold, now: Timestamp) {
        let was = self.incident.severity;
        let incident = &mut self.incident;
        incident.severity = condition.severity;
        incident.text.clone_from(&condition.text);
        incident.advice.clone_from(&condition.advice);
        incident.channels.clone_from(&condition.channels);
        incident.clear_after = clear_after(hold.clear, incident.relapses);
        let is_open = incident.opened_at.is_some();
        if incident.gone_since.take().is_some() && is_open {
            incident.returns = incident.returns.saturating_add(1);
            let returns = incident.returns;
            if returns < RETURNS_TOLD {
                self.note(now, "the cause is back".to_owned());
            } else if returns == RETURNS_TOLD {
                self.note(
                    now,
                    "the cause is back; it comes and goes, which is no longer noted".to_owned(),
                );
            }
        }
        if !is_open && age(self.incident.since, now) >= hold.firing {
            self.incident.opened_at = Some(now);
            let (since, severity) = (self.incident.since, condition.severity.as_str());
            self.note(since, format!("{severity}: {}", condition.text));
        } else if is_open && condition.severity != was {
            self.note(
                now,
                format!("now {}: {}", condition.severity.as_str(), condition.text),
            );
        }
    }

    /// The condition is not true.
    fn not_seen(&mut self, now: Timestamp) {
        if self.incident.opened_at.is_none() {
            self.is_dropped = true;
            return;
        }
        if self.incident.gone_since.is_none() && self.incident.returns < RETURNS_TOLD {
            let wait = self.incident.clear_after;
            let ends = if wait.is_zero() {
                String::new()
            } else {
                format!("; the incident is over if it stays away for {}", duration(wait))
            };
            // Of a silent source "it" would be read as the source.
            self.note(now, format!("the cause is gone{ends}"));
        }
        let gone_since = *self.incident.gone_since.get_or_insert(now);
        if age(gone_since, now) >= self.incident.clear_after {
            self.incident.closed_at = Some(now);
            let lasted = duration(age(self.incident.since, gone_since));
            self.note(now, format!("over; it lasted {lasted}"));
        }
    }

    /// What people are told now, if anything, apart from reminders.
    fn tell(&mut self, is_silenced: bool, now: Timestamp) {
        let incident = &mut self.incident;
        if incident.closed_at.is_some() {
            self.news = incident.told.is_some().then_some(NewsKind::Over);
        } else if incident.is_open()
            && incident.gone_since.is_none()
            && !is_silenced
            && incident.told < Some(incident.severity)
        {
            self.news = Some(match incident.told {
                None => NewsKind::Opened,
                Some(_) => NewsKind::Worse,
            });
            incident.told = Some(incident.severity);
            incident.told_at = Some(now);
        }
    }

    /// Whether a reminder may name it: it is seen, people were told, and nothing else is told of it now.
    fn may_remind(&self, is_silenced: bool) -> bool {
        let it = &self.incident;
        self.news.is_none() && !is_silenced && it.is_open() && it.told.is_some() && it.gone_since.is_none()
    }
}

fn tell(steps: &mut [IncidentStep], silences: &[Silence], now: Timestamp) {
    let is_silenced = |step: &IncidentStep| {
        let subject = &step.incident.subject;
        silences.iter().any(|silence| silence.holds_for(subject, now))
    };
    for step in steps.iter_mut() {
        let is_silenced = is_silenced(step);
        step.tell(is_silenced, now);
    }
    // One mail reminds of all that is open, so that they do not come one by one over the day.
    let due = |step: &IncidentStep| {
        let told_at = step.incident.told_at;
        told_at.is_some_and(|told| age(told, now) >= REMINDER)
    };
    let mut reminded: Vec<_> = steps
        .iter_mut()
        .filter(|step| step.may_remind(is_silenced(step)))
        .collect();
    if reminded.iter().any(|step| due(step)) {
        for step in &mut reminded {
            step.news = Some(NewsKind::StillOpen);
            step.incident.told_at = Some(now);
        }
    }
}

fn outcome(steps: Vec<IncidentStep>) -> LookOutcome {
    let mut outcome = LookOutcome::default();
    for step in steps {
        if let Some(kind) = step.news {
            let incident = step.incident.clone();
            outcome.news.push(News { kind, incident });
        }
        let is_new_and_gone = step.before.is_none() && step.is_dropped;
        let is_changed = step.before.as_ref() != Some(&step.incident) || step.is_dropped;
        if is_changed && !is_new_and_gone {
            outcome.updates.push(IncidentUpdate {
                incident: step.incident,
                entries: step.entries,
                is_dropped: step.is_dropped,
            });
        }
    }
    outcome
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
