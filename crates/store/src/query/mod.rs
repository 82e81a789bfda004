//! What is searched for: the text that people type, and the options of the command.
//!
//! A query is a list of conditions that a line must fulfil, all of them. [`Query::parse`] says how they are written. How one is
//! tested may be changed here alone; what it needs of the filters stands in `condition`.

mod condition;
mod parse;
mod text_term;
mod value_pattern;

use std::ops::{Range, RangeInclusive};

use regex::bytes::RegexBuilder;

pub(crate) use condition::{Condition, QueryTerm};
pub use parse::QueryError;
pub(crate) use text_term::TextTerm;

/// A compiled pattern may take so many bytes.
const PATTERN_BYTES: usize = 4 << 20;

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    terms: Vec<QueryTerm>,
    /// Only lines of this time or later, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Only lines before this time.
    pub until_ms: Option<i64>,
}

impl Query {
    /// Reads a query. All its parts must be true of a line:
    ///
    /// - `word`: a whole word, in upper or lower case; `10.0.0.7` and `/api/orders` too, as one text.
    /// - `"connection refused"`: this text, between borders of words. In it, `""` is a quote.
    /// - `word*`, `*word`, `*word*`: a word that begins, ends or goes on so.
    /// - `field:value`, `field:"a value"`, `path:/api/*`: a field of the line; also `source`, `group`, `log`, `level`, `status`.
    ///   Within quotes, `*` is a character.
    /// - `status:404`, `status:5xx`.
    /// - `-` before any of these: lines without it.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Ok(Self {
            terms: parse::terms(text)?,
            ..Self::default()
        })
    }

    /// Adds the parts of another text.
    pub fn add_words(&mut self, text: &str) -> Result<(), QueryError> {
        self.terms.extend(parse::terms(text)?);
        Ok(())
    }

    /// Only lines without this: `-` and a part of the text. White space in it makes all of it one phrase.
    pub fn add_without(&mut self, part: &str) -> Result<(), QueryError> {
        self.terms.extend(parse::without(part)?);
        Ok(())
    }

    /// Only lines whose field `name` has the value: as `name:value` in the text.
    pub fn add_field(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        self.terms.push(parse::field(name, value, false)?);
        Ok(())
    }

    /// Only lines of this batch whose first byte there is in this range.
    pub fn add_offsets(&mut self, batch: &str, offsets: RangeInclusive<u64>) {
        self.terms.push(QueryTerm {
            is_negated: false,
            condition: Condition::Place(batch.to_owned(), offsets),
        });
    }

    /// Only lines in which the pattern matches.
    pub fn add_pattern(&mut self, pattern: &str) -> Result<(), QueryError> {
        let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
        let error = |error: regex::Error| QueryError::pattern(pattern, &error);
        self.terms.push(QueryTerm {
            is_negated: false,
            condition: Condition::Pattern(regex.map_err(error)?),
        });
        Ok(())
    }

    /// The parts of a line that are what is searched for, from left to right.
    pub fn highlights(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for term in self.terms.iter().filter(|term| !term.is_negated) {
            match &term.condition {
                Condition::Text(text) => {
                    let mut at = 0;
                    while let Some(range) = text.find(line, at) {
                        at = range.end;
                        ranges.push(range);
                    }
                }
                Condition::Pattern(regex) => ranges.extend(regex.find_iter(line).map(|found| found.range())),
                _ => {}
            }
        }
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        let mut end = 0;
        ranges.retain(|range| {
            let is_behind = range.start >= end;
            end = end.max(range.end);
            is_behind
        });
        ranges
    }

    /// The fields of lines that are asked for by name, except those that every line has.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().filter_map(|term| match &term.condition {
            Condition::Field(name, _) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether each line of each time fulfils it.
    pub fn is_for_everything(&self) -> bool {
        self.terms.is_empty() && self.since_ms.is_none() && self.until_ms.is_none()
    }

    pub(crate) fn terms(&self) -> &[QueryTerm] {
        &self.terms
    }

    /// The conditions that a line must fulfil.
    pub(crate) fn positive(&self) -> impl Iterator<Item = &Condition> {
        let positive = self.terms.iter().filter(|term| !term.is_negated);
        positive.map(|term| &term.condition)
    }

    /// Whether a line of this batch may be a hit.
    pub(crate) fn may_be_in(&self, batch: &str) -> bool {
        let mut positive = self.positive();
        !positive.any(|condition| matches!(condition, Condition::Place(wanted, _) if wanted != batch))
    }

    /// Whether a line of this time may be a hit.
    pub(crate) fn is_in_time(&self, time_ms: i64) -> bool {
        self.since_ms.is_none_or(|since| time_ms >= since)
            && self.until_ms.is_none_or(|until| time_ms < until)
    }

    /// Whether lines of these times may have a hit among them.
    pub(crate) fn overlaps(&self, min_ms: i64, max_ms: i64) -> bool {
        self.since_ms.is_none_or(|since| max_ms >= since) && self.until_ms.is_none_or(|until| min_ms < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_highlighted_once() {
        let mut query = Query::parse("get -b /a*").unwrap();
        query.add_pattern("[0-9]+|").unwrap();
        assert_eq!(
            query.highlights(b"GET /a12 b 7 /a"),
            [0..3, 4..6, 6..8, 11..12, 13..15]
        );
    }

    #[test]
    fn pattern_that_is_none_or_too_large_is_named() {
        let mut query = Query::default();
        let error = query.add_pattern("(a").unwrap_err().to_string();
        assert!(
            error.starts_with("`(a` is no regular expression: unclosed group"),
            "{error}"
        );
        let error = query.add_pattern("(a{1000}){1000}").unwrap_err().to_string();
        assert!(error.contains("size limit"), "{error}");
    }
}
