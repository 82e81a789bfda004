//! The sentence at the top: is all well, and if not, what and since when. Pure.

use jiff::Timestamp;
use logferry_inspection::status::{IncidentStatus, SourceState, StatusReport};
use logferry_inspection::time::age;
use logferry_ledger::Severity;
use logferry_text::{about, count_of};

use crate::pages::parts::{prose, times};

/// Entries that the page shows; what is more is counted.
const SHOWN_MAX: usize = 8;

/// From so many on, silent sources are one entry, which names some of them.
const MANY_SILENT: usize = 3;
const NAMED_MAX: usize = 4;

/// The monitor's rules that tell of silent sources.
const SILENT_RULES: [&str; 2] = ["stale", "all silent"];

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    Well,
    Warning,
    Bad,
}

impl Tone {
    /// Its class in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Warning => "warn",
            Self::Bad => "bad",
        }
    }

    /// Its sign, for people who do not see colours.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Well => "✓",
            Self::Warning => "▲",
            Self::Bad => "✕",
        }
    }
}

/// Something that is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VerdictEntry {
    /// What is wrong.
    pub(crate) text: String,
    /// What to do; empty if nobody knows.
    pub(crate) advice: String,
    /// Since when, if the monitor knows it.
    pub(crate) since: Option<Timestamp>,
}

/// The answer to the first question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) tone: Tone,
    pub(crate) sentence: String,
    /// What to do, if there is one thing only.
    pub(crate) advice: String,
    /// The oldest of what is wrong.
    pub(crate) since: Option<Timestamp>,
    pub(crate) entries: Vec<VerdictEntry>,
    /// So many more are not shown.
    pub(crate) more: usize,
}

impl VerdictEntry {
    fn new(text: &str, since: Option<Timestamp>) -> Self {
        let (text, advice) = prose::split_advice(text);
        Self {
            text: text.to_owned(),
            advice: advice.to_owned(),
            since,
        }
    }

    /// What is wrong, as markup.
    pub(crate) fn text_html(&self) -> String {
        prose::html(&self.text)
    }

    /// What to do, as markup.
    pub(crate) fn advice_html(&self) -> String {
        prose::html(&capitalized(&self.advice))
    }

    /// Since when, as an element; empty if nobody knows.
    pub(crate) fn since_html(&self) -> String {
        self.since.map(times::full).unwrap_or_default()
    }
}

impl Verdict {
    /// The sentence, as markup.
    pub(crate) fn sentence_html(&self) -> String {
        prose::html(&self.sentence)
    }

    /// What to do, as markup.
    pub(crate) fn advice_html(&self) -> String {
        prose::html(&self.advice)
    }

    /// Since when, as an element; empty if nobody knows.
    pub(crate) fn since_html(&self) -> String {
        self.since.map(times::full).unwrap_or_default()
    }

    pub(crate) fn new(status: &StatusReport, now: Timestamp) -> Self {
        let mut open: Vec<_> = status
            .incidents
            .iter()
            .filter(|incident| incident.silenced_until.is_none())
            .collect();
        // A problem says how it is now. An incident of the same subject knows since when.
        let many = silent_sources(status);
        if many.is_some() {
            open.retain(|incident| !SILENT_RULES.contains(&incident.rule.as_str()));
        }
        let is_of_many = |problem: &&String| {
            many.is_some() && problem.starts_with("source ") && problem.contains(" is silent, ")
        };
        let mut entries: Vec<_> = status
            .problems
            .iter()
            .filter(|problem| !is_of_many(problem))
            .map(|problem| {
                let known = incident_of(problem, &open);
                let since = known.map(|index| open.remove(index).since);
                VerdictEntry::new(problem, since)
            })
            .collect();
        entries.extend(many);
        entries.extend(open.iter().map(|incident| VerdictEntry {
            text: incident.text.clone(),
            advice: incident.advice.clone(),
            since: Some(incident.since),
        }));
        let is_critical = open
            .iter()
            .any(|incident| incident.severity == Severity::Critical);
        let tone = match (status.problems.is_empty() && !is_critical, entries.is_empty()) {
            (_, true) => Tone::Well,
            (true, false) => Tone::Warning,
            (false, false) => Tone::Bad,
        };
        let since = entries.iter().filter_map(|entry| entry.since).min();
        let sentence = match (tone, entries.as_slice()) {
            (Tone::Well, _) => all_well(status, now),
            (_, [only]) => capitalized(&only.text),
            (Tone::Warning, entries) => format!("{} to look at.", count_of(entries.len() as u64, "warning")),
            (Tone::Bad, entries) => format!("{} need attention.", count_of(entries.len() as u64, "problem")),
        };
        let advice = match entries.as_slice() {
            [only] => capitalized(&only.advice),
            _ => String::new(),
        };
        if entries.len() == 1 {
            entries.clear();
        }
        let more = entries.len().saturating_sub(SHOWN_MAX);
        entries.truncate(SHOWN_MAX);
        Self {
            tone,
            sentence,
            advice,
            since,
            entries,
            more,
        }
    }
}

