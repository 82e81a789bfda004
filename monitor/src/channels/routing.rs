//! Which channels are told of what. Pure.

use jiff::Timestamp;
use logferry_config::ChannelSettings;
use logferry_ledger::{AlertEvent, AlertEventKind, Incident};

/// The event for each channel beside the mail that is told of an incident.
pub(crate) fn events(
    incident: &Incident,
    kind: AlertEventKind,
    channels: &[ChannelSettings],
    now: Timestamp,
) -> Vec<(String, AlertEvent)> {
    let is_told =
        |channel: &&ChannelSettings| channel.all_alerts || incident.channels.contains(&channel.name);
    let at = match kind {
        AlertEventKind::Began => incident.since,
        // It was over when it was no longer seen, not when that was believed.
        AlertEventKind::Over => incident.gone_since.unwrap_or(now),
        AlertEventKind::Worse | AlertEventKind::Reminder => now,
    };
    let event = AlertEvent {
        incident: format!(
            "{}|{}|{}",
            incident.rule,
            incident.subject,
            incident.since.as_millisecond()
        ),
        kind,
        at,
        since: incident.since,
        rule: incident.rule.clone(),
        subject: incident.subject.clone(),
        severity: incident.severity.as_str().to_owned(),
        text: incident.text.clone(),
        advice: incident.advice.clone(),
    };
    let told = channels.iter().filter(is_told);
    told.map(|channel| (channel.name.clone(), event.clone()))
        .collect()
}
