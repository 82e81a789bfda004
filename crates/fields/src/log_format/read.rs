//! Takes a line apart by its template.
//!
//! Invariants: each byte of the line is looked at a bounded number of times. A line that is not of the format has neither
//! time nor fields.

use logferry_time_windows::{LineTime, TimeReader};
use memchr::{memchr, memchr_iter, memrchr};

use super::LogFormat;
use super::template::{Delimiter, Part, Template, TimeField};
use super::variables::{Content, Escape, TimeVariable};
use crate::field::LineField;
use crate::text::is_escaped;

impl LogFormat {
    /// The time of a line. `None` also if the line can be read in more than one way, with different times.
    pub(crate) fn time(&self, line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
        let template = &self.template;
        let field = template
            .times
            .iter()
            .find(|field| times.wants(field.variable.notation()))?;
        let to = field.delimiter;
        let start = if template.is_certain_from_start(to) {
            template.start_by_earlier(line, to)?
        } else if template.is_certain_from_end(to) {
            template.start_by_later(line, to)?
        } else {
            return template.only_time(line, *field, times);
        };
        field.variable.read(line.get(start + field.offset..)?, times)
    }

    /// Adds the line's fields. False: the line is not of this format, and nothing was added.
    pub(crate) fn read<'a>(&'a self, line: &[u8], fields: &mut Vec<LineField<'a>>) -> bool {
        let template = &self.template;
        let Some(starts) = template
            .starts(line)
            .filter(|starts| template.holds(line, starts))
        else {
            return false;
        };
        for (number, (delimiter, start)) in template.delimiters.iter().zip(&starts).enumerate() {
            let mut at = *start;
            for part in &delimiter.parts {
                if let Part::Time(time) = part {
                    fields.push(LineField::new(time.name(), at..at + part.len()));
                }
                at += part.len();
            }
            if let (Some(variable), Some(end)) = (template.variables.get(number), starts.get(number + 1)) {
                fields.push(LineField::new(&variable.name, at..*end));
            }
        }
        true
    }
}

impl Template {
    /// Where a delimiter starts that is certain by the bytes before it.
    fn start_by_earlier(&self, line: &[u8], to: usize) -> Option<usize> {
        let earlier = |other| self.start_by_earlier(line, other);
        self.start_after(line, to, earlier)
    }

    /// The same, with the starts of earlier delimiters known.
    fn start_after(
        &self,
        line: &[u8],
        to: usize,
        start_of: impl Fn(usize) -> Option<usize>,
    ) -> Option<usize> {
        let Some(anchor) = self.from_start[to] else {
            return (to == 0 && self.delimiters[to].matches(line, 0)).then_some(0);
        };
        let from = start_of(anchor.from)? + self.delimiters[anchor.from].len;
        let mut at = from;
        loop {
            at += memchr(anchor.byte, line.get(at..)?)?;
            if !self.is_of_a_value(line, at) {
                break;
            }
            at += 1;
        }
        let start = at.checked_sub(anchor.offset).filter(|start| *start >= from)?;
        self.delimiters[to].matches(line, start).then_some(start)
    }

    /// Where a delimiter starts that is certain by the bytes after it.
    fn start_by_later(&self, line: &[u8], to: usize) -> Option<usize> {
        let later = |other| self.start_by_later(line, other);
        self.start_before(line, to, later)
    }

    /// The same, with the starts of later delimiters known.
    fn start_before(
        &self,
        line: &[u8],
        to: usize,
        start_of: impl Fn(usize) -> Option<usize>,
    ) -> Option<usize> {
        let len = self.delimiters[to].len;
        let start = match self.from_end[to] {
            None if to == self.last() => line.len().checked_sub(len)?,
            None => return None,
            Some(anchor) => {
                let limit = start_of(anchor.from)?;
                let mut before = line.get(..limit)?;
                let at = loop {
                    let at = memrchr(anchor.byte, before)?;
                    if !self.is_of_a_value(line, at) {
                        break at;
                    }
                    before = &before[..at];
                };
                at.checked_sub(anchor.offset)
                    .filter(|start| start + len <= limit)?
            }
        };
        self.delimiters[to].matches(line, start).then_some(start)
    }

    /// Whether the byte is a quote that `escape=json` wrote into a value.
    fn is_of_a_value(&self, line: &[u8], at: usize) -> bool {
        self.escape == Escape::Json && line[at] == b'"' && is_escaped(line, at)
    }

