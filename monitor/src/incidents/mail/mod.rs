//! One mail about all that one look has changed, the worst first: as text, and the same as HTML. It also tells what the mails
//! before it tell that still wait, each incident once. Pure.

mod html;
mod subject;
mod waiting_news;

use std::cmp::Reverse;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MAIL_CHANNEL;
use logferry_ledger::{Incident, IncidentMail, NewMail, Severity};
use logferry_text::{count, count_of, duration, natural_order, wrapped};

use super::machine::{News, NewsKind};
use super::rules::{DISK, DISK_FULL, FILES};
use crate::time::local_time;
use logferry_inspection::time::age;

/// Incidents that a mail describes. `logferry alerts` has all.
const DESCRIBED_MAX: usize = 100;

/// What is open beside the news.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpenNow {
    /// Incidents that are open, those of the mail included.
    pub(crate) open: usize,
    /// How many of them are silenced.
    pub(crate) silenced: usize,
}

/// The mail about these news, and about those of the mails that still wait (`waiting`); `None` if none of the news is for the
/// mail.
pub(crate) fn mail(
    news: &[News],
    waiting: &[String],
    open: OpenNow,
    zone: &TimeZone,
    now: Timestamp,
) -> Option<IncidentMail> {
    let news = news.iter().filter(|it| is_told(&it.incident)).cloned();
    let news: Vec<_> = news.collect();
    if news.is_empty() {
        return None;
    }
    let news = waiting_news::together(waiting, news);
    Some(IncidentMail {
        mail: composed(&news, open, zone, now)?,
        news: waiting_news::text(&news),
    })
}

fn composed(news: &[News], open: OpenNow, zone: &TimeZone, now: Timestamp) -> Option<NewMail> {
    let mut news: Vec<_> = news.iter().collect();
    news.sort_by(|a, b| {
        let [a, b] = [&a.incident, &b.incident];
        let by_rule = a.rule.cmp(&b.rule);
        by_rule.then_with(|| natural_order(&a.subject, &b.subject))
    });
    news.sort_by_key(|it| order(it));
    let subject = subject::subject(&news)?;
    let items: Vec<_> = news
        .iter()
        .take(DESCRIBED_MAX)
        .map(|it| MailItem::new(it, zone, now))
        .collect();
    let more = news.len().saturating_sub(items.len());
    let end = ending(more, open);
    let mut text = format!("{}\n", summary(&news));
    for item in &items {
        text += &item.text();
    }
    text.push('\n');
    text += &wrapped(&end);
    Some(NewMail {
        subject,
        text,
        html: Some(html::body(&summary(&news), &items, &end)),
    })
}

/// Whether the mail tells of an incident. It is told what names no channel.
fn is_told(incident: &Incident) -> bool {
    let channels = &incident.channels;
    channels.is_empty() || channels.iter().any(|it| it == MAIL_CHANNEL)
}

/// What begins or becomes worse is first, the worst of it before the rest; then what is still open, and what is over.
fn order(news: &News) -> (u8, Reverse<Severity>, Timestamp) {
    let kind = match news.kind {
        NewsKind::Opened | NewsKind::Worse => 0,
        NewsKind::StillOpen => 1,
        NewsKind::Over => 2,
    };
    (kind, Reverse(news.incident.severity), news.incident.since)
}

/// `2 new, 1 worse, 3 over`
fn summary(news: &[&News]) -> String {
    let kinds = [
        (NewsKind::Opened, "new"),
        (NewsKind::Worse, "worse"),
        (NewsKind::StillOpen, "still open"),
        (NewsKind::Over, "over"),
    ];
    let parts = kinds.into_iter().filter_map(|(kind, word)| {
        let number = news.iter().filter(|it| it.kind == kind).count() as u64;
        (number > 0).then(|| format!("{} {word}", count(number)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn ending(more: usize, open: OpenNow) -> String {
    let more = match more {
        0 => String::new(),
        more => format!("And {} more. ", count(more as u64)),
    };
    let silenced = match open.silenced {
        0 => String::new(),
        silenced => format!(", {} of them silenced", count(silenced as u64)),
    };
    let open = match open.open {
        0 => "Nothing is open now.".to_owned(),
        open => format!("Open now: {}{silenced}.", count_of(open as u64, "incident")),
    };
    format!(
        "{more}{open} `logferry alerts` on the relay host lists all with their timelines; `logferry alerts silence SUBJECT --for 2h \
         --why TEXT` mutes one."
    )
}

/// How one incident is shown.
#[derive(Debug)]
struct MailItem {
    /// `CRITICAL`, `WARNING`, `OVER`.
    mark: String,
    color: &'static str,
    /// `stale 198.51.100.1`
    title: String,
    /// What is wrong, since when, what to do.
    lines: Vec<String>,
}

impl MailItem {
    fn new(news: &News, zone: &TimeZone, now: Timestamp) -> Self {
        let it = &news.incident;
        let title = title(it);
        let since = local_time(it.since, zone);
        if news.kind == NewsKind::Over {
            let end = it.gone_since.unwrap_or(now);
            let lasted = duration(age(it.since, end));
            let came_back = match it.returns {
                0 => String::new(),
                1 => "; it came back once meanwhile".to_owned(),
                returns => format!("; it came back {} times meanwhile", count(returns.into())),
            };
            let until = local_time(end, zone);
            return Self {
                mark: "OVER".to_owned(),
                color: "#1a7f37",
                title,
                lines: vec![
                    format!("it lasted {lasted}, from {since} to {until}{came_back}"),
                    format!("it was: {}", it.text),
                ],
            };
        }
        let mark = it.severity.as_str().to_uppercase();
        let mark = match news.kind {
            NewsKind::Worse => format!("{mark}, WORSE"),
            NewsKind::StillOpen => format!("{mark}, STILL OPEN"),
            NewsKind::Opened | NewsKind::Over => mark,
        };
        let often = match it.relapses {
            0 => String::new(),
            relapses => format!("; it was over and came back {} before", times(relapses)),
        };
        let mut lines = vec![it.text.clone(), format!("since {since}{often}")];
        lines.extend((!it.advice.is_empty()).then(|| format!("to do: {}", it.advice)));
        let color = match it.severity {
            Severity::Critical => "#cf222e",
            Severity::Warning => "#9a6700",
        };
        Self {
            mark,
            color,
            title,
            lines,
        }
    }

    fn text(&self) -> String {
        let head = wrapped(&format!("{}: {}", self.mark, self.title));
        let lines = self.lines.iter().map(|line| wrapped(&format!("- {line}")));
        format!("\n{head}{}", lines.collect::<String>())
    }
}

fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        number => format!("{} times", count(number.into())),
    }
}

/// The rule and what it is about, short.
fn title(incident: &Incident) -> String {
    let (rule, subject) = (&incident.rule, shown_subject(incident));
    // The disk and the indexer are the only subjects of their rules.
    if rule == subject || (rule == DISK_FULL && subject == DISK) {
        return rule.clone();
    }
    format!("{rule} {subject}")
}

/// A subject for people. A problem with a file of a role has its whole sentence in the subject, and in the text.
fn shown_subject(incident: &Incident) -> &str {
    let subject = incident.subject.as_str();
    match subject.split_once(':') {
        Some((role, _)) if incident.rule == FILES => role,
        _ => subject,
    }
}

#[cfg(test)]
mod tests;
