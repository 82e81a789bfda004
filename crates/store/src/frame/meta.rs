//! What is known about the lines of a frame. Pure.

use super::bytes::{ByteReader, put_signed, put_text, put_varint};
use crate::record::LineRecord;

/// Where lines of a frame come from: a `LineOrigin` as it was read from disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OriginRecord {
    pub(crate) source: String,
    pub(crate) group: String,
    pub(crate) log: String,
    pub(crate) batch: String,
    pub(crate) format: String,
}

/// A line to be added to a frame, without its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewLine<'a> {
    /// As in [`OriginRecord`].
    origin: [&'a str; 5],
    /// Its first byte in its batch.
    pub(crate) offset: u64,
    time_ms: i64,
    level: Option<&'a str>,
    pub(crate) status: u16,
}

impl<'a> NewLine<'a> {
    pub(crate) fn of_record(record: &LineRecord<'a>) -> Self {
        let origin = &record.origin;
        let log = origin.log.map_or("", |log| log.as_str());
        Self {
            origin: [
                origin.source.as_str(),
                origin.group.as_str(),
                log,
                origin.batch,
                origin.format,
            ],
            offset: record.offset,
            time_ms: record.time_ms,
            level: record.level,
            status: record.status.unwrap_or(0),
        }
    }
}

/// What is known about one line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LineMeta {
    /// Its origin's number in the frame.
    pub(crate) origin: usize,
    /// Its first byte in its batch.
    pub(crate) offset: u64,
    pub(crate) time_ms: i64,
    /// Its level's number in the frame, from 1; 0: none.
    pub(crate) level: usize,
    /// Its HTTP status; 0: none.
    pub(crate) status: u16,
}

/// What is known about the lines of a frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FrameMeta {
    pub(crate) origins: Vec<OriginRecord>,
    pub(crate) levels: Vec<String>,
    pub(crate) lines: Vec<LineMeta>,
}

/// Where a frame is in its file, and what it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FrameEntry {
    /// Its first byte.
    pub(crate) offset: u64,
    /// Bytes of the skippable frame in front.
    pub(crate) header_len: u32,
    /// Bytes of the frame with the lines.
    pub(crate) text_len: u32,
    /// Bytes of the lines.
    pub(crate) raw_len: u32,
    /// Their number.
    pub(crate) lines: u32,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

impl FrameEntry {
    /// The first byte behind it.
    pub(crate) fn end(&self) -> u64 {
        self.offset
            .saturating_add(u64::from(self.header_len))
            .saturating_add(u64::from(self.text_len))
    }
}

impl OriginRecord {
    fn new(texts: [&str; 5]) -> Self {
        let [source, group, log, batch, format] = texts.map(str::to_owned);
        Self {
            source,
            group,
            log,
            batch,
            format,
        }
    }

    fn texts(&self) -> [&str; 5] {
        [&self.source, &self.group, &self.log, &self.batch, &self.format]
    }
}

impl FrameMeta {
    /// Adds a line. Returns its origin and its level, if they are new in the frame.
    pub(crate) fn add(&mut self, line: &NewLine<'_>) -> (Option<&OriginRecord>, Option<&str>) {
        // The origin of the line before is the most probable one.
        let last = self.lines.last().map(|last| last.origin);
        let is_known = |known: &OriginRecord| known.texts() == line.origin;
        let known = last.filter(|last| self.origins.get(*last).is_some_and(is_known));
        let known = known.or_else(|| self.origins.iter().position(is_known));
        let origin = known.unwrap_or(self.origins.len());
        if known.is_none() {
            self.origins.push(OriginRecord::new(line.origin));
        }
        let known_level = |level: &str| self.levels.iter().position(|known| known == level);
        let level = line
            .level
            .map_or(0, |level| known_level(level).unwrap_or(self.levels.len()) + 1);
        let new_level = line.level.filter(|_| level > self.levels.len());
        self.levels.extend(new_level.map(str::to_owned));
        self.lines.push(LineMeta {
            origin,
            offset: line.offset,
            time_ms: line.time_ms,
            level,
            status: line.status,
        });
        let new_origin = self.origins.last().filter(|_| known.is_none());
        let new_level = self.levels.last().filter(|_| new_level.is_some());
        (new_origin, new_level.map(String::as_str))
    }

