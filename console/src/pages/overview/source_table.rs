//! The table of sources: chosen, sorted and grouped as the address says. Pure.

use std::cmp::Reverse;

use jiff::Timestamp;
use logferry_inspection::status::{SourceState, SourceStatus};
use logferry_text::{count, duration, size};
use serde::Deserialize;

use std::time::Duration;

use super::day_counts::DayCounts;
use super::pipeline::rate_text;
use crate::pages::parts::links::query_text;
use crate::pages::parts::times;

/// What the address chooses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SourceChoice {
    /// Only sources, addresses and groups with this text.
    pub(crate) find: String,
    /// Only of this group.
    pub(crate) group: String,
    /// Only of this state.
    pub(crate) state: String,
    /// By which column; with a `-` before it, the greatest first.
    pub(crate) sort: String,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceTableRow {
    pub(crate) source: String,
    pub(crate) group: String,
    pub(crate) address: String,
    pub(crate) class: &'static str,
    pub(crate) state: &'static str,
    pub(crate) lag: String,
    pub(crate) rate: String,
    pub(crate) last_line: String,
    pub(crate) note: String,
    /// The source in an address.
    pub(crate) query: String,
}

/// A column's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    pub(crate) title: &'static str,
    pub(crate) href: String,
    /// `ascending`, `descending` or nothing.
    pub(crate) order: &'static str,
    pub(crate) class: &'static str,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceTable {
    pub(crate) columns: Vec<SourceColumn>,
    pub(crate) groups: Vec<(String, Vec<SourceTableRow>)>,
    pub(crate) shown: usize,
    pub(crate) all: usize,
    pub(crate) group_names: Vec<String>,
}

const COLUMNS: [(&str, &str, &str); 6] = [
    ("source", "Source", ""),
    ("state", "State", ""),
    ("lag", "Lag", "number"),
    ("rate", "Lines/s", "number"),
    ("last", "Last line", ""),
    ("address", "Address", "optional"),
];

impl SourceTable {
    pub(crate) fn new(
        sources: &[SourceStatus],
        counts: Option<&DayCounts>,
        choice: &SourceChoice,
        now: Timestamp,
    ) -> Self {
        let group_of =
            |source: &SourceStatus| source.group.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut group_names: Vec<_> = sources
            .iter()
            .map(group_of)
            .filter(|name| !name.is_empty())
            .collect();
        group_names.sort();
        group_names.dedup();
        let rate = |source: &SourceStatus| rate_of(source, counts);
        let mut chosen: Vec<_> = sources
            .iter()
            .filter(|source| is_chosen(source, choice))
            .collect();
        sort(&mut chosen, &choice.sort, rate);
        let mut groups: Vec<(String, Vec<SourceTableRow>)> = Vec::new();
        // An order over all is one table; without one, the groups stand one after the other.
        let is_grouped = choice.sort.is_empty() && group_names.len() > 1;
        for source in &chosen {
            let name = if is_grouped {
                group_of(source)
            } else {
                String::new()
            };
            let row = source_row(source, rate(source), now);
            match groups.iter_mut().find(|(group, _)| *group == name) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((name, vec![row])),
            }
        }
        groups.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self {
            columns: COLUMNS.map(|column| head(column, choice)).to_vec(),
            groups,
            shown: chosen.len(),
            all: sources.len(),
            group_names,
        }
    }
}

fn is_chosen(source: &SourceStatus, choice: &SourceChoice) -> bool {
    let group = source.group.as_ref().map(ToString::to_string).unwrap_or_default();
    let find = choice.find.trim().to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&find);
    let is_found = find.is_empty()
        || has(source.source.as_str())
        || has(&group)
        || source.address.is_some_and(|address| has(&address.to_string()));
    is_found
        && (choice.group.is_empty() || choice.group == group)
        && (choice.state.is_empty() || choice.state == source.state.as_str())
}

