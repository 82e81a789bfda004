//! A `log_format` as delimiters and the variables between them, and where in a line each delimiter must be.
//!
//! Pure. The variables that are times have a fixed length, so they are parts of delimiters.
//!
//! A delimiter has an *anchor* if it is certain where it stands: it holds a byte that none of the variables before it can
//! hold, back to a delimiter that is certain. Then the first such byte of the line, from there on, is the delimiter's own.
//! The same holds from the end of the line. So a client, whatever it sends, cannot move a delimiter with an anchor.

use super::parse::Piece;
use super::variables::{Content, Escape, TimeVariable};

/// The fixed text between two variables. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Delimiter {
    pub(crate) parts: Vec<Part>,
    /// Length in bytes.
    pub(crate) len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    Time(TimeVariable),
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Time(time) => time.len(),
        }
    }
}

/// A byte that fixes where a delimiter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// The delimiter from which on the byte is searched.
    pub(crate) from: usize,
    pub(crate) byte: u8,
    /// Where the delimiter has the byte.
    pub(crate) offset: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// Where a time stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeField {
    pub(crate) variable: TimeVariable,
    pub(crate) delimiter: usize,
    /// Bytes of the delimiter before it.
    pub(crate) offset: usize,
}

/// A format. Between delimiter `n` and `n + 1` is variable `n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) variables: Vec<Variable>,
    pub(crate) delimiters: Vec<Delimiter>,
    pub(crate) escape: Escape,
    /// The anchor of each delimiter by the bytes before it; none for the first, which begins the line.
    pub(crate) from_start: Vec<Option<Anchor>>,
    /// The anchor of each delimiter by the bytes after it; none for the last, which ends the line.
    pub(crate) from_end: Vec<Option<Anchor>>,
    /// The times, the best first: those that are certain, then by notation.
    pub(crate) times: Vec<TimeField>,
}

impl Template {
    pub(crate) fn new(pieces: Vec<Piece>, escape: Escape) -> Self {
        let mut variables = Vec::new();
        let mut delimiters = vec![Delimiter::default()];
        let mut times = Vec::new();
        for piece in pieces {
            let time = match &piece {
                Piece::Variable(name) => TimeVariable::of(name),
                Piece::Literal(_) => None,
            };
            let at = delimiters.len() - 1;
            let delimiter = &mut delimiters[at];
            let part = match (piece, time) {
                (Piece::Literal(text), _) => Part::Literal(text),
                (Piece::Variable(_), Some(variable)) => {
                    times.push(TimeField {
                        variable,
                        delimiter: at,
                        offset: delimiter.len,
                    });
                    Part::Time(variable)
                }
                (Piece::Variable(name), None) => {
                    let content = Content::of(&name);
                    variables.push(Variable { name, content });
                    delimiters.push(Delimiter::default());
                    continue;
                }
            };
            delimiter.len += part.len();
            delimiter.parts.push(part);
        }
        let mut template = Self {
            variables,
            delimiters,
            escape,
            from_start: Vec::new(),
            from_end: Vec::new(),
            times,
        };
        template.find_anchors();
        let mut times = std::mem::take(&mut template.times);
        times.sort_by_key(|time| (!template.is_certain(time.delimiter), time.variable));
        Self { times, ..template }
    }

    /// The last delimiter.
    pub(crate) fn last(&self) -> usize {
        self.delimiters.len() - 1
    }

    /// Whether the bytes of the line, from its start or from its end, fix where the delimiter stands.
    pub(crate) fn is_certain(&self, delimiter: usize) -> bool {
        self.is_certain_from_start(delimiter) || self.is_certain_from_end(delimiter)
    }

    pub(crate) fn is_certain_from_start(&self, delimiter: usize) -> bool {
        delimiter == 0 || self.from_start[delimiter].is_some()
    }

    pub(crate) fn is_certain_from_end(&self, delimiter: usize) -> bool {
        delimiter == self.last() || self.from_end[delimiter].is_some()
    }

    fn find_anchors(&mut self) {
        let last = self.last();
        self.from_start = vec![None; last + 1];
        self.from_end = vec![None; last + 1];
        for to in 1..=last {
            // From the earliest certain delimiter: the fewest searches.
            let mut certain = (0..to).filter(|from| self.is_certain_from_start(*from));
            self.from_start[to] = certain.find_map(|from| self.anchor_after(from, to));
        }
        for to in (0..last).rev() {
            let mut certain = (to + 1..=last)
                .rev()
                .filter(|from| self.is_certain_from_end(*from));
            self.from_end[to] = certain.find_map(|from| self.anchor_before(from, to));
        }
    }

    /// The first byte of delimiter `to` that nothing between `from` and it can hold.
    fn anchor_after(&self, from: usize, to: usize) -> Option<Anchor> {
        self.literal_bytes(to)
            .find(|(offset, byte)| {
                self.is_absent_between(from, to, *byte) && !self.delimiters[to].can_hold(*byte, 0..*offset)
            })
            .map(|(offset, byte)| Anchor { from, byte, offset })
    }

    /// The last byte of delimiter `to` that nothing between it and `from` can hold.
    fn anchor_before(&self, from: usize, to: usize) -> Option<Anchor> {
        let len = self.delimiters[to].len;
        self.literal_bytes(to)
            .filter(|(offset, byte)| {
                self.is_absent_between(to, from, *byte)
                    && !self.delimiters[to].can_hold(*byte, offset + 1..len)
            })
            .last()
            .map(|(offset, byte)| Anchor { from, byte, offset })
    }

    fn literal_bytes(&self, delimiter: usize) -> impl Iterator<Item = (usize, u8)> {
        let mut offset = 0;
        let literals = self.delimiters[delimiter].parts.iter().filter_map(move |part| {
            let start = offset;
            offset += part.len();
            match part {
                Part::Literal(text) => Some((start, text)),
                Part::Time(_) => None,
            }
        });
        literals.flat_map(|(start, text)| (start..).zip(text.iter().copied()))
    }

    /// Whether no variable and no delimiter strictly between these two delimiters can hold the byte.
    fn is_absent_between(&self, first: usize, second: usize, byte: u8) -> bool {
        let in_variables = self.variables[first..second]
            .iter()
            .any(|variable| variable.content.can_hold(byte, self.escape));
        let in_delimiters = self.delimiters[first + 1..second]
            .iter()
            .any(|delimiter| delimiter.can_hold(byte, 0..delimiter.len));
        !in_variables && !in_delimiters
    }
}

impl Delimiter {
    /// Whether one of these bytes of it can be `byte`.
    fn can_hold(&self, byte: u8, span: std::ops::Range<usize>) -> bool {
        let mut start = 0;
        self.parts.iter().any(|part| {
            let begin = start;
            start += part.len();
            match part {
                Part::Literal(text) => (begin..)
                    .zip(text)
                    .any(|(offset, other)| *other == byte && span.contains(&offset)),
                Part::Time(_) => begin < span.end && start > span.start && TimeVariable::can_hold(byte),
            }
        })
    }

    /// Whether the delimiter can stand at this byte of the line. Times are not looked at.
    pub(crate) fn matches(&self, line: &[u8], at: usize) -> bool {
        let Some(text) = line.get(at..).and_then(|rest| rest.get(..self.len)) else {
            return false;
        };
        let mut start = 0;
        self.parts.iter().all(|part| {
            let begin = start;
            start += part.len();
            match part {
                Part::Literal(literal) => text[begin..start] == **literal,
                Part::Time(_) => true,
            }
        })
    }
}
