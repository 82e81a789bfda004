//! Lines that are looked at when they come, before they are in the store. Pure.

use logferry_fields::{Format, Level, LineReader};
use memchr::memchr_iter;

use super::hit::Hit;
use super::line_tests::{FoundLine, LineContext, LineTests, fields_of};
use crate::frame::OriginRecord;
use crate::query::Query;
use crate::record::LineOrigin;

/// What a line says about itself.
#[derive(Debug, Clone, Copy)]
struct LineNote {
    /// Its first byte in the block, and the one behind its last.
    start: usize,
    end: usize,
    time_ms: i64,
    level: Option<Level>,
    status: Option<u16>,
}

/// Lines of one batch, read once and tested by many queries.
#[derive(Debug)]
pub struct ReadLines {
    origin: OriginRecord,
    /// Its first byte in the batch.
    offset: u64,
    text: Vec<u8>,
    format: Format,
    notes: Vec<LineNote>,
}

impl ReadLines {
    /// Reads lines that stand at `offset` of their batch and arrived at `now_ms`, in milliseconds since 1970.
    pub fn read(origin: LineOrigin<'_>, offset: u64, text: &[u8], format: &Format, now_ms: i64) -> Self {
        let mut notes = Vec::new();
        let mut reader = LineReader::new(format, now_ms / 1000);
        let (mut start, mut time_ms) = (0, now_ms);
        let ends = memchr_iter(b'\n', text).chain((text.last() != Some(&b'\n')).then_some(text.len()));
        for end in ends.filter(|_| !text.is_empty()) {
            let facts = reader.read(text.get(start..end).unwrap_or_default());
            // A line without a time has that of the line before it.
            time_ms = facts.time.map_or(time_ms, |time| time.unix.saturating_mul(1000));
            notes.push(LineNote {
                start,
                end,
                time_ms,
                level: facts.level,
                status: facts.status,
            });
            start = end + 1;
        }
        Self {
            origin: OriginRecord {
                source: origin.source.to_string(),
                group: origin.group.to_string(),
                log: origin.log.map(ToString::to_string).unwrap_or_default(),
                batch: origin.batch.to_owned(),
                format: origin.format.to_owned(),
            },
            offset,
            text: text.to_vec(),
            format: format.clone(),
            notes,
        }
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether it has no line.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.notes.len() * size_of::<LineNote>()
    }

    /// The lines that fulfil a query, by their numbers in the block, in order.
    pub fn matching(&self, query: &Query) -> Vec<usize> {
        if query.is_for_everything() {
            return (0..self.len()).collect();
        }
        let tests = LineTests::new(query);
        let mut reader = LineReader::new(&self.format, 0);
        let fulfils = |found: &FoundLine| {
            let note = self.notes.get(found.number);
            note.is_some_and(|note| {
                let context = LineContext {
                    origin: &self.origin,
                    offset: self.offset_of(note),
                    time_ms: note.time_ms,
                    level: note.level.map(Level::as_str),
                    status: note.status.unwrap_or(0),
                };
                let line = self.text.get(found.range.clone()).unwrap_or_default();
                tests.fulfils(line, &context, &mut reader)
            })
        };
        let found = tests.find(&self.text).into_iter().filter(fulfils);
        found.map(|found| found.number).collect()
    }

    /// A line with its fields.
    pub fn hit(&self, number: usize) -> Option<Hit> {
        self.hit_up_to(number, usize::MAX).map(|(hit, _)| hit)
    }

    /// A line with its fields; of one that is longer than so many bytes only these, without fields, and true.
    pub fn hit_up_to(&self, number: usize, bytes: usize) -> Option<(Hit, bool)> {
        let note = self.notes.get(number)?;
        let line = self.text.get(note.start..note.end)?;
        let is_cut = line.len() > bytes;
        let fields = if is_cut {
            Vec::new()
        } else {
            fields_of(line, &mut LineReader::new(&self.format, note.time_ms / 1000))
        };
        let hit = Hit {
            time_ms: note.time_ms,
            source: self.origin.source.clone(),
            group: self.origin.group.clone(),
            log: self.origin.log.clone(),
            batch: self.origin.batch.clone(),
            offset: self.offset_of(note),
            level: note.level.map(|level| level.as_str().to_owned()),
            status: note.status,
            line: line.get(..bytes).unwrap_or(line).to_vec(),
            fields,
        };
        Some((hit, is_cut))
    }

    fn offset_of(&self, note: &LineNote) -> u64 {
        self.offset + u64::try_from(note.start).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"192.0.2.1 - - [21/Nov/2026:08:20:03 +0000] \"GET /a HTTP/1.1\" 200 5\n\
        192.0.2.1 - - [21/Nov/2026:08:20:04 +0000] \"POST /b HTTP/1.1\" 503 5\nno time here\n";

    fn block(text: &[u8]) -> ReadLines {
        let (source, group, log) = (
            "198.51.100.1".parse().unwrap(),
            "web-1".parse().unwrap(),
            "access".parse().unwrap(),
        );
        let origin = LineOrigin {
            source: &source,
            group: &group,
            log: Some(&log),
            batch: "a_08_00-19",
            format: "",
        };
        ReadLines::read(origin, 100, text, &Format::default(), 0)
    }

    #[test]
    fn lines_are_tested_as_a_search_tests_them() {
        let block = block(TEXT);
        for (query, numbers) in [
            ("", vec![0, 1, 2]),
            ("status:5xx", vec![1]),
            ("post", vec![1]),
            ("-post", vec![0, 2]),
            ("source:198.51.100.* level:info", vec![0]),
            ("log:error", vec![]),
            ("path:/a", vec![0]),
            ("time", vec![2]),
        ] {
            assert_eq!(block.matching(&Query::parse(query).unwrap()), numbers, "{query}");
        }
        let hit = block.hit(2).unwrap();
        assert_eq!(hit.line, b"no time here");
        assert_eq!(
            hit.time_ms,
            block.hit(1).unwrap().time_ms,
            "that of the line before it"
        );
        assert_eq!(
            hit.id(),
            format!("a_08_00-19@{}", 100 + TEXT.len() - "no time here\n".len())
        );
        assert_eq!(block.hit(3), None);
    }

    #[test]
    fn last_line_without_a_newline_is_a_line() {
        assert_eq!(block(b"a\nb").len(), 2);
        assert_eq!(block(b"a\n").len(), 1);
        assert_eq!(block(b"\n").len(), 1);
        assert!(block(b"").is_empty());
    }
}