fn sort(sources: &mut [&SourceStatus], by: &str, rate: impl Fn(&SourceStatus) -> f64) {
    let (is_reversed, column) = by.strip_prefix('-').map_or((false, by), |column| (true, column));
    match column {
        "source" => sources.sort_by(|a, b| a.source.cmp(&b.source)),
        "lag" => sources.sort_by_key(|source| source.lag_bytes),
        "rate" => sources.sort_by(|a, b| rate(a).total_cmp(&rate(b))),
        "last" => sources.sort_by_key(|source| source.last_line_at),
        "address" => sources.sort_by_key(|source| source.address),
        "state" => sources.sort_by_key(|source| Reverse(urgency(source))),
        // What needs somebody stands first, then by name.
        _ => sources.sort_by(|a, b| urgency(b).cmp(&urgency(a)).then_with(|| a.source.cmp(&b.source))),
    }
    if is_reversed {
        sources.reverse();
    }
}

fn urgency(source: &SourceStatus) -> u8 {
    match source.state {
        _ if source.is_silenced() => 0,
        SourceState::Missing => 3,
        SourceState::Stale => 2,
        SourceState::Quiet | SourceState::Active => u8::from(is_troubled(source)),
    }
}

fn is_troubled(source: &SourceStatus) -> bool {
    !source.gaps.is_empty() || !source.log_problems.is_empty() || !source.held_files.is_empty()
}

fn rate_of(source: &SourceStatus, counts: Option<&DayCounts>) -> f64 {
    match counts {
        Some(counts) => counts.rate(source.source.as_str()),
        None => f64::from(u32::try_from(source.lines_last_hour).unwrap_or(u32::MAX)) / 3600.0,
    }
}

fn source_row(source: &SourceStatus, rate: f64, now: Timestamp) -> SourceTableRow {
    let (class, state) = match source.state {
        _ if source.is_silenced() => ("calm", "silenced"),
        SourceState::Active => ("well", "active"),
        SourceState::Quiet => ("calm", "quiet"),
        SourceState::Stale => ("bad", "stale"),
        SourceState::Missing => ("bad", "missing"),
    };
    let name = source.source.to_string();
    let lag = match (source.present_lag(), source.oldest_unread_seconds) {
        (None, _) => "?".to_owned(),
        (Some(bytes), _) if source.is_silent() => format!("at least {}", size(bytes)),
        (Some(0), _) => "0".to_owned(),
        (Some(bytes), 0..10) => size(bytes),
        (Some(bytes), seconds) => format!("{}, {}", size(bytes), duration(Duration::from_secs(seconds))),
    };
    SourceTableRow {
        group: source.group.as_ref().map(ToString::to_string).unwrap_or_default(),
        address: source
            .address
            .map(|address| address.to_string())
            .filter(|address| *address != name)
            .unwrap_or_default(),
        class,
        state,
        lag,
        rate: rate_text(rate),
        last_line: source
            .last_line_at
            .map_or_else(|| "never".to_owned(), |at| times::ago(at, now)),
        note: notes(source).join(", "),
        query: query_text(&name),
        source: name,
    }
}

fn notes(source: &SourceStatus) -> Vec<String> {
    let many = |number: usize, what: &str| (number > 0).then(|| format!("{} {what}", count(number as u64)));
    let notes = [
        many(source.gaps.len(), "lost ranges"),
        many(source.log_problems.len(), "logs not readable"),
        many(source.held_files.len(), "files not shipped"),
        (!source.senders.is_empty()).then(|| "several senders".to_owned()),
    ];
    notes.into_iter().flatten().collect()
}

fn head(
    (name, title, class): (&'static str, &'static str, &'static str),
    choice: &SourceChoice,
) -> SourceColumn {
    let descending = format!("-{name}");
    let (order, next) = if choice.sort == name {
        ("ascending", descending)
    } else if choice.sort == descending {
        ("descending", String::new())
    } else if class == "number" || name == "last" {
        ("", descending)
    } else {
        ("", name.to_owned())
    };
    let kept = [
        ("find", &choice.find),
        ("group", &choice.group),
        ("state", &choice.state),
    ];
    let kept = kept.into_iter().filter(|(_, value)| !value.is_empty());
    let kept: Vec<_> = kept
        .map(|(key, value)| format!("&{key}={}", query_text(value)))
        .collect();
    let kept = kept.concat();
    SourceColumn {
        title,
        href: format!("/?sort={next}{kept}#sources"),
        order,
        class,
    }
}
