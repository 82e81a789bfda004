//! A condition with what may be its cause. Pure.

use std::fmt::Display;
use std::time::Duration;

use logferry_config::AlertHold;

use crate::incidents::condition::{Condition, Severity, Unjudged};

/// The name of a condition that may be the cause of others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause {
    pub(crate) rule: &'static str,
    pub(crate) subject: String,
}

impl Cause {
    pub(crate) fn new(rule: &'static str, subject: &dyn Display) -> Self {
        let subject = subject.to_string();
        Self { rule, subject }
    }
}

/// Something that is wrong by a rule of logferry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleFinding {
    pub(crate) condition: Condition,
    /// While one of these is wrong, this is no incident of its own. The ones that may be the cause of others are first.
    pub(crate) causes: Vec<Cause>,
}

impl RuleFinding {
    pub(crate) fn critical(rule: &str, subject: &dyn Display, text: String, advice: String) -> Self {
        Self::new(rule, subject.to_string(), Severity::Critical, text, advice)
    }

    pub(crate) fn warning(rule: &str, subject: &dyn Display, text: String, advice: String) -> Self {
        Self::new(rule, subject.to_string(), Severity::Warning, text, advice)
    }

    pub(crate) const fn without_cause(condition: Condition) -> Self {
        Self {
            condition,
            causes: Vec::new(),
        }
    }

    fn new(rule: &str, subject: String, severity: Severity, text: String, advice: String) -> Self {
        Self::without_cause(Condition {
            rule: rule.to_owned(),
            subject,
            severity,
            text,
            advice,
            hold: None,
            channels: Vec::new(),
        })
    }

    pub(crate) fn because_of(mut self, causes: impl IntoIterator<Item = Cause>) -> Self {
        self.causes.extend(causes);
        self
    }

    /// It must last for at least so long, whatever `hold` says: shorter ones are no reason to wake anybody.
    pub(crate) fn lasting(mut self, firing: Duration, hold: AlertHold) -> Self {
        self.condition.hold = Some(AlertHold {
            firing: hold.firing.max(firing),
            ..hold
        });
        self
    }

    pub(crate) fn critical_if(mut self, is_critical: bool) -> Self {
        if is_critical {
            self.condition.severity = Severity::Critical;
        }
        self
    }
}

/// Nobody knows whether the rule holds for the subject and its parts.
pub(crate) fn unknown(rule: &str, subject: &dyn Display) -> Unjudged {
    Unjudged {
        rule: Some(rule.to_owned()),
        subject: Some(subject.to_string()),
    }
}
