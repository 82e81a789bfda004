//! The frame that is being filled. Pure.

use crate::filter::WordFilter;
use crate::frame::{FrameMeta, NewLine};
use crate::words::{each_word, property_hash};

/// A frame with so many bytes of lines is full. The ratio hardly grows with larger ones, the time for one hit does.
const FRAME_BYTES: usize = 1 << 20;

/// A frame with so many lines is full: it bounds the memory of a reader.
const FRAME_LINES: usize = 1 << 16;

/// The names of properties that are in a filter beside the words.
pub(crate) mod property {
    pub(crate) const SOURCE: &str = "\x01source=";
    pub(crate) const GROUP: &str = "\x01group=";
    pub(crate) const LOG: &str = "\x01log=";
    pub(crate) const LEVEL: &str = "\x01level=";
    pub(crate) const STATUS: &str = "\x01status=";
    pub(crate) const STATUS_CLASS: &str = "\x01class=";
}

/// The lines that are in no frame of the segment yet.
#[derive(Debug, Default)]
pub(crate) struct PendingFrame {
    pub(crate) text: Vec<u8>,
    pub(crate) meta: FrameMeta,
    pub(crate) filter: WordFilter,
    /// So many lines, and bytes of text, are in the tail file already.
    tail_lines: usize,
    tail_bytes: usize,
}

impl PendingFrame {
    /// Adds a line without newlines.
    pub(crate) fn add(&mut self, line: &NewLine<'_>, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.text.push(b'\n');
        let last_status = self.meta.lines.last().map_or(0, |last| last.status);
        let (origin, level) = self.meta.add(line);
        if let Some(origin) = origin {
            self.filter.add(property_hash(property::SOURCE, &origin.source));
            self.filter.add(property_hash(property::GROUP, &origin.group));
            self.filter.add(property_hash(property::LOG, &origin.log));
        }
        if let Some(level) = level {
            self.filter.add(property_hash(property::LEVEL, level));
        }
        if line.status != last_status && line.status != 0 {
            let class = (line.status / 100).to_string();
            self.filter
                .add(property_hash(property::STATUS, &line.status.to_string()));
            self.filter.add(property_hash(property::STATUS_CLASS, &class));
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

    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= FRAME_BYTES || self.meta.lines.len() >= FRAME_LINES || self.filter.is_full()
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
        (self.tail_lines, self.tail_bytes) = (0, 0);
    }
}
