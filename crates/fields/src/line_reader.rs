//! Reads many lines of one log: the time, the fields, and what they say.

use std::borrow::Cow;

use logferry_time_windows::TimestampFormat;

use crate::facts::LineFacts;
use crate::field::{FieldName, LineField};
use crate::format::{Format, LineClock, SYSLOG_MESSAGE};
use crate::level::Level;
use crate::text::without_line_end;

/// Reads lines, one after the other. Its memory is used again for each.
#[derive(Debug)]
pub struct LineReader<'f> {
    format: &'f Format,
    clock: LineClock<'f>,
    fields: Vec<LineField<'f>>,
}

impl<'f> LineReader<'f> {
    /// A reader of lines in `format` that arrived at about `arrival`, in seconds since 1970.
    pub fn new(format: &'f Format, arrival: i64) -> Self {
        Self {
            format,
            clock: LineClock::new(format, TimestampFormat::Auto, arrival),
            fields: Vec::new(),
        }
    }

    /// The facts of a line. Its fields are then those of [`Self::fields`].
    pub fn read<'l>(&mut self, line: &'l [u8]) -> LineFacts<'l> {
        let line = without_line_end(line);
        self.format.read(line, &mut self.fields);
        let mut facts = LineFacts {
            time: self.clock.read(line),
            is_parsed: self.format.has_no_fields() || !self.fields.is_empty(),
            ..LineFacts::default()
        };
        // What was only found to look like syslog may have the level where syslog has the host: all words of the line count.
        let may_be_text = self.format.is_found_by_line() && self.has_message();
        if self.format.is_of_words() || !facts.is_parsed || may_be_text {
            let message = self.fields.last().filter(|_| !may_be_text);
            let text = message.and_then(|last| line.get(last.value.clone()));
            let in_text = || Level::in_text(text.unwrap_or(line)).map(|(level, _)| level);
            facts.level = Level::of_priority(line).or_else(in_text);
        } else {
            facts.take(line, &self.fields, self.format);
        }
        facts
    }

    /// Whether the last line was read as syslog.
    fn has_message(&self) -> bool {
        let last = self.fields.last();
        last.is_some_and(|last| last.name == FieldName::Known(SYSLOG_MESSAGE))
    }

    /// The fields of the line that was read last.
    pub fn fields(&self) -> &[LineField<'f>] {
        &self.fields
    }

    /// Names and values of the last line's fields, without escapes. If a name is there several times, its first value counts.
    pub fn values<'l>(&'l self, line: &'l [u8]) -> impl Iterator<Item = (Cow<'l, [u8]>, Cow<'l, [u8]>)> {
        let fields = self.fields.iter();
        fields.filter_map(move |field| Some((self.format.name(line, field), self.format.value(line, field)?)))
    }

    /// The value of the last line's field of this name, both without escapes.
    pub fn field<'l>(&self, line: &'l [u8], name: &[u8]) -> Option<Cow<'l, [u8]>> {
        // A name as it is escaped in the line counts, too: some were copied from there.
        let is_named = |field: &&LineField<'_>| {
            let raw = field.name(line);
            raw == name || (raw.contains(&b'\\') && *self.format.name(line, field) == *name)
        };
        let field = self.fields.iter().find(is_named)?;
        self.format.value(line, field)
    }
}