    /// The time of a delimiter without an anchor, if all ways to read the line give the same.
    fn only_time(&self, line: &[u8], field: TimeField, times: &mut TimeReader) -> Option<LineTime> {
        let to = field.delimiter;
        let delimiter = &self.delimiters[to];
        let before = (0..to).rev().find(|other| self.is_certain_from_start(*other))?;
        let after = (to + 1..=self.last()).find(|other| self.is_certain_from_end(*other))?;
        let from = self.start_by_earlier(line, before)? + self.delimiters[before].len;
        let region = line.get(from..self.start_by_later(line, after)?)?;
        let mut only: Option<LineTime> = None;
        for start in delimiter.possible_starts(region) {
            let stamp = region.get(start + field.offset..).unwrap_or_default();
            if let Some(time) = field.variable.read(stamp, times) {
                if only.is_some_and(|other| other != time) {
                    return None;
                }
                only = Some(time);
            }
        }
        only
    }

    /// Whether the variables between the delimiters can have these values.
    fn holds(&self, line: &[u8], starts: &[usize]) -> bool {
        let ends = starts.iter().skip(1);
        let before = self
            .delimiters
            .iter()
            .zip(starts)
            .map(|(delimiter, start)| start + delimiter.len);
        before
            .zip(ends)
            .zip(&self.variables)
            .all(|((from, to), variable)| {
                let mut value = line.get(from..*to).unwrap_or_default().iter();
                variable.content == Content::Text
                    || value.all(|byte| variable.content.can_hold(*byte, self.escape))
            })
    }

    /// Where each delimiter starts. Those without an anchor start as early as they can.
    fn starts(&self, line: &[u8]) -> Option<Vec<usize>> {
        let mut starts = Vec::with_capacity(self.last() + 1);
        let mut from = 0;
        for (to, delimiter) in self.delimiters.iter().enumerate() {
            if !self.is_certain_from_start(to) {
                return self.starts_from_both_ends(line);
            }
            let start = self.start_after(line, to, |other| starts.get(other).copied())?;
            if start < from {
                return None;
            }
            from = start + delimiter.len;
            starts.push(start);
        }
        Some(starts)
    }

    /// The same, if some are not certain from the start.
    fn starts_from_both_ends(&self, line: &[u8]) -> Option<Vec<usize>> {
        let last = self.last();
        let mut starts = vec![None; last + 1];
        for to in 0..=last {
            starts[to] = self.start_after(line, to, |other| starts[other]);
            if starts[to].is_none() && self.is_certain_from_start(to) {
                return None;
            }
        }
        if starts.iter().any(Option::is_none) {
            let mut by_later = vec![None; last + 1];
            for to in (0..=last).rev() {
                by_later[to] = self.start_before(line, to, |other| by_later[other]);
                starts[to] = starts[to].or(by_later[to]);
            }
        }
        let mut result = Vec::with_capacity(last + 1);
        let mut from = 0;
        for (to, start) in starts.iter().enumerate() {
            let start = if let Some(start) = start {
                *start
            } else {
                let limit = starts[to..].iter().flatten().next()?;
                from + self.delimiters[to]
                    .possible_starts(line.get(from..*limit)?)
                    .next()?
            };
            if start < from {
                return None;
            }
            result.push(start);
            from = start + self.delimiters[to].len;
        }
        Some(result)
    }
}

impl Delimiter {
    /// Where it can start in a text.
    fn possible_starts<'a>(&'a self, text: &'a [u8]) -> Box<dyn Iterator<Item = usize> + 'a> {
        let mut offset = 0;
        let literal = self.parts.iter().find_map(|part| {
            let start = offset;
            offset += part.len();
            match part {
                Part::Literal(literal) => Some((start, *literal.first()?)),
                Part::Time(_) => None,
            }
        });
        match literal {
            Some((offset, byte)) => Box::new(
                memchr_iter(byte, text)
                    .filter_map(move |at| at.checked_sub(offset))
                    .filter(|start| self.matches(text, *start)),
            ),
            None => Box::new(0..(text.len() + 1).saturating_sub(self.len)),
        }
    }
}

impl TimeVariable {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "time_local",
            Self::Iso8601 => "time_iso8601",
            Self::Msec => "msec",
        }
    }

    /// The time at the beginning of the text, as nginx writes this variable.
    fn read(self, text: &[u8], times: &mut TimeReader) -> Option<LineTime> {
        let found = match self {
            Self::Local => times.nginx(text),
            Self::Iso8601 => times.iso8601(text),
            Self::Msec => times.number(text).map(|(found, _)| found),
        }?;
        (found.len == self.len()).then_some(found.time)
    }
}
