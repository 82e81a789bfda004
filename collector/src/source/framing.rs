//! Where a record ends in the bytes of a connection: at a newline, or after a stated number of bytes (RFC 6587).
//!
//! Pure: bytes in, records out.
//!
//! Invariants:
//! - How the bytes are divided into reads changes nothing.
//! - At most `record_max` bytes of a record are kept, plus one; the others are counted, never stored.
//! - A record that is not longer than `record_max` comes byte for byte.

use std::mem;

/// How the records of a connection are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each record ends at a newline; a carriage return before it is not part of the record.
    Newline,
    /// Syslog over TCP: `LENGTH SP <…` is a counted record (RFC 6587, section 3.4.1), anything else ends at a newline
    /// (section 3.4.2). Each record is looked at by itself: clients are known to change the method on one connection.
    Syslog,
}

/// A record as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    /// Never empty.
    pub(crate) bytes: &'a [u8],
    /// How many bytes of the record are missing: it was over the limit, or its client did not send them all.
    pub(crate) lost: u64,
}

/// Divides the bytes of one connection into records.
#[derive(Debug)]
pub(crate) struct Framer {
    framing: Framing,
    record_max: usize,
    state: FramingState,
    /// The beginning of the record that has not ended yet.
    begun: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramingState {
    /// Between two records. `begun` has what may be the length of a counted one.
    Start,
    /// In a record that ends at a newline, after `len` bytes of which the last may be a carriage return.
    Line { len: u64, ends_in_cr: bool },
    /// In a counted record of `len` bytes, of which `left` have not come.
    Counted { len: u64, left: u64 },
}

/// What the beginning of a record says about its end.
enum FramingMethod {
    Undecided,
    Line,
    Counted { len: u64 },
}

/// Digits of the largest length that counts as one: 999,999,999.
const LENGTH_DIGITS: usize = 9;

impl Framer {
    /// For a new connection. `record_max`: the largest record in bytes, at least 4.
    pub(crate) fn new(framing: Framing, record_max: usize) -> Self {
        Self {
            framing,
            record_max: record_max.max(4),
            state: FramingState::Start,
            begun: Vec::new(),
        }
    }

    /// Takes what was read, and gives each record that ends in it to `each`. Empty records are left out.
    pub(crate) fn push(&mut self, mut input: &[u8], mut each: impl FnMut(RawRecord<'_>)) {
        while let [first, after @ ..] = input {
            input = match self.state {
                FramingState::Start => match self.begin(*first) {
                    // The byte is part of a line: read on with it.
                    Some(FramingMethod::Line) => input,
                    _ => after,
                },
                FramingState::Line { len, ends_in_cr } => self.line(input, len, ends_in_cr, &mut each),
                FramingState::Counted { len, left } => self.counted(input, len, left, &mut each),
            };
        }
    }

    /// The connection has ended: what had begun is a record, too. A line is whole without its newline; a counted record
    /// is not whole.
    pub(crate) fn finish(mut self, mut each: impl FnMut(RawRecord<'_>)) {
        match self.state {
            FramingState::Start => {
                let len = self.begun.len() as u64;
                self.end_line(len, false, &mut each);
            }
            FramingState::Line { len, ends_in_cr } => self.end_line(len, ends_in_cr, &mut each),
            FramingState::Counted { len, .. } => self.end(len, &mut each),
        }
    }

    /// Whether a record has begun that has not ended.
    pub(crate) fn is_inside(&self) -> bool {
        self.state != FramingState::Start || !self.begun.is_empty()
    }

    /// At the beginning of a record. `None`: not decided yet, and the byte is taken.
    fn begin(&mut self, byte: u8) -> Option<FramingMethod> {
        let line = FramingState::Line {
            len: self.begun.len() as u64,
            ends_in_cr: false,
        };
        if self.framing == Framing::Newline {
            self.state = line;
            return Some(FramingMethod::Line);
        }
        match method(&self.begun, byte) {
            FramingMethod::Undecided => {
                self.begun.push(byte);
                None
            }
            FramingMethod::Line => {
                self.state = line;
                Some(FramingMethod::Line)
            }
            FramingMethod::Counted { len } => {
                // The byte is the `<` that the record begins with.
                self.begun.clear();
                self.begun.push(byte);
                self.state = FramingState::Counted { len, left: len - 1 };
                None
            }
        }
    }

    /// Returns what follows the line.
    fn line<'a>(
        &mut self,
        input: &'a [u8],
        len: u64,
        ends_in_cr: bool,
        each: &mut impl FnMut(RawRecord<'_>),
    ) -> &'a [u8] {
        let newline = memchr::memchr(b'\n', input);
        let (piece, rest) = match newline {
            Some(at) => (&input[..at], &input[at + 1..]),
            None => (input, &[][..]),
        };
        let ends_in_cr = piece.last().map_or(ends_in_cr, |last| *last == b'\r');
        self.keep(piece);
        let len = len + piece.len() as u64;
        if newline.is_some() {
            self.end_line(len, ends_in_cr, each);
        } else {
            self.state = FramingState::Line { len, ends_in_cr };
        }
        rest
    }

    /// Returns what follows the record.
    fn counted<'a>(
        &mut self,
        input: &'a [u8],
        len: u64,
        left: u64,
        each: &mut impl FnMut(RawRecord<'_>),
    ) -> &'a [u8] {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let (piece, rest) = input.split_at(taken);
        self.keep(piece);
        let left = left - taken as u64;
        self.state = FramingState::Counted { len, left };
        if left == 0 {
            self.end(len, each);
        }
        rest
    }

