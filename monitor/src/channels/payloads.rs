//! A message in the form that each kind of channel takes. Pure.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::alert_message::AlertMessage;

/// The longest text of a chat message, in bytes. Slack cuts at 40,000 characters, Teams refuses 28 KB with all around it.
const CHAT_MAX: usize = 16_000;

/// For Slack's incoming webhooks. `&`, `<` and `>` are its markup.
pub(super) fn slack(message: &AlertMessage, zone: &TimeZone) -> Value {
    let text = format!("*{}*\n{}", message.title, message.lines(zone).join("\n"));
    let escaped = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    json!({ "text": cut(escaped) })
}

/// For a workflow of Teams that posts a card.
pub(super) fn teams(message: &AlertMessage, zone: &TimeZone) -> Value {
    // Two line ends make a new paragraph in its markup.
    let text = message.lines(zone).join("\n\n");
    let block = |text: String, more: Value| {
        let mut block = json!({ "type": "TextBlock", "text": text, "wrap": true });
        if let (Some(block), Some(more)) = (block.as_object_mut(), more.as_object()) {
            block.extend(more.clone());
        }
        block
    };
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    block(message.title.clone(), json!({ "weight": "bolder" })),
                    block(cut(text), json!({})),
                ],
            },
        }],
    })
}

/// For programs: webhooks and commands. The keys are a contract.
pub(super) fn program(message: &AlertMessage, channel: &str, zone: &TimeZone) -> Value {
    let alerts = message.items.iter().map(|item| {
        let event = &item.last;
        json!({
            "incident": event.incident,
            "state": if item.until().is_some() { "closed" } else { "open" },
            "event": event.kind,
            "new": item.is_new,
            "rule": event.rule,
            "subject": event.subject,
            "severity": event.severity,
            "since": event.since,
            "until": item.until(),
            "text": event.text,
            "advice": event.advice,
        })
    });
    json!({
        "id": message.id,
        "channel": channel,
        "title": message.title,
        "text": message.lines(zone).join("\n"),
        "alerts": alerts.collect::<Vec<_>>(),
    })
}

fn cut(mut text: String) -> String {
    if text.len() > CHAT_MAX {
        let end = (0..=CHAT_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
