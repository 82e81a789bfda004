//! The incidents, as the monitor has recorded them: the open ones for the status, and all of a time for `logferry alerts`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use logferry_ledger::{Incident, Ledger, LedgerError, Severity, Silence, TimelineEntry, covers};
use logferry_text::natural_order;
use serde::Serialize;

/// An open incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncidentStatus {
    /// The rule that found it.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when.
    pub since: Timestamp,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub advice: String,
    /// Until when it is silenced, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Timestamp>,
    /// Why it is silenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_why: Option<String>,
}

/// Whether an incident goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// It is open.
    Open,
    /// It is open, and silenced.
    Silenced,
    /// It is over.
    Closed,
}

/// An incident with its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedIncident {
    /// What is wrong, or was.
    #[serde(flatten)]
    pub incident: IncidentStatus,
    /// Whether it goes on.
    pub state: IncidentState,
    /// When it ended.
    pub until: Option<Timestamp>,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// What incidents of any host can be about: the disk, and the roles.
const SUBJECTS: [&str; 9] = [
    "disk",
    "sender",
    "relay",
    "forwarder",
    "monitor",
    "housekeeper",
    "indexer",
    "collector",
    "console",
];

/// What an incident can be about, if none of the ledger is about `subject`; `None` if one is. `configured`: sources, groups and
/// destinations that the configuration names.
pub fn known_subjects(
    ledger: &Ledger,
    subject: &str,
    configured: impl IntoIterator<Item = String>,
) -> Result<Option<BTreeSet<String>>, LedgerError> {
    let incidents = ledger.incidents(Timestamp::MAX)?;
    if incidents.iter().any(|it| covers(subject, &it.subject)) {
        return Ok(None);
    }
    let mut known: BTreeSet<String> = configured.into_iter().collect();
    known.extend(incidents.into_iter().map(|it| it.subject));
    for it in ledger.sources()? {
        known.extend([it.source.to_string(), it.group.to_string()]);
    }
    known.extend(SUBJECTS.map(str::to_owned));
    Ok(Some(known))
}

/// The open ones, the worst first, then the oldest, then in the order of names.
pub fn statuses(ledger: &Ledger, now: Timestamp) -> Result<Vec<IncidentStatus>, LedgerError> {
    let silences = ledger.silences(now)?;
    let mut incidents = ledger.incidents(Timestamp::MAX)?;
    incidents.retain(Incident::is_open);
    incidents.sort_by(|a, b| natural_order(&a.subject, &b.subject));
    incidents.sort_by_key(|it| (Reverse(it.severity), it.since));
    let statuses = incidents.into_iter().map(|it| status(it, &silences, now));
    Ok(statuses.collect())
}

/// The open incidents, the worst first, then those closed since then, the latest first; and what is silenced.
pub fn incident_list(
    data_dir: &Path,
    since: Timestamp,
    now: Timestamp,
) -> Result<(Vec<ListedIncident>, Vec<Silence>), LedgerError> {
    incidents_since(&Ledger::open(data_dir)?, since, now)
}

/// The same, with a ledger that is open already; reading is enough.
pub fn incidents_since(
    ledger: &Ledger,
    since: Timestamp,
    now: Timestamp,
) -> Result<(Vec<ListedIncident>, Vec<Silence>), LedgerError> {
    let silences = ledger.silences(now)?;
    let mut incidents = ledger.incidents(since)?;
    incidents.retain(|it| it.opened_at.is_some());
    incidents.sort_by(|a, b| natural_order(&a.subject, &b.subject));
    incidents.sort_by_key(|it| match it.closed_at {
        None => (0, Reverse(it.severity), Reverse(Timestamp::MAX), it.since),
        Some(closed) => (1, Reverse(Severity::Warning), Reverse(closed), it.since),
    });
    let listed = incidents.into_iter().map(|it| listed(ledger, it, &silences, now));
    Ok((listed.collect::<Result<_, _>>()?, silences))
}

fn listed(
    ledger: &Ledger,
    it: Incident,
    silences: &[Silence],
    now: Timestamp,
) -> Result<ListedIncident, LedgerError> {
    let timeline = it.id.map_or_else(|| Ok(Vec::new()), |id| ledger.timeline(id))?;
    let is_closed = it.closed_at.is_some();
    let until = it.gone_since.filter(|_| is_closed);
    let mut incident = status(it, silences, now);
    if is_closed {
        (incident.silenced_until, incident.silenced_why) = (None, None);
    }
    let state = match (is_closed, incident.silenced_until) {
        (true, _) => IncidentState::Closed,
        (false, Some(_)) => IncidentState::Silenced,
        (false, None) => IncidentState::Open,
    };
    Ok(ListedIncident {
        incident,
        state,
        until,
        timeline,
    })
}

/// The silence of a subject, if there is one.
pub(super) fn silence_of<'a>(silences: &'a [Silence], subject: &str, now: Timestamp) -> Option<&'a Silence> {
    silences.iter().find(|silence| silence.holds_for(subject, now))
}

fn status(it: Incident, silences: &[Silence], now: Timestamp) -> IncidentStatus {
    let silence = silence_of(silences, &it.subject, now);
    IncidentStatus {
        silenced_until: silence.map(|silence| silence.until),
        silenced_why: silence.map(|silence| silence.why.clone()),
        rule: it.rule,
        subject: it.subject,
        severity: it.severity,
        since: it.since,
        text: it.text,
        advice: it.advice,
    }
}
