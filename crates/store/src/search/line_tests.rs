//! Which lines of a text are hits. Pure.
//!
//! The text as a whole is searched for one of the query's texts, and only lines that have it are looked at.

use std::borrow::Cow;
use std::ops::Range;

use logferry_fields::LineReader;
use memchr::{memchr, memchr_iter, memrchr};

use crate::frame::{FrameMeta, LineMeta, OriginRecord};
use crate::query::{Condition, Query, QueryTerm, TextTerm};

/// A line that has the texts of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundLine {
    /// Its number in the text.
    pub(super) number: usize,
    /// Its bytes, without the newline.
    pub(super) range: Range<usize>,
}

/// What is known about a line beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineContext<'a> {
    pub(super) origin: &'a OriginRecord,
    pub(super) offset: u64,
    pub(super) time_ms: i64,
    pub(super) level: Option<&'a str>,
    pub(super) status: u16,
}

/// The conditions of a query, in the order in which they are tested.
#[derive(Debug)]
pub(super) struct LineTests<'q> {
    query: &'q Query,
    /// The text that the whole text is searched for: the longest.
    first: Option<&'q TextTerm>,
    /// The other conditions that need only the line.
    of_text: Vec<&'q QueryTerm>,
    of_context: Vec<&'q QueryTerm>,
    of_fields: Vec<&'q QueryTerm>,
}

impl<'q> LineTests<'q> {
    pub(super) fn new(query: &'q Query) -> Self {
        let texts = query.positive().filter_map(|condition| match condition {
            Condition::Text(term) => Some(&**term),
            _ => None,
        });
        let first = texts.max_by_key(|term| term.len());
        let is_first = |term: &QueryTerm| match (&term.condition, first) {
            (Condition::Text(text), Some(first)) => std::ptr::eq(text.as_ref(), first),
            _ => false,
        };
        let mut sorted = Self {
            query,
            first,
            of_text: Vec::new(),
            of_context: Vec::new(),
            of_fields: Vec::new(),
        };
        for term in query.terms().iter().filter(|term| !is_first(term)) {
            let kind = match term.condition {
                Condition::Text(_) | Condition::Pattern(_) => &mut sorted.of_text,
                Condition::Field(..) => &mut sorted.of_fields,
                _ => &mut sorted.of_context,
            };
            kind.push(term);
        }
        sorted
    }

    /// The lines of `text` that have the texts of the query.
    pub(super) fn find(&self, text: &[u8]) -> Vec<FoundLine> {
        let mut found = Vec::new();
        let (mut at, mut number) = (0, 0);
        while at < text.len() {
            let (start, skipped) = match self.first {
                None => (at, 0),
                Some(first) => {
                    let Some(range) = first.find(text, at) else {
                        break;
                    };
                    let before = text.get(at..range.start).unwrap_or_default();
                    let start = memrchr(b'\n', before).map_or(at, |newline| at + newline + 1);
                    (start, memchr_iter(b'\n', before).count())
                }
            };
            number += skipped;
            let rest = text.get(start..).unwrap_or_default();
            let end = start + memchr(b'\n', rest).unwrap_or(rest.len());
            let line = text.get(start..end).unwrap_or_default();
            if self.of_text.iter().all(|term| has_text(term, line)) {
                let range = start..end;
                found.push(FoundLine { number, range });
            }
            (at, number) = (end + 1, number + 1);
        }
        found
    }

    /// Whether lines are best chosen by what is known about them: there is no text to look for.
    pub(super) fn begin_with_context(&self) -> bool {
        self.first.is_none() && !self.of_context.is_empty()
    }

    /// The lines of a frame that may fulfil the conditions that need no byte of them, by their numbers. `meta` is without offsets:
    /// what it has in their place is smaller by the bytes of the lines before, at most `raw_len`.
    pub(super) fn chosen(&self, meta: &FrameMeta, raw_len: u32) -> Vec<usize> {
        let fulfils = |line: &LineMeta| {
            meta.origins.get(line.origin).is_some_and(|origin| {
                let context = LineContext {
                    origin,
                    offset: line.offset,
                    time_ms: line.time_ms,
                    level: meta.level(line),
                    status: line.status,
                };
                self.may_fulfil_context(&context, raw_len.into())
            })
        };
        let lines = meta.lines.iter().enumerate().filter(|(_, line)| fulfils(line));
        lines.map(|(number, _)| number).collect()
    }

    /// The lines with these numbers, which only grow, that have the texts of the query.
    pub(super) fn find_among(&self, text: &[u8], numbers: &[usize]) -> Vec<FoundLine> {
        let mut ends = memchr_iter(b'\n', text).chain([text.len()]).enumerate();
        let (mut found, mut before) = (Vec::new(), (0, 0));
        for number in numbers.iter().copied() {
            // `before`: a line's number and its first byte.
            while before.0 < number {
                let Some((_, end)) = ends.next() else {
                    return found;
                };
                before = (before.0 + 1, end + 1);
            }
            let Some((_, end)) = ends.next() else { break };
            let range = before.1..end;
            before = (number + 1, end + 1);
            let line = text.get(range.clone()).unwrap_or_default();
            if self.of_text.iter().all(|term| has_text(term, line)) {
                found.push(FoundLine { number, range });
            }
        }
        found
    }

