//! What is observed as true at one look: by the rules of logferry itself, and by the configured rules over numbers. Pure.

use logferry_config::AlertHold;
pub use logferry_ledger::Severity;

/// Something that is wrong now. Rule and subject together name it: the same pair at the next look is the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCondition {
    /// The rule's name, such as `stale`, or as configured.
    pub rule: String,
    /// What it is about: a source, a destination, a role, a group, … A part of one follows after a colon
    /// (`198.51.100.1:/log/access.log`): who silences the whole silences it too.
    pub subject: String,
    /// How bad it is. If it becomes worse, people are told again.
    pub severity: Severity,
    /// What is wrong, a sentence without a full stop. It may change at each look; that alone tells nobody again.
    pub text: String,
    /// What to look at, and which command helps.
    pub advice: String,
    /// How long it must last, and be gone, before people are told; `None`: as `monitor.hold` says.
    pub hold: Option<AlertHold>,
    /// The channels that tell people; empty: `mail`.
    pub channels: Vec<String>,
}

/// In this room there are no other conditions.
pub use self::AlertCondition as Condition;

/// Something that cannot be judged at this look, as its facts are not known. An incident about it stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// The rule; `None`: every rule.
    pub rule: Option<String>,
    /// The subject; `None`: every subject.
    pub subject: Option<String>,
}

/// All that one look has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// What is true.
    pub conditions: Vec<Condition>,
    /// What is neither known to be true nor known to be false.
    pub unjudged: Vec<Unjudged>,
}
