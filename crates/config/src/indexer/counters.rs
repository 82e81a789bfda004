//! `counters`: names for lines that operators want to count. What a rule asks for is here, whether a line has it is the
//! indexer's to see.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::RangeInclusive;

use logferry_fields::Level;
use serde::Deserialize;

use crate::yaml::field::{ConfigField, RawText};

/// Most counters: each is a number in every row of the lines that it counts.
const COUNTERS_MAX: usize = 64;

/// The columns that every row has, beside those that begin with `status_` and `level_`.
const OTHER_COLUMNS: [&str; 12] = [
    "time",
    "source",
    "group",
    "log",
    "status",
    "level",
    "lines",
    "bytes",
    "unparsed",
    "requests_timed",
    "request_seconds",
    "request_p95_seconds",
];

/// A named counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterSettings {
    /// Its name: a column of `numbers`.
    pub name: String,
    /// The lines that it counts.
    pub rule: CounterRule,
}

/// What a line must have to be counted: all that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CounterRule {
    /// The source.
    pub source: Option<TextPattern>,
    /// The source's group.
    pub group: Option<TextPattern>,
    /// The log.
    pub log: Option<TextPattern>,
    /// The level.
    pub level: Option<Level>,
    /// The HTTP statuses.
    pub status: Option<RangeInclusive<u16>>,
    /// The method, in upper or lower case.
    pub method: Option<String>,
    /// The path without the query.
    pub path: Option<TextPattern>,
    /// A text anywhere in the line.
    pub text: Option<String>,
    /// Values of fields, by the fields' names.
    pub fields: Vec<(String, TextPattern)>,
}

/// A text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPattern {
    first: Vec<u8>,
    /// What follows each `*`.
    after: Vec<Vec<u8>>,
}

impl TextPattern {
    /// The pattern that a text stands for.
    pub fn of(text: &str) -> Self {
        let mut pieces = text.split('*').map(|piece| piece.as_bytes().to_vec());
        Self {
            first: pieces.next().unwrap_or_default(),
            after: pieces.collect(),
        }
    }

    /// Whether the whole text is as the pattern says.
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(mut rest) = text.strip_prefix(self.first.as_slice()) else {
            return false;
        };
        let Some((last, middle)) = self.after.split_last() else {
            return rest.is_empty();
        };
        // The first place for each piece leaves the most for the next.
        for piece in middle {
            let found = piece.is_empty().then_some(0).or_else(|| find(rest, piece));
            let Some(after) = found.and_then(|at| rest.get(at + piece.len()..)) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    text.windows(piece.len()).position(|window| window == piece)
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a counter such as {name: orders, where: {path: \"/order*\"}}"
)]
pub(crate) struct RawCounter {
    name: Option<String>,
    r#where: RawRule,
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as {path: \"/order*\", status: 2xx}"
)]
struct RawRule {
    source: Option<String>,
    group: Option<String>,
    log: Option<String>,
    level: Option<String>,
    status: RawText,
    method: Option<String>,
    path: Option<String>,
    text: Option<String>,
    field: BTreeMap<String, String>,
}

pub(crate) fn resolve(raw: Vec<RawCounter>, at: &ConfigField<'_>) -> Option<Vec<CounterSettings>> {
    if raw.len() > COUNTERS_MAX {
        return at.refuse(format!(
            "has {} counters; at most {COUNTERS_MAX} are allowed",
            raw.len()
        ));
    }
    let counters = at.each(raw, |raw: RawCounter, at| {
        let name = at.required("name", raw.name, "orders", |at, text| at.check(text, name));
        let rule = raw.r#where.resolve(&at.key("where"));
        Some(CounterSettings {
            name: name?,
            rule: rule?,
        })
    })?;
    let names: Vec<_> = counters
        .iter()
        .map(|counter| Some(counter.name.clone()))
        .collect();
    at.distinct("name", names, "each counter needs a name of its own");
    Some(counters)
}

/// Checks a name. It is a column beside the others.
fn name(text: &str) -> Result<String, String> {
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.is_empty() || text.len() > 40 || !text.bytes().all(is_of_name) {
        return Err(format!(
            "`{text}` is no name of a counter; write small letters, digits and `_`, at most 40, such as `orders`"
        ));
    }
    if OTHER_COLUMNS.contains(&text) || text.starts_with("status_") || text.starts_with("level_") {
        return Err(format!(
            "`{text}` is a number that there is without a counter; choose another name"
        ));
    }
    Ok(text.to_owned())
}

impl RawRule {
    fn resolve(self, at: &ConfigField<'_>) -> Option<CounterRule> {
        let pattern = |at: &ConfigField<'_>, text: &str| {
            at.check(text, |text| Ok::<_, Infallible>(TextPattern::of(text)))
        };
        let status = match self.status.or("") {
            "" => Some(None),
            text => at.key("status").check(text, statuses).map(Some),
        };
        let field_at = at.key("field");
        let fields = self.field.into_iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| pattern(&field_at.name(&name), &value).map(|value| (name, value)))
            .collect();
        let (source, group) = (
            at.optional("source", self.source, pattern),
            at.optional("group", self.group, pattern),
        );
        let (log, path) = (
            at.optional("log", self.log, pattern),
            at.optional("path", self.path, pattern),
        );
        let level = at.optional("level", self.level, |at, text| at.check(text, level));
        let method = at.optional("method", self.method, ConfigField::filled);
        let text = at.optional("text", self.text, ConfigField::filled);
        let rule = CounterRule {
            source: source?,
            group: group?,
            log: log?,
            level: level?,
            status: status?,
            method: method?,
            path: path?,
            text: text?,
            fields: fields.into_iter().collect::<Option<_>>()?,
        };
        if rule == CounterRule::default() {
            return at.refuse(
                "asks for nothing; write at least one of source, group, log, level, status, method, path, text, field",
            );
        }
        Some(rule)
    }
}

fn level(text: &str) -> Result<Level, String> {
    Level::of_word(text.as_bytes())
        .ok_or_else(|| format!("`{text}` is no level; write debug, info, warn or error"))
}

/// `404`, or `5xx`.
fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = match text.as_bytes() {
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
            let first = u16::from(class - b'0') * 100;
            Some(first..=first + 99)
        }
        _ => text.parse().ok().map(|status| status..=status),
    };
    range
        .filter(|range| (100..600).contains(range.start()))
        .ok_or_else(|| format!("`{text}` is no HTTP status; write one such as 404, or a class such as 5xx"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("/order*", "/order/7", true),
            ("/order*", "/orde", false),
            ("/order", "/order/7", false),
            ("*", "", true),
            ("*.php", "/a.php", true),
            ("/a*b*c", "/abxbc", true),
            ("/a*b*c", "/ac", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("", "", true),
        ] {
            assert_eq!(
                TextPattern::of(pattern).matches(text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