    /// Whether a line that has the texts fulfils the other conditions too.
    pub(super) fn fulfils(
        &self,
        line: &[u8],
        context: &LineContext<'_>,
        reader: &mut LineReader<'_>,
    ) -> bool {
        self.fulfils_context(context) && (self.of_fields.is_empty() || self.has_fields(line, reader))
    }

    /// Whether a line fulfils the conditions that need no byte of it.
    pub(super) fn fulfils_context(&self, context: &LineContext<'_>) -> bool {
        self.may_fulfil_context(context, 0)
    }

    /// `further`: its offset may be larger by so much.
    fn may_fulfil_context(&self, context: &LineContext<'_>, further: u64) -> bool {
        if !self.query.is_in_time(context.time_ms) {
            return false;
        }
        let is = |term: &QueryTerm| match &term.condition {
            Condition::Source(pattern) => pattern.matches(context.origin.source.as_bytes()),
            Condition::Group(pattern) => pattern.matches(context.origin.group.as_bytes()),
            Condition::Log(pattern) => pattern.matches(context.origin.log.as_bytes()),
            Condition::Level(pattern) => context
                .level
                .is_some_and(|level| pattern.matches(level.as_bytes())),
            Condition::Status(range) => range.contains(&context.status),
            Condition::Place(batch, offsets) => {
                let (offset, last) = (context.offset, context.offset.saturating_add(further));
                *batch == context.origin.batch && offset <= *offsets.end() && last >= *offsets.start()
            }
            Condition::Text(_) | Condition::Pattern(_) | Condition::Field(..) => true,
        };
        self.of_context.iter().all(|term| is(term) != term.is_negated)
    }

    fn has_fields(&self, line: &[u8], reader: &mut LineReader<'_>) -> bool {
        let facts = reader.read(line);
        self.of_fields.iter().all(|term| {
            let Condition::Field(name, pattern) = &term.condition else {
                return true;
            };
            let known = match name.as_str() {
                "method" => facts.method.as_deref(),
                "path" => facts.path.as_deref(),
                _ => None,
            };
            let value = reader.field(line, name.as_bytes()).or(known.map(Cow::Borrowed));
            value.is_some_and(|value| pattern.matches(&value)) != term.is_negated
        })
    }
}

fn has_text(term: &QueryTerm, line: &[u8]) -> bool {
    let has = match &term.condition {
        Condition::Text(text) => text.find(line, 0).is_some(),
        Condition::Pattern(regex) => regex.is_match(line),
        _ => return true,
    };
    has != term.is_negated
}

/// The names and values of a line's fields.
pub(super) fn fields_of(line: &[u8], reader: &mut LineReader<'_>) -> Vec<(String, String)> {
    let facts = reader.read(line);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = reader.values(line);
    let mut fields: Vec<_> = fields.map(|(name, value)| (text(&name), text(&value))).collect();
    for (name, value) in [("method", facts.method), ("path", facts.path)] {
        if let Some(value) = value
            .as_deref()
            .filter(|_| fields.iter().all(|(known, _)| known != name))
        {
            fields.push((name.to_owned(), text(value)));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, text: &str) -> Vec<usize> {
        let query = Query::parse(query).unwrap();
        let found = LineTests::new(&query).find(text.as_bytes());
        found.into_iter().map(|line| line.number).collect()
    }

    #[test]
    fn lines_with_all_texts_are_found_with_their_numbers() {
        let text = "a b\n\nb a c\nc\na a b\nab";
        assert_eq!(found("a b", text), [0, 2, 4]);
        assert_eq!(found("a -c", text), [0, 4]);
        assert_eq!(found("-a", text), [1, 3, 5]);
        assert_eq!(found("", text), [0, 1, 2, 3, 4, 5]);
        assert_eq!(found("ab", text), [5]);
        assert_eq!(found("x", text), [] as [usize; 0]);
        let query = Query::parse("status:200 -c").unwrap();
        let tests = LineTests::new(&query);
        assert!(tests.begin_with_context());
        for text in [text, "a b\n\nb a c\nc\na a b\nab\n"] {
            let all = tests.find(text.as_bytes());
            for numbers in [&[0, 1, 2, 3, 4, 5][..], &[0], &[1, 3], &[4, 5, 9], &[]] {
                let mut wanted = all.clone();
                wanted.retain(|line| numbers.contains(&line.number));
                let mut found = tests.find_among(text.as_bytes(), numbers);
                // Behind the last newline there is no line.
                found.retain(|line| line.number < 6);
                assert_eq!(found, wanted, "{numbers:?}");
            }
        }
    }
}
