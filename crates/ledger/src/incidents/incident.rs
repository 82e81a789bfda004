//! What the ledger keeps of an incident. No I/O.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How bad something is. A worse one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A person should look at it today.
    Warning,
    /// Lines are not delivered or may be lost, or nobody would notice.
    Critical,
}

impl Severity {
    /// Its word in mails, in JSON and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The ledger's number of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub(super) i64);

/// Something that is or was wrong. At most one with the same rule and subject is not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its number; `None` before it is stored.
    pub id: Option<IncidentId>,
    /// The rule that found it.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// How bad it is, or was last.
    pub severity: Severity,
    /// What is wrong, or was last.
    pub text: String,
    /// What to do.
    pub advice: String,
    /// The channels that tell people; empty: `mail`.
    pub channels: Vec<String>,
    /// How long it must be gone before it is closed.
    pub clear_after: Duration,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it had lasted long enough to count; `None`: it has not yet.
    pub opened_at: Option<Timestamp>,
    /// Since when it is not seen any more; `None`: it is.
    pub gone_since: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The severity that people have been told; `None`: nobody was told.
    pub told: Option<Severity>,
    /// When people were last told, a daily reminder included.
    pub told_at: Option<Timestamp>,
    /// How often it came back before it was closed.
    pub returns: u32,
    /// How many incidents with the same rule and subject had ended shortly before, one after the other.
    pub relapses: u32,
}

impl Incident {
    /// Whether it counts as open: it has lasted long enough, and is not closed.
    pub const fn is_open(&self) -> bool {
        self.opened_at.is_some() && self.closed_at.is_none()
    }
}

/// An entry of an incident's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub text: String,
}

/// A change of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentUpdate {
    /// The incident from now on.
    pub incident: Incident,
    /// What is added to its timeline.
    pub entries: Vec<TimelineEntry>,
    /// Whether it is deleted: it never counted, and is gone.
    pub is_dropped: bool,
}

/// Whether a subject is this one or a part of it: `198.51.100.1` covers `198.51.100.1:/log/access.log`.
///
/// The colons of an IPv6 address part nothing: `2001:db8::1` does not cover the host `2001:db8::1:5`.
pub fn covers(whole: &str, subject: &str) -> bool {
    let Some(rest) = subject.strip_prefix(whole) else {
        return false;
    };
    let colons = subject.match_indices(':').map(|(index, _)| index);
    let mut longer = colons.filter(|index| *index > whole.len()).chain([subject.len()]);
    let is_host = |end: usize| {
        subject
            .get(..end)
            .is_some_and(|host| host.parse::<IpAddr>().is_ok())
    };
    rest.is_empty() || (rest.starts_with(':') && !longer.any(is_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_covers_its_parts_and_nothing_that_only_begins_alike() {
        assert!(covers("web-1", "web-1") && covers("web-1", "web-1:/log/a"));
        assert!(!covers("web-1", "web-10") && !covers("web-1:/log/a", "web-1"));
    }

    #[test]
    fn an_address_covers_its_parts_and_no_other_address() {
        for host in ["198.51.100.1", "2001:db8::1", "2001:db8::"] {
            assert!(
                covers(host, host) && covers(host, &format!("{host}:/log/a:5")),
                "{host}"
            );
        }
        for other in ["2001:db8::1:5", "2001:db8::1:5:/log/a"] {
            assert!(
                !covers("2001:db8::1", other) && !covers("2001:db8:", other),
                "{other}"
            );
            assert!(covers("2001:db8::1:5", other), "{other}");
        }
    }
}
