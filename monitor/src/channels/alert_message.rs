//! One message for all events that wait for a channel. Pure.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_ledger::{AlertEvent, AlertEventKind};
use logferry_text::{count_of, duration};

use crate::time::local_time;
use logferry_inspection::time::age;

/// Alerts that a text names; the rest are counted.
const NAMED_MAX: usize = 30;

/// An incident as a message tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlertItem {
    /// Its last event, with the text and the severity of then.
    pub(crate) last: AlertEvent,
    /// Whether the message is the first that the channel hears of it.
    pub(crate) is_new: bool,
}

impl AlertItem {
    /// When it was over; `None`: it is open.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        (self.last.kind == AlertEventKind::Over).then_some(self.last.at)
    }

    /// One line: what is wrong, since when, until when.
    pub(crate) fn line(&self, zone: &TimeZone) -> String {
        let AlertEvent {
            rule,
            subject,
            severity,
            text,
            since,
            kind,
            ..
        } = &self.last;
        let began = local_time(*since, zone);
        let Some(until) = self.until() else {
            let state = match kind {
                AlertEventKind::Reminder if !self.is_new => "still open, since",
                AlertEventKind::Worse if !self.is_new => "worse; since",
                _ => "since",
            };
            return format!("{severity}: {rule}, {subject}: {text} ({state} {began})");
        };
        let lasted = duration(age(*since, until));
        let ended = local_time(until, zone);
        let unheard = if self.is_new { "was and is over" } else { "over" };
        format!("{unheard}: {rule}, {subject}: {text} (from {began} to {ended}, {lasted})")
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlertMessage {
    /// The same over all attempts, and of no other message.
    pub(crate) id: String,
    /// One line.
    pub(crate) title: String,
    /// The worst that is open first, then what is over.
    pub(crate) items: Vec<AlertItem>,
}

impl AlertMessage {
    /// The message with all these events, in the order in which they happened.
    pub(crate) fn of(id: String, prefix: &str, events: impl IntoIterator<Item = AlertEvent>) -> Self {
        let mut items: Vec<AlertItem> = Vec::new();
        for event in events {
            match items.iter_mut().find(|item| item.last.incident == event.incident) {
                Some(item) => item.last = event,
                None => items.push(AlertItem {
                    is_new: event.kind == AlertEventKind::Began,
                    last: event,
                }),
            }
        }
        items.sort_by_key(|item| {
            let is_critical = item.last.severity == "critical";
            (item.until().is_some(), !is_critical, item.last.since)
        });
        let title = format!("{prefix} {}", title(&items));
        Self {
            id,
            title: title.trim().to_owned(),
            items,
        }
    }

    /// The alerts, a line each with its advice below it.
    pub(crate) fn lines(&self, zone: &TimeZone) -> Vec<String> {
        let mut lines = Vec::new();
        for item in self.items.iter().take(NAMED_MAX) {
            lines.push(item.line(zone));
            if item.until().is_none() && !item.last.advice.is_empty() {
                lines.push(format!("  {}", item.last.advice));
            }
        }
        let more = self.items.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            lines.push(format!("and {more} more; `logferry alerts` lists all"));
        }
        lines
    }
}

fn title(items: &[AlertItem]) -> String {
    let open = items.iter().filter(|item| item.until().is_none()).count();
    let over = items.len() - open;
    let Some(first) = items.first() else {
        return "nothing".to_owned();
    };
    let AlertEvent {
        rule,
        subject,
        severity,
        ..
    } = &first.last;
    let state = if open > 0 { severity } else { "over" };
    let more = match (open, over) {
        (0, 1) | (1, 0) => String::new(),
        (0, over) => format!(", and {} more over", over - 1),
        (open, 0) => format!(", and {} more", count_of(open as u64 - 1, "alert")),
        (1, over) => format!(", and {over} over"),
        (open, over) => format!(", and {} more, {over} over", count_of(open as u64 - 1, "alert")),
    };
    format!("{state}: {rule}, {subject}{more}")
}

/// The id of a message with these events of a ledger: their numbers mean them only there.
pub(crate) fn message_id(ledger: &str, (first, last): (i64, i64)) -> String {
    let ledger: String = ledger.chars().take(12).collect();
    format!("logferry-{ledger}-{first}-{last}")
}

/// How long the oldest event has waited.
pub(crate) fn delay(events: &[AlertEvent], now: Timestamp) -> Duration {
    let oldest = events.iter().map(|event| event.at).min();
    oldest.map_or(Duration::ZERO, |oldest| age(oldest, now))
}
