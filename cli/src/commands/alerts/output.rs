//! Incidents for people. The text fits 80 columns.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_inspection::status::{IncidentState, ListedIncident};
use logferry_ledger::Silence;
use logferry_text::{count_of, duration, wrapped};

/// Entries of an open incident's timeline that are shown, the latest; `--json` has all.
const ENTRIES_SHOWN: usize = 8;

/// The open incidents with their timelines, the past ones in short, and the silences.
pub(super) fn text(
    incidents: &[ListedIncident],
    silences: &[Silence],
    zone: &TimeZone,
    now: Timestamp,
) -> String {
    let (open, past): (Vec<_>, Vec<_>) = incidents.iter().partition(|it| it.state != IncidentState::Closed);
    let mut text = match open.len() {
        0 => "nothing is open\n".to_owned(),
        number => format!("{} open\n", count_of(number as u64, "incident")),
    };
    for it in &open {
        text += &open_incident(it, zone, now);
    }
    if !past.is_empty() {
        text += "\nover:\n";
    }
    for it in &past {
        text += &past_incident(it, zone, now);
    }
    if !silences.is_empty() {
        text += "\nsilenced:\n";
    }
    for silence in silences {
        let until = local(silence.until, zone);
        text += &wrapped(&format!("- {} until {until}: {}", silence.subject, silence.why));
    }
    text
}

fn open_incident(it: &ListedIncident, zone: &TimeZone, now: Timestamp) -> String {
    let incident = &it.incident;
    let (severity, rule, subject) = (incident.severity.as_str(), &incident.rule, &incident.subject);
    let (since, lasts) = (local(incident.since, zone), lasting(incident.since, now));
    let mut text = format!(
        "\n{}",
        wrapped(&format!("{severity}: {rule} {subject}, since {since} ({lasts})"))
    );
    text += &wrapped(&format!("- {}", incident.text));
    if !incident.advice.is_empty() {
        text += &wrapped(&format!("- to do: {}", incident.advice));
    }
    if let Some((until, why)) = incident.silenced_until.zip(incident.silenced_why.as_ref()) {
        text += &wrapped(&format!("- SILENCED until {}: {why}", local(until, zone)));
    }
    let left_out = it.timeline.len().saturating_sub(ENTRIES_SHOWN);
    for entry in it.timeline.iter().skip(left_out) {
        text += &wrapped(&format!("- {}: {}", local(entry.at, zone), entry.text));
    }
    text
}

fn past_incident(it: &ListedIncident, zone: &TimeZone, now: Timestamp) -> String {
    let incident = &it.incident;
    let (rule, subject) = (&incident.rule, &incident.subject);
    let until = it.until.unwrap_or(now);
    let lasted = lasting(incident.since, until);
    let (since, until) = (local(incident.since, zone), local(until, zone));
    wrapped(&format!(
        "- {since} to {until} ({lasted}): {rule} {subject}: {}",
        incident.text
    ))
}

fn lasting(since: Timestamp, until: Timestamp) -> String {
    duration(Duration::try_from(until.duration_since(since)).unwrap_or_default())
}

fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T").to_string()
}

#[cfg(test)]
mod tests {
    use logferry_inspection::status::IncidentStatus;
    use logferry_ledger::{Severity, TimelineEntry};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_250_000 + second).unwrap()
    }

    fn incident(state: IncidentState) -> ListedIncident {
        let is_silenced = state == IncidentState::Silenced;
        ListedIncident {
            incident: IncidentStatus {
                rule: "stale".to_owned(),
                subject: "198.51.100.1".to_owned(),
                severity: Severity::Critical,
                since: at(0),
                text: "source 198.51.100.1 is silent: its sender was last heard at 08:20:03".to_owned(),
                advice: "look at its host, then at `systemctl status logferry-sender` there".to_owned(),
                silenced_until: is_silenced.then(|| at(3600)),
                silenced_why: is_silenced.then(|| "moving".to_owned()),
            },
            state,
            until: (state == IncidentState::Closed).then(|| at(720)),
            timeline: vec![TimelineEntry {
                at: at(0),
                text: "critical: it is silent".to_owned(),
            }],
        }
    }

    #[test]
    fn text_says_what_is_open_and_muted_and_what_is_over_in_80_columns() {
        let incidents = [incident(IncidentState::Silenced), incident(IncidentState::Closed)];
        let silence = Silence {
            subject: "198.51.100.1".to_owned(),
            since: at(0),
            until: at(3600),
            why: "moving".to_owned(),
        };
        let shown = text(&incidents, &[silence], &TimeZone::UTC, at(900));
        assert_eq!(
            shown,
            "1 incident open\n\
             \n\
             critical: stale 198.51.100.1, since 2026-11-21 08:33:20 (15 min)\n\
             - source 198.51.100.1 is silent: its sender was last heard at 08:20:03\n\
             - to do: look at its host, then at `systemctl status logferry-sender` there\n\
             - SILENCED until 2026-11-21 09:33:20: moving\n\
             - 2026-11-21 08:33:20: critical: it is silent\n\
             \n\
             over:\n\
             - 2026-11-21 08:33:20 to 2026-11-21 08:45:20 (12 min): stale 198.51.100.1:\n\
             \x20 source 198.51.100.1 is silent: its sender was last heard at 08:20:03\n\
             \n\
             silenced:\n\
             - 198.51.100.1 until 2026-11-21 09:33:20: moving\n"
        );
        assert_eq!(text(&[], &[], &TimeZone::UTC, at(0)), "nothing is open\n");
    }
}
