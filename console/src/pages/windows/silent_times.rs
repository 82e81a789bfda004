//! When sources were not heard of, as the monitor saw it. Pure.

use logferry_ledger::Incident;

/// Who was not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SilentWho {
    /// One source.
    Source(String),
    /// The sources of a group, which fell silent together.
    Group(String),
    /// Nobody of a group, which took no lines; `None`: of any.
    NoLinesTaken(Option<String>),
}

/// A time in which sources were not heard of, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SilentTime {
    who: SilentWho,
    from: i64,
    until: i64,
}

impl SilentTime {
    /// What an incident says of it. One that is not over yet says nothing: the last contacts of the sources say it.
    pub(crate) fn of(incident: Incident) -> Option<Self> {
        let until = incident.gone_since.or(incident.closed_at)?;
        let who = match (incident.rule.as_str(), incident.subject) {
            ("stale", source) => SilentWho::Source(source),
            ("all silent", group) => SilentWho::Group(group),
            ("group", group) => SilentWho::NoLinesTaken(Some(group)),
            ("role", role) if role == "relay" => SilentWho::NoLinesTaken(None),
            ("disk full", _) => SilentWho::NoLinesTaken(None),
            _ => return None,
        };
        Some(Self {
            who,
            from: incident.since.as_second(),
            until: until.as_second(),
        })
    }

    /// Whether it is about this source, which is of this group.
    pub(crate) fn is_of(&self, source: &str, group: &str) -> bool {
        match &self.who {
            SilentWho::Source(name) => name == source,
            SilentWho::Group(name) => name == group,
            SilentWho::NoLinesTaken(name) => name.as_ref().is_none_or(|name| name == group),
        }
    }

    /// Whether the source cannot be said to have reported in the window. A relay that is down for a part of it was told of the rest.
    pub(crate) fn hides(&self, (start, end): (i64, i64)) -> bool {
        match self.who {
            SilentWho::Source(_) | SilentWho::Group(_) => self.from < end && start < self.until,
            SilentWho::NoLinesTaken(_) => self.from <= start && end <= self.until,
        }
    }
}

#[cfg(test)]
pub(super) fn silent_time(rule: &str, subject: &str, (from, until): (i64, i64)) -> Option<SilentTime> {
    let at = |second| jiff::Timestamp::from_second(second).expect("in range");
    SilentTime::of(Incident {
        id: None,
        rule: rule.to_owned(),
        subject: subject.to_owned(),
        severity: logferry_ledger::Severity::Critical,
        text: String::new(),
        advice: String::new(),
        channels: Vec::new(),
        clear_after: std::time::Duration::ZERO,
        since: at(from),
        opened_at: Some(at(from)),
        gone_since: Some(at(until)),
        closed_at: None,
        told: None,
        told_at: None,
        returns: 0,
        relapses: 0,
    })
}
