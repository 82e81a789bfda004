//! The sentence at the top: is all well, and if not, what and since when. Pure.

use jiff::Timestamp;
use logferry_inspection::status::{SourceState, StatusReport};
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
        let many = silent_sources(status);
        let problems = status.problems.iter();
        let problems: Vec<_> = problems
            .filter(|problem| many.is_none() || !SILENT_RULES.contains(&problem.rule.as_str()))
            .collect();
        // A problem says how it is now. The incidents that tell the same know since when.
        let mut entries: Vec<_> = problems
            .iter()
            .map(|problem| {
                let told = open.iter().filter(|incident| problem.is_told_by(incident));
                VerdictEntry::new(&problem.text, told.map(|incident| incident.since).min())
            })
            .collect();
        open.retain(|incident| {
            let is_of_many = many.is_some() && SILENT_RULES.contains(&incident.rule.as_str());
            !is_of_many && !problems.iter().any(|problem| problem.is_told_by(incident))
        });
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
        .filter(|source| source.state == SourceState::Stale && !source.is_silenced());
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

fn all_well(status: &StatusReport, now: Timestamp) -> String {
    let heard = status.sources.iter().filter(|source| !source.is_silent());
    let sources = heard.count() as u64;
    if status.sources.is_empty() {
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
    use logferry_inspection::status::{IncidentStatus, StatusProblem};

    use super::*;

    #[test]
    fn problem_takes_all_incidents_that_tell_the_same() {
        let incident = |rule: &str, subject: &str| IncidentStatus {
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            severity: Severity::Critical,
            since: Timestamp::UNIX_EPOCH,
            text: String::new(),
            advice: String::new(),
            silenced_until: None,
            silenced_why: None,
        };
        let problem = |rule: &str| StatusProblem {
            rule: rule.to_owned(),
            subject: "web-1".to_owned(),
            text: String::new(),
        };
        let is_told = |rule, subject| problem("losing").is_told_by(&incident(rule, subject));
        assert!(is_told("losing", "web-1:/log/access.log.1@12:ab34ef67"));
        assert!(is_told("losing", "web-1"));
        assert!(!is_told("losing", "web-10"));
        assert!(!is_told("stale", "web-1"));
        assert!(!problem("").is_told_by(&incident("stale", "web-1")));
    }
}
