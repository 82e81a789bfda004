//! The subject of a mail about incidents: short, with the worst first. Pure.

use logferry_text::{count, duration};

use super::{News, NewsKind, shown_subject, title};
use logferry_inspection::time::age;

/// Incidents named in a subject. The text names all.
const NAMED_MAX: usize = 3;

/// Characters of one subject's name there.
const NAME_LENGTH_MAX: usize = 50;

/// `critical: stale 198.51.100.1, 198.51.100.2 and 5 more`; `None` without news. `news`: in their order.
pub(super) fn subject(news: &[&News]) -> Option<String> {
    let first = news.first()?;
    let group = |kinds: &[NewsKind]| -> Vec<&News> {
        news.iter()
            .filter(|it| kinds.contains(&it.kind))
            .copied()
            .collect()
    };
    let event = match first.kind {
        NewsKind::Opened | NewsKind::Worse => first.incident.severity.as_str().to_owned(),
        NewsKind::StillOpen => format!("still open, {}", first.incident.severity.as_str()),
        NewsKind::Over => "over".to_owned(),
    };
    let named = match first.kind {
        NewsKind::Opened | NewsKind::Worse => group(&[NewsKind::Opened, NewsKind::Worse]),
        kind => group(&[kind]),
    };
    let mut text = format!("{event}: {}", names(&named));
    match named.as_slice() {
        [only] if only.kind == NewsKind::Over => {
            let incident = &only.incident;
            let lasted = incident.gone_since.map(|gone| age(incident.since, gone));
            text += &lasted.map_or_else(String::new, |lasted| format!(" after {}", duration(lasted)));
        }
        _ => {}
    }
    Some(text)
}

/// The first ones, each rule once.
fn names(news: &[&News]) -> String {
    let (mut text, mut rule) = (String::new(), "");
    for it in news.iter().take(NAMED_MAX) {
        let incident = &it.incident;
        if !text.is_empty() {
            text += ", ";
        }
        if incident.rule == rule {
            text += &short(shown_subject(incident));
        } else {
            rule = &incident.rule;
            text += &short(&title(incident));
        }
    }
    match news.len().saturating_sub(NAMED_MAX) {
        0 => text,
        more => format!("{text} and {} more", count(more as u64)),
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME_LENGTH_MAX {
        return name.to_owned();
    }
    let start: String = name.chars().take(NAME_LENGTH_MAX - 1).collect();
    start + "…"
}
