//! What waiting mails tell is told by the next one: each incident once, as it is now. Pure.
//!
//! The news of a mail stand beside it in the outbox as JSON, so that they outlive a restart. What cannot be read there, because
//! another version wrote it, is left out: the incident is in `logferry alerts`, and its end is told.

use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{Incident, Severity};
use serde::{Deserialize, Serialize};

use super::{News, NewsKind};

/// One of the news, with what a mail shows of its incident.
#[derive(Debug, Serialize, Deserialize)]
struct WaitingNews {
    kind: NewsKind,
    rule: String,
    subject: String,
    severity: Severity,
    text: String,
    advice: String,
    since: Timestamp,
    gone_since: Option<Timestamp>,
    returns: u32,
    relapses: u32,
}

/// The news as a text, for the outbox.
pub(super) fn text(news: &[News]) -> String {
    let news: Vec<_> = news.iter().map(WaitingNews::from).collect();
    // Texts and numbers only: this cannot fail.
    serde_json::to_string(&news).unwrap_or_default()
}

/// The news of the waiting mails, oldest first, and then these. Of one incident only the last stay: with an end, only the end;
/// with a beginning and no end, the beginning as it is now.
pub(super) fn together(waiting: &[String], news: Vec<News>) -> Vec<News> {
    let earlier = waiting
        .iter()
        .filter_map(|text| serde_json::from_str::<Vec<WaitingNews>>(text).ok());
    let earlier = earlier.flatten().map(News::from);
    let mut together: Vec<News> = Vec::new();
    for next in earlier.chain(news) {
        match together
            .iter_mut()
            .find(|it| is_same(&it.incident, &next.incident))
        {
            None => together.push(next),
            Some(before) => {
                let kind = match (before.kind, next.kind) {
                    (NewsKind::Opened, NewsKind::Worse | NewsKind::StillOpen) => NewsKind::Opened,
                    (NewsKind::Worse, NewsKind::StillOpen) => NewsKind::Worse,
                    (_, kind) => kind,
                };
                *before = News { kind, ..next };
            }
        }
    }
    together
}

fn is_same(a: &Incident, b: &Incident) -> bool {
    // As the ledger stores times: in milliseconds.
    let since = |it: &Incident| it.since.as_millisecond();
    (&a.rule, &a.subject, since(a)) == (&b.rule, &b.subject, since(b))
}

impl From<&News> for WaitingNews {
    fn from(news: &News) -> Self {
        let it = news.incident.clone();
        Self {
            kind: news.kind,
            rule: it.rule,
            subject: it.subject,
            severity: it.severity,
            text: it.text,
            advice: it.advice,
            since: it.since,
            gone_since: it.gone_since,
            returns: it.returns,
            relapses: it.relapses,
        }
    }
}

impl From<WaitingNews> for News {
    fn from(waiting: WaitingNews) -> Self {
        Self {
            kind: waiting.kind,
            incident: Incident {
                id: None,
                rule: waiting.rule,
                subject: waiting.subject,
                severity: waiting.severity,
                text: waiting.text,
                advice: waiting.advice,
                channels: Vec::new(),
                clear_after: Duration::ZERO,
                since: waiting.since,
                opened_at: Some(waiting.since),
                gone_since: waiting.gone_since,
                closed_at: None,
                told: Some(waiting.severity),
                told_at: None,
                returns: waiting.returns,
                relapses: waiting.relapses,
            },
        }
    }
}
