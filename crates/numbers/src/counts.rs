//! The counts of one minute or hour of a series, and their form in a row. Pure.
//!
//! The form: a number whose bits say which counts are not zero, these counts, then each named counter's number and count. All
//! are variable-length numbers (LEB128). A count that a later version adds gets the next bit.

use std::collections::BTreeMap;

use logferry_fields::Level;

use crate::histogram::{self, CLASSES};

/// The number of a named counter in `index.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterId(pub(crate) u64);

/// What is counted of a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountedLine {
    /// Its bytes, with its newline.
    pub bytes: u64,
    /// Its HTTP status, 100 to 599.
    pub status: Option<u16>,
    /// Its level.
    pub level: Option<Level>,
    /// Whether it is of its log's format.
    pub is_parsed: bool,
    /// How long the request took, in microseconds.
    pub request_micros: Option<u64>,
}

const LINES: usize = 0;
const BYTES: usize = 1;
const UNPARSED: usize = 2;
const REQUESTS_TIMED: usize = 3;
const REQUEST_MICROS: usize = 4;
/// Lines and bytes of `1xx` to `5xx`.
const STATUS: usize = 5;
/// Lines and bytes of debug to error.
const LEVEL: usize = STATUS + 10;
const REQUEST_TIMES: usize = LEVEL + 8;
const LEN: usize = REQUEST_TIMES + CLASSES;

/// Counts of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    values: [u64; LEN],
    named: BTreeMap<CounterId, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            values: [0; LEN],
            named: BTreeMap::new(),
        }
    }
}

impl Counts {
    /// Counts a line.
    pub fn count(&mut self, line: &CountedLine) {
        self.add(LINES, 1);
        self.add(BYTES, line.bytes);
        self.add(UNPARSED, u64::from(!line.is_parsed));
        if let Some(class) = line.status.and_then(|status| (status / 100).checked_sub(1)) {
            self.add_pair(STATUS, usize::from(class.min(4)), line.bytes);
        }
        if let Some(level) = line.level {
            self.add_pair(LEVEL, level_number(level), line.bytes);
        }
        if let Some(micros) = line.request_micros {
            self.add(REQUESTS_TIMED, 1);
            self.add(REQUEST_MICROS, micros);
            self.add(REQUEST_TIMES + histogram::class_of(micros), 1);
        }
    }

    /// Counts a line that a named counter wants.
    pub fn count_named(&mut self, counter: CounterId) {
        *self.named.entry(counter).or_default() += 1;
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        for (value, more) in self.values.iter_mut().zip(&other.values) {
            *value = value.saturating_add(*more);
        }
        for (counter, more) in &other.named {
            let count = self.named.entry(*counter).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// Lines.
    pub fn lines(&self) -> u64 {
        self.value(LINES)
    }

    /// Bytes, newlines included.
    pub fn bytes(&self) -> u64 {
        self.value(BYTES)
    }

    /// Lines that are not of their log's format.
    pub fn unparsed(&self) -> u64 {
        self.value(UNPARSED)
    }

    /// Lines and bytes of the statuses `1xx` to `5xx`.
    pub fn statuses(&self) -> [(u64, u64); 5] {
        self.pairs(STATUS)
    }

    /// Lines and bytes of each level, in the order of [`Level::ALL`].
    pub fn levels(&self) -> [(u64, u64); 4] {
        self.pairs(LEVEL)
    }

    /// Lines that say how long the request took, and the sum of these times in microseconds.
    pub fn request_times(&self) -> (u64, u64) {
        (self.value(REQUESTS_TIMED), self.value(REQUEST_MICROS))
    }

    /// The time in microseconds that so large a share of the requests did not exceed, rounded up to one of
    /// [`crate::REQUEST_TIME_BOUNDS`]; `None` if it is above all, or no line has a time.
    pub fn request_quantile(&self, share: f64) -> Option<u64> {
        histogram::quantile(self.values.get(REQUEST_TIMES..)?, share)
    }

    /// The count of a named counter.
    pub fn named(&self, counter: CounterId) -> u64 {
        self.named.get(&counter).copied().unwrap_or(0)
    }

    /// Counts of which only lines and bytes are known.
    pub(crate) fn of_lines((lines, bytes): (u64, u64)) -> Self {
        let mut counts = Self::default();
        counts.add(LINES, lines);
        counts.add(BYTES, bytes);
        counts
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let present = self.values.iter().enumerate().filter(|(_, value)| **value > 0);
        let mask = present.clone().fold(0, |mask, (bit, _)| mask | 1_u64 << bit);
        let mut bytes = Vec::with_capacity(64);
        push(&mut bytes, mask);
        present.for_each(|(_, value)| push(&mut bytes, *value));
        for (counter, count) in &self.named {
            push(&mut bytes, counter.0);
            push(&mut bytes, *count);
        }
        bytes
    }

    /// `None`: the bytes are not such counts.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut counts = Self::default();
        let mask = take(&mut bytes)?;
        for bit in (0..64).filter(|bit| mask & (1 << bit) != 0) {
            let value = take(&mut bytes)?;
            // A later version may have more.
            if let Some(place) = counts.values.get_mut(bit) {
                *place = value;
            }
        }
        while !bytes.is_empty() {
            counts
                .named
                .insert(CounterId(take(&mut bytes)?), take(&mut bytes)?);
        }
        Some(counts)
    }

    fn value(&self, at: usize) -> u64 {
        self.values.get(at).copied().unwrap_or(0)
    }

    fn add(&mut self, at: usize, more: u64) {
        if let Some(value) = self.values.get_mut(at) {
            *value = value.saturating_add(more);
        }
    }

    fn add_pair(&mut self, from: usize, number: usize, bytes: u64) {
        self.add(from + 2 * number, 1);
        self.add(from + 2 * number + 1, bytes);
    }

    fn pairs<const N: usize>(&self, from: usize) -> [(u64, u64); N] {
        std::array::from_fn(|number| (self.value(from + 2 * number), self.value(from + 2 * number + 1)))
    }
}

fn level_number(level: Level) -> usize {
    match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    }
}

fn push(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_read_back_from_their_row(
            values: [u64; LEN],
            named in proptest::collection::btree_map(0_u64..300, any::<u64>(), 0..5),
            sparse: u64,
        ) {
            let mut counts = Counts { values, named: named.into_iter().map(|(id, n)| (CounterId(id), n)).collect() };
            for (bit, value) in counts.values.iter_mut().enumerate() {
                *value *= sparse >> bit & 1;
            }
            prop_assert_eq!(Counts::decode(&counts.encode()), Some(counts));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = Counts::decode(&bytes);
        }
    }
}