    /// A line as it was added; `None` if there are not so many.
    pub(crate) fn line(&self, number: usize) -> Option<NewLine<'_>> {
        let line = self.lines.get(number)?;
        Some(NewLine {
            origin: self.origins.get(line.origin)?.texts(),
            offset: line.offset,
            time_ms: line.time_ms,
            level: self.level(line),
            status: line.status,
        })
    }

    /// The level of a line.
    pub(crate) fn level(&self, line: &LineMeta) -> Option<&str> {
        self.levels.get(line.level.checked_sub(1)?).map(String::as_str)
    }

    /// The times of the oldest line and of the newest.
    pub(crate) fn times(&self) -> (i64, i64) {
        let times = || self.lines.iter().map(|line| line.time_ms);
        (times().min().unwrap_or(0), times().max().unwrap_or(0))
    }

    /// As bytes, a column after the other. `line_len`: the length of a line, by its number.
    pub(crate) fn to_bytes(&self, line_len: impl Fn(usize) -> u64) -> Vec<u8> {
        let count = |len: usize| u64::try_from(len).unwrap_or(0);
        let mut bytes = Vec::with_capacity(self.lines.len() * 4 + 256);
        put_varint(&mut bytes, count(self.origins.len()));
        for origin in &self.origins {
            for text in origin.texts() {
                put_text(&mut bytes, text);
            }
        }
        put_varint(&mut bytes, count(self.levels.len()));
        self.levels.iter().for_each(|level| put_text(&mut bytes, level));
        put_varint(&mut bytes, count(self.lines.len()));
        for line in &self.lines {
            put_varint(&mut bytes, count(line.origin));
        }
        // Mostly the line follows the last one of its batch.
        let mut expected = vec![0_u64; self.origins.len()];
        for (number, line) in self.lines.iter().enumerate() {
            if let Some(expected) = expected.get_mut(line.origin) {
                put_signed(&mut bytes, line.offset.wrapping_sub(*expected).cast_signed());
                *expected = line.offset.wrapping_add(line_len(number)).wrapping_add(1);
            }
        }
        let mut last = 0;
        for line in &self.lines {
            put_signed(&mut bytes, line.time_ms.wrapping_sub(last));
            last = line.time_ms;
        }
        for line in &self.lines {
            put_varint(&mut bytes, count(line.level));
        }
        for line in &self.lines {
            put_varint(&mut bytes, u64::from(line.status));
        }
        bytes
    }

    /// From the bytes that [`Self::to_bytes`] made. The lines get their offsets from [`Self::place`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes);
        let mut meta = Self::default();
        for _ in 0..reader.varint()? {
            let mut text = || reader.text();
            let texts = [text()?, text()?, text()?, text()?, text()?];
            meta.origins.push(OriginRecord::new(texts));
        }
        for _ in 0..reader.varint()? {
            meta.levels.push(reader.text()?.to_owned());
        }
        for _ in 0..reader.varint()? {
            let origin = index(&mut reader)?;
            meta.origins.get(origin)?;
            meta.lines.push(LineMeta {
                origin,
                ..LineMeta::default()
            });
        }
        let mut expected = vec![0_u64; meta.origins.len()];
        for line in &mut meta.lines {
            let expected = expected.get_mut(line.origin)?;
            line.offset = expected.wrapping_add(reader.signed()?.cast_unsigned());
            *expected = line.offset.wrapping_add(1);
        }
        let mut last = 0_i64;
        for line in &mut meta.lines {
            last = last.wrapping_add(reader.signed()?);
            line.time_ms = last;
        }
        for line in &mut meta.lines {
            line.level = index(&mut reader)?;
        }
        for line in &mut meta.lines {
            line.status = u16::try_from(reader.varint()?).ok()?;
        }
        Some(meta)
    }

    /// The offsets of the lines, which depend on their lengths, given in their order; `None` if these are not as many.
    pub(crate) fn place(mut self, lens: &[u64]) -> Option<Self> {
        // Bytes of the lines before, of each origin.
        let mut before = vec![0_u64; self.origins.len()];
        for (line, len) in self.lines.iter_mut().zip(lens) {
            let before = before.get_mut(line.origin)?;
            line.offset = line.offset.wrapping_add(*before);
            *before = before.wrapping_add(*len);
        }
        (self.lines.len() == lens.len()).then_some(self)
    }
}

fn index(reader: &mut ByteReader<'_>) -> Option<usize> {
    usize::try_from(reader.varint()?).ok()
}