    /// One byte more than the limit is kept: it may be the carriage return.
    fn keep(&mut self, piece: &[u8]) {
        let room = (self.record_max + 1).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&piece[..room.min(piece.len())]);
    }

    fn end_line(&mut self, len: u64, ends_in_cr: bool, each: &mut impl FnMut(RawRecord<'_>)) {
        if ends_in_cr && self.begun.len() as u64 == len {
            self.begun.pop();
        }
        self.end(len - u64::from(ends_in_cr), each);
    }

    /// Gives a record of `len` bytes, of which `begun` has the first.
    fn end(&mut self, len: u64, each: &mut impl FnMut(RawRecord<'_>)) {
        self.state = FramingState::Start;
        let mut record = mem::take(&mut self.begun);
        record.truncate(self.record_max);
        if (record.len() as u64) < len {
            record.truncate(whole_characters(&record));
        }
        let lost = len - record.len() as u64;
        if !record.is_empty() {
            each(RawRecord { bytes: &record, lost });
        }
        // The next record goes into the same memory, unless this one was unusually long.
        if record.capacity() <= KEPT_CAPACITY {
            record.clear();
            self.begun = record;
        }
    }
}

/// An idle connection keeps no more memory than this, in bytes.
const KEPT_CAPACITY: usize = 4 << 10;

fn method(begun: &[u8], byte: u8) -> FramingMethod {
    match (begun, byte) {
        ([.., b'0'..=b'9'], b'0'..=b'9') if begun.len() < LENGTH_DIGITS => FramingMethod::Undecided,
        ([], b'1'..=b'9') | ([.., b'0'..=b'9'], b' ') => FramingMethod::Undecided,
        ([digits @ .., b' '], b'<') => {
            let add = |len, digit: &u8| len * 10 + u64::from(digit.saturating_sub(b'0'));
            let len = digits.iter().fold(0, add);
            FramingMethod::Counted { len }
        }
        _ => FramingMethod::Line,
    }
}

/// The length without a last character of UTF-8 that is cut through. Bytes that are no UTF-8 stay.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let Some(start) = bytes[tail..]
        .iter()
        .rposition(|byte| *byte >= 0xc0)
        .map(|at| tail + at)
    else {
        return bytes.len();
    };
    let needed = match bytes[start] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let has_only_continuations = bytes[start + 1..].iter().all(|byte| (0x80..0xc0).contains(byte));
    if has_only_continuations && bytes.len() - start < needed {
        start
    } else {
        bytes.len()
    }
}

#[cfg(test)]
mod tests;