/// Silent sources as one entry, if they are so many that they would hide the rest.
fn silent_sources(status: &StatusReport) -> Option<VerdictEntry> {
    let silent = status
        .sources
        .iter()
        .filter(|source| source.state == SourceState::Stale);
    let silent: Vec<_> = silent.collect();
    if silent.len() < MANY_SILENT {
        return None;
    }
    let names: Vec<_> = silent
        .iter()
        .take(NAMED_MAX)
        .map(|source| source.source.to_string())
        .collect();
    let more = match silent.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(VerdictEntry {
        text: format!(
            "{} of {} sources are silent: {}{more}",
            silent.len(),
            status.sources.len(),
            names.join(", ")
        ),
        advice: "look at what they have in common: the network, the relay's port, a firewall".to_owned(),
        since: silent.iter().filter_map(|source| source.last_contact_at).min(),
    })
}

/// What problems say, and the rules whose incidents tell the same of the same subject.
const RULES_OF: [(&str, &[&str]); 14] = [
    (" is silent, ", &SILENT_RULES),
    (" was never heard", &["missing"]),
    (" has lost bytes ", &["losing"]),
    (" does not ship", &["held"]),
    (" cannot ship", &["held"]),
    (" has several senders ", &["two senders"]),
    (" cannot save its checkpoint ", &["checkpoint"]),
    (" is down, ", &["down"]),
    (" accepts no lines, ", &["group"]),
    ("the disk of data_dir ", &["disk full"]),
    (" does not run, ", &["role"]),
    (" never ran here", &["role"]),
    (" has no section any more, ", &["role"]),
    ("the last pass of the ", &["role"]),
];

/// The incident that tells what a problem tells: the one with the same text, else one of a rule for such problems.
fn incident_of(problem: &str, open: &[&IncidentStatus]) -> Option<usize> {
    let has_same_text = |incident: &&IncidentStatus| {
        let rest = problem.strip_prefix(&incident.text);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
    };
    let is_same_fact = |incident: &&IncidentStatus| {
        let mut told = RULES_OF.iter().filter(|(text, _)| problem.contains(text));
        let mut words = problem.split([' ', ',', ':', ';']);
        told.any(|(_, rules)| rules.contains(&incident.rule.as_str()))
            && words.any(|word| word == incident.subject)
    };
    let same_text = open.iter().position(has_same_text);
    same_text.or_else(|| open.iter().position(is_same_fact))
}

fn all_well(status: &StatusReport, now: Timestamp) -> String {
    let sources = status.sources.len() as u64;
    if sources == 0 {
        return "All is well. No source has sent anything yet.".to_owned();
    }
    let waiting = status.batches.ready;
    let last = status
        .destinations
        .iter()
        .filter_map(|it| it.last_delivery_at)
        .max();
    let delivery = match (last, waiting) {
        (Some(last), 0) => format!(
            "everything sealed is delivered, the last {} ago",
            about(age(last, now))
        ),
        (Some(last), waiting) => format!(
            "{} on the way, the last delivery was {} ago",
            count_of(waiting, "batch"),
            about(age(last, now))
        ),
        (None, 0) => "nothing waits for delivery".to_owned(),
        (None, waiting) if status.destinations.is_empty() => {
            format!(
                "{} kept, as no destination is configured",
                count_of(waiting, "batch")
            )
        }
        (None, waiting) => format!("{} on the way to the first delivery", count_of(waiting, "batch")),
    };
    format!("All is well: {} send, {delivery}.", count_of(sources, "source")).replacen(
        "1 source send",
        "1 source sends",
        1,
    )
}

fn capitalized(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    let end = if text.ends_with('.') { "" } else { "." };
    first.into_iter().flatten().chain(chars).collect::<String>() + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_takes_only_the_incident_that_tells_the_same() {
        let incident = |rule: &str, subject: &str, text: &str| IncidentStatus {
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            severity: Severity::Critical,
            since: Timestamp::UNIX_EPOCH,
            text: text.to_owned(),
            advice: "look".to_owned(),
            silenced_until: None,
            silenced_why: None,
        };
        let incidents = [
            incident("server errors", "web-1", "server errors of web-1"),
            incident("two senders", "web-1", "source web-1 has two senders"),
            incident("stale", "web-1", "source web-1 is silent: since 08:20"),
            incident("5xx", "web-1", "server errors of web-10"),
        ];
        let open: Vec<_> = incidents.iter().collect();
        let silent = "source web-1 is silent, its sender was last heard 2 h ago: look at its host";
        assert_eq!(incident_of(silent, &open), Some(2));
        assert_eq!(incident_of(silent, &open[..2]), None);
        assert_eq!(
            incident_of("source web-1 has several senders at the same time", &open),
            Some(1)
        );
        assert_eq!(incident_of("server errors of web-10; look", &open), Some(3));
        assert_eq!(incident_of("source web-10 is silent, its sender", &open), None);
    }
}
