//! What a line must have to be a hit. Pure.

use std::ops::RangeInclusive;

use logferry_fields::Level;
use regex::bytes::Regex;

use super::text_term::TextTerm;
use super::value_pattern::ValuePattern;
use crate::words::property_hash;
use crate::writer::property;

/// One condition, and whether a line must not fulfil it.
#[derive(Debug, Clone)]
pub(crate) struct QueryTerm {
    pub(crate) is_negated: bool,
    pub(crate) condition: Condition,
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Text(Box<TextTerm>),
    Pattern(Regex),
    Source(ValuePattern),
    Group(ValuePattern),
    Log(ValuePattern),
    Level(ValuePattern),
    Status(RangeInclusive<u16>),
    /// Lines of this batch whose first byte there is in this range.
    Place(String, RangeInclusive<u64>),
    /// Any other field, by its name.
    Field(String, ValuePattern),
}

impl Condition {
    /// A field of this name with such a value; if the value, which `shown` stands for, is none for that field, the sentence that
    /// says so.
    pub(crate) fn of_field(name: &str, pattern: ValuePattern, shown: &str) -> Result<Self, String> {
        let exact = pattern.exact();
        Ok(match name {
            "source" => Self::Source(pattern),
            "group" => Self::Group(pattern),
            "log" => Self::Log(pattern),
            "level" => {
                let known = exact.and_then(|level| Level::of_word(level.as_bytes()));
                if known.is_none() && exact.is_some() {
                    return Err(format!("`{shown}` is no level; write error, warn, info or debug"));
                }
                Self::Level(known.map_or(pattern, |level| ValuePattern::new(level.as_str())))
            }
            "status" => Self::Status(exact.and_then(statuses).ok_or_else(|| {
                format!("`{shown}` is no status; write one, such as 404, or a class, such as 5xx")
            })?),
            _ => Self::Field(name.to_owned(), pattern),
        })
    }

    /// What the filter of a frame with a hit has, in any case.
    pub(crate) fn hashes(&self) -> Vec<u64> {
        let exact = |name: &str, pattern: &ValuePattern| {
            let exact = pattern.exact();
            exact
                .map(|value| property_hash(name, value))
                .into_iter()
                .collect()
        };
        match self {
            Self::Text(term) => term.words().to_vec(),
            Self::Source(pattern) => exact(property::SOURCE, pattern),
            Self::Group(pattern) => exact(property::GROUP, pattern),
            Self::Log(pattern) => exact(property::LOG, pattern),
            Self::Level(pattern) => exact(property::LEVEL, pattern),
            Self::Status(range) if range.start() == range.end() => {
                vec![property_hash(property::STATUS, &range.start().to_string())]
            }
            Self::Status(range) => vec![property_hash(
                property::STATUS_CLASS,
                &(range.start() / 100).to_string(),
            )],
            Self::Field(..) | Self::Pattern(_) | Self::Place(..) => Vec::new(),
        }
    }

    /// What it has unless values touch words ([`property::JOINED_VALUES`]).
    pub(crate) fn field_hashes(&self) -> Vec<u64> {
        match self {
            Self::Field(_, pattern) => pattern.words(),
            _ => Vec::new(),
        }
    }
}

/// `404`, or `5xx` for all from 500 to 599.
fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    if text.len() != 3 || !matches!(text.as_bytes().first(), Some(b'1'..=b'5')) {
        return None;
    }
    if let Ok(status) = text.parse() {
        return Some(status..=status);
    }
    let class: u16 = text
        .strip_suffix(['x', 'X'])?
        .strip_suffix(['x', 'X'])?
        .parse()
        .ok()?;
    Some(class * 100..=class * 100 + 99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_a_number_or_a_class() {
        for (text, expected) in [
            ("404", Some(404..=404)),
            ("5xx", Some(500..=599)),
            ("5XX", Some(500..=599)),
            ("50x", None),
            ("600", None),
            ("5", None),
            ("éx", None),
        ] {
            assert_eq!(statuses(text), expected, "{text}");
        }
    }
}
