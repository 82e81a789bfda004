//! The frame that is being filled. Pure.

use std::collections::HashMap;

use logferry_fields::{Format, ValueBorder};

use crate::filter::WordFilter;
use crate::frame::{FrameMeta, NewLine};
use crate::words::{each_word, has_plain_escape, is_of_word, property_hash};

/// A frame with so many lines is full: it bounds the memory of a reader.
const FRAME_LINES: usize = 1 << 16;

/// Formats that are remembered.
const FORMATS_MAX: usize = 4096;

/// The names of properties that are in a filter beside the words.
pub(crate) mod property {
    pub(crate) const SOURCE: &str = "\x01source=";
    pub(crate) const GROUP: &str = "\x01group=";
    pub(crate) const LOG: &str = "\x01log=";
    pub(crate) const LEVEL: &str = "\x01level=";
    pub(crate) const STATUS: &str = "\x01status=";
    pub(crate) const STATUS_CLASS: &str = "\x01class=";
    /// A format of the frame has values that touch words or each other, as in `${request_time}s`; or in a line a plain character
    /// is escaped, so that words touch the escape.
    pub(crate) const JOINED_VALUES: &str = "\x01joined";
}

/// The lines that are in no frame of the segment yet.
#[derive(Debug, Default)]
pub(crate) struct PendingFrame {
    pub(crate) text: Vec<u8>,
    pub(crate) meta: FrameMeta,
    pub(crate) filter: WordFilter,
    /// The statuses of its lines.
    statuses: Vec<u16>,
    /// So many lines, and bytes of text, are in the tail file already.
    tail_lines: usize,
    tail_bytes: usize,
    /// Which formats have joined values, by their texts: one of a frame is mostly that of the frame before.
    joined_values: HashMap<String, bool>,
}

impl PendingFrame {
    /// Adds a line without newlines.
    pub(crate) fn add(&mut self, line: &NewLine<'_>, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.text.push(b'\n');
        let (origin, level) = self.meta.add(line);
        if let Some(origin) = origin {
            self.filter.add(property_hash(property::SOURCE, &origin.source));
            self.filter.add(property_hash(property::GROUP, &origin.group));
            self.filter.add(property_hash(property::LOG, &origin.log));
            if joins_values(&mut self.joined_values, &origin.format) {
                self.filter.add(property_hash(property::JOINED_VALUES, ""));
            }
        }
        if let Some(level) = level {
            self.filter.add(property_hash(property::LEVEL, level));
        }
        if line.status != 0 && !self.statuses.contains(&line.status) {
            self.statuses.push(line.status);
            let class = (line.status / 100).to_string();
            self.filter
                .add(property_hash(property::STATUS, &line.status.to_string()));
            self.filter.add(property_hash(property::STATUS_CLASS, &class));
        }
        if has_plain_escape(bytes) {
            self.filter.add(property_hash(property::JOINED_VALUES, ""));
        }
        each_word(bytes, |_, hash| self.filter.add(hash));
    }

    /// Adds the lines of a frame.
    pub(crate) fn add_all(&mut self, text: &[u8], meta: &FrameMeta) {
        for (number, bytes) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if let Some(line) = meta.line(number) {
                self.add(&line, bytes.strip_suffix(b"\n").unwrap_or(bytes));
            }
        }
    }

    /// Whether a frame is to be made of it: with so many bytes of lines, many lines, or many words.
    pub(crate) fn is_full(&self, frame_bytes: usize) -> bool {
        self.text.len() >= frame_bytes || self.meta.lines.len() >= FRAME_LINES || self.filter.is_full()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.meta.lines.is_empty()
    }

    /// The lines that are not in the tail file yet, with what is known about them; `None` if all are. From here on they count
    /// as being in it.
    pub(crate) fn take_for_tail(&mut self) -> Option<(&[u8], FrameMeta)> {
        let (first, start) = (self.tail_lines, self.tail_bytes);
        if first == self.meta.lines.len() {
            return None;
        }
        self.all_in_tail();
        let mut meta = FrameMeta::default();
        for line in (first..self.meta.lines.len()).filter_map(|number| self.meta.line(number)) {
            meta.add(&line);
        }
        Some((self.text.get(start..).unwrap_or_default(), meta))
    }

    /// All lines are in the tail file.
    pub(crate) fn all_in_tail(&mut self) {
        (self.tail_lines, self.tail_bytes) = (self.meta.lines.len(), self.text.len());
    }

    /// Removes all lines.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.meta = FrameMeta::default();
        self.filter.clear();
        self.statuses.clear();
        (self.tail_lines, self.tail_bytes) = (0, 0);
    }
}

/// The same, remembered.
fn joins_values(known: &mut HashMap<String, bool>, format: &str) -> bool {
    if let Some(joins) = known.get(format) {
        return *joins;
    }
    if known.len() >= FORMATS_MAX {
        known.clear();
    }
    let joins = has_joined_values(format);
    known.insert(format.to_owned(), joins);
    joins
}

/// Whether a value of this `log_format` may be a part of a word of the line only.
fn has_joined_values(format: &str) -> bool {
    let Ok(format) = Format::parse(format) else {
        return false;
    };
    let touches = |border: &ValueBorder| match border {
        ValueBorder::Value => true,
        ValueBorder::Character(character) => is_of_word(*character),
    };
    format.value_borders().iter().any(touches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_whose_values_touch_words_is_known() {
        for (format, is_joined) in [
            ("combined", false),
            (
                "$remote_addr - [$time_local] \"$request\" rt=$request_time",
                false,
            ),
            ("${request_time} ms", false),
            ("${request_time}ms", true),
            ("rt$request_time", true),
            ("$host$uri", true),
            ("'$host rt=${request_time}'\n's up=$uri'", true),
            ("'$host rt=${request_time}'\n' s up=$uri'", false),
            ("'$host rt'\n'$request_time'", true),
        ] {
            assert_eq!(has_joined_values(format), is_joined, "{format}");
        }
    }
}
