//! The store's files as a search reads them: which frames may have a hit, and the lines of a frame.
//!
//! Invariant: a damaged or missing file is named in `damage`, and the search goes on with the others.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek};
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskOperation};
use logferry_text::count_of;

use crate::error::StoreError;
use crate::frame::{FrameDecoder, FrameEntry, FrameMeta};
use crate::position::StorePosition;
use crate::query::{Condition, Query};
use crate::segment::{ClosedSegment, SegmentFile, StoreFolder, WORDS_RECORD, WordsRecord, read_at, walk};
use crate::words::property_hash;
use crate::writer::property;

/// Records of `N.words` that are read at a time.
const RECORDS_READ: usize = 16;

/// What the filter of a frame with a hit has.
#[derive(Debug)]
pub(super) struct FrameWords {
    always: Vec<u64>,
    /// What it has unless it has [`Self::joined`].
    of_fields: Vec<u64>,
    joined: u64,
}

impl FrameWords {
    pub(super) fn of(query: &Query) -> Self {
        let mut always: Vec<u64> = query.positive().flat_map(Condition::hashes).collect();
        always.sort_unstable();
        always.dedup();
        Self {
            always,
            of_fields: query.positive().flat_map(Condition::field_hashes).collect(),
            joined: property_hash(property::JOINED_VALUES, ""),
        }
    }

    /// Whether a frame with this record may have a hit.
    pub(super) fn may_be_in(&self, record: &WordsRecord<'_>) -> bool {
        let has_fields = || record.may_have(&self.of_fields) || record.may_have(&[self.joined]);
        record.may_have(&self.always) && has_fields()
    }
}

/// A segment that a search reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundSegment {
    pub(super) number: u64,
    /// The length of its frames, if it is known without its index.
    frames_len: Option<u64>,
    /// By its index, if it is closed and the index is good.
    closed: Option<ClosedSegment>,
}

impl FoundSegment {
    /// The times of its lines, as far as they are known.
    pub(super) fn times(&self) -> (i64, i64) {
        self.closed
            .map_or((i64::MIN, i64::MAX), |closed| (closed.min_ms, closed.max_ms))
    }
}

/// A frame that was read.
#[derive(Debug)]
pub(super) struct ReadFrame<'f, T> {
    /// What the caller has found in it.
    pub(super) seen: T,
    pub(super) text: &'f [u8],
    pub(super) meta: FrameMeta,
}

/// The files of a store.
#[derive(Debug)]
pub(super) struct FrameFiles<D: Disk> {
    disk: D,
    folder: StoreFolder,
    position: StorePosition,
    decoder: FrameDecoder,
    frame: Vec<u8>,
    /// The file that was read last.
    open: Option<((u64, SegmentFile), D::Reader)>,
    /// The tail, open from the beginning of the search on: its name goes when the indexer begins anew.
    tail: Option<D::Reader>,
    /// What cannot be searched, a sentence each.
    pub(super) damage: BTreeSet<String>,
}

impl<D: Disk> FrameFiles<D> {
    pub(super) fn new(disk: D, folder: StoreFolder, position: StorePosition) -> Result<Self, StoreError> {
        let tail = disk.open_read(&folder.file(position.tail, SegmentFile::Tail))?;
        Ok(Self {
            disk,
            folder,
            position,
            decoder: FrameDecoder::new().map_err(StoreError::Memory)?,
            frame: Vec::new(),
            open: None,
            tail,
            damage: BTreeSet::new(),
        })
    }

    /// All segments.
    pub(super) fn segments(&self) -> Result<Vec<FoundSegment>, StoreError> {
        let live = self.position.segment;
        let names = self.disk.list(self.folder.path())?;
        let numbers = names.iter().filter_map(|name| match SegmentFile::split(name) {
            Some((number, SegmentFile::Frames | SegmentFile::Index)) if number <= live => Some(number),
            _ => None,
        });
        let numbers: BTreeSet<u64> = numbers.collect();
        let segment = |number| {
            let closed = if number < live {
                self.index_of(number)?
            } else {
                None
            };
            let frames_len = (number == live).then_some(self.position.frames_len);
            Ok(FoundSegment {
                number,
                frames_len,
                closed,
            })
        };
        numbers.into_iter().map(segment).collect()
    }

    fn index_of(&self, number: u64) -> Result<Option<ClosedSegment>, StoreError> {
        let path = self.folder.file(number, SegmentFile::Index);
        let Some(mut file) = self.disk.open_read(&path)? else {
            return Ok(None);
        };
        let closed = ClosedSegment::read(&mut file);
        Ok(closed.map_err(|error| DiskError::new(DiskOperation::Read, &path, error))?)
    }

    /// The number of the tail file.
    pub(super) fn tail_number(&self) -> u64 {
        self.position.tail
    }

    /// The entries of the tail's frames that are in no frame of the segment.
    pub(super) fn tail(&mut self) -> Result<Vec<FrameEntry>, StoreError> {
        let StorePosition {
            tail,
            tail_start,
            tail_len,
            ..
        } = self.position;
        if tail_start >= tail_len {
            return Ok(Vec::new());
        }
        let path = self.folder.file(tail, SegmentFile::Tail);
        let Some(reader) = &mut self.tail else {
            self.damage
                .insert(format!("{} is gone: its lines are not found", path.display()));
            return Ok(Vec::new());
        };
        let walked = walk(reader, tail_start, tail_len);
        self.walked(walked, &path, tail_start, tail_len)
    }

    /// The frames of a segment that may have a hit.
    pub(super) fn candidates(
        &mut self,
        segment: &FoundSegment,
        words: &FrameWords,
    ) -> Result<Vec<FrameEntry>, StoreError> {
        if let Some(closed) = segment.closed {
            let path = self.folder.file(segment.number, SegmentFile::Index);
            if let Some(mut file) = self.disk.open_read(&path)? {
                let found = by_index(closed, &mut file, words);
                let found = found.map_err(|error| DiskError::new(DiskOperation::Read, &path, error))?;
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            // Retention removes it first: the lines are searched as long as they are there.
            if self.disk.len(&path)?.is_some() {
                self.damage.insert(format!(
                    "{} is damaged: its segment is searched without it, which takes longer",
                    path.display()
                ));
            }
        }
        let frames = self.folder.file(segment.number, SegmentFile::Frames);
        let len = match (segment.frames_len, segment.closed) {
            (Some(len), _) => len,
            (None, Some(closed)) => closed.frames_len,
            (None, None) => self.disk.len(&frames)?.unwrap_or(0),
        };
        let (mut found, known_end) = self.by_words(segment.number, len, words)?;
        if known_end >= len {
            return Ok(found);
        }
        let Some(mut reader) = self.disk.open_read(&frames)? else {
            self.note_missing(segment.number)?;
            return Ok(found);
        };
        let walked = walk(&mut reader, known_end, len);
        found.extend(self.walked(walked, &frames, known_end, len)?);
        Ok(found)
    }

    /// The frames that may have a hit by `N.words`, and the end of the last one that is in it.
    fn by_words(
        &mut self,
        number: u64,
        frames_len: u64,
        words: &FrameWords,
    ) -> Result<(Vec<FrameEntry>, u64), StoreError> {
        let path = self.folder.file(number, SegmentFile::Words);
        let (mut found, mut end) = (Vec::new(), 0);
        let Some(mut file) = self.disk.open_read(&path)? else {
            return Ok((found, end));
        };
        let read_error = |error| DiskError::new(DiskOperation::Read, &path, error);
        let mut records = Vec::new();
        loop {
            records.clear();
            let wanted = u64::try_from(RECORDS_READ * WORDS_RECORD).unwrap_or(0);
            let mut limited = (&mut file).take(wanted);
            limited.read_to_end(&mut records).map_err(read_error)?;
            for record in records.chunks(WORDS_RECORD) {
                let record = WordsRecord::read(record);
                let Some(record) = record.filter(|it| it.entry.offset == end && it.entry.end() <= frames_len)
                else {
                    return Ok((found, end));
                };
                end = record.entry.end();
                if words.may_be_in(&record) {
                    found.push(record.entry);
                }
            }
            if records.len() < RECORDS_READ * WORDS_RECORD {
                return Ok((found, end));
            }
        }
    }

    /// Notes that the frames of a segment are not there, unless retention has removed it while the search ran: the index goes
    /// first, and one that was being written was closed before.
    fn note_missing(&mut self, number: u64) -> Result<(), StoreError> {
        let index = self.folder.file(number, SegmentFile::Index);
        let has_index = self.disk.len(&index)?.is_some();
        let names = self.disk.list(self.folder.path())?;
        let mut files = names.iter().filter_map(|name| SegmentFile::split(name));
        let has_later = files.any(|(other, kind)| other > number && kind == SegmentFile::Frames);
        if has_index || !has_later {
            let frames = self.folder.file(number, SegmentFile::Frames);
            self.damage
                .insert(format!("{} is gone: its lines are not found", frames.display()));
        }
        Ok(())
    }

    /// The entries of the frames in a part of a file. What is behind a damaged one is lost.
    fn walked(
        &mut self,
        walked: io::Result<Vec<FrameEntry>>,
        path: &Path,
        from: u64,
        until: u64,
    ) -> Result<Vec<FrameEntry>, StoreError> {
        let entries = walked.map_err(|error| DiskError::new(DiskOperation::Read, path, error))?;
        let end = entries.last().map_or(from, FrameEntry::end);
        if end < until {
            self.damage.insert(format!(
                "{} is damaged at byte {end}: the lines behind it are not found",
                path.display()
            ));
        }
        Ok(entries)
    }

    /// The lines of a frame, and what is known about them, once `wanted` has seen the lines and says so. `by_meta`: if it is there, it
    /// first chooses lines by what is known about them; if there are none, the lines are not read. `None`: not wanted, or damaged.
    pub(super) fn read<T>(
        &mut self,
        file: (u64, SegmentFile),
        entry: &FrameEntry,
        by_meta: Option<impl FnOnce(&FrameMeta) -> Vec<usize>>,
        wanted: impl FnOnce(&[u8], Option<&[usize]>) -> Option<T>,
    ) -> Result<Option<ReadFrame<'_, T>>, StoreError> {
        let path = self.folder.file(file.0, file.1);
        let is_tail = file.1 == SegmentFile::Tail;
        if !is_tail && self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = self.disk.open_read(&path)?.map(|reader| (file, reader));
        }
        let opened = match &mut self.open {
            _ if is_tail => self.tail.as_mut(),
            open => open.as_mut().map(|(_, reader)| reader),
        };
        let Some(reader) = opened else {
            if !is_tail {
                self.note_missing(file.0)?;
            }
            return Ok(None);
        };
        let len = usize::try_from(entry.end() - entry.offset).unwrap_or(usize::MAX);
        match read_at(reader, entry.offset, len, &mut self.frame) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(DiskError::new(DiskOperation::Read, &path, error).into());
            }
            _ => {}
        }
        let known = by_meta.map(|choose| (choose, self.decoder.meta_without_offsets(&self.frame, entry)));
        let (chosen, known) = match known {
            Some((choose, Some(meta))) => (Some(choose(&meta)), Some(meta)),
            // Damaged: it is named below.
            Some((_, None)) | None => (None, None),
        };
        if chosen.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let text = self.decoder.text(&self.frame, entry);
        let seen = text.map(|text| wanted(text, chosen.as_deref()));
        let meta = match (&seen, known) {
            (Some(None), _) => return Ok(None),
            (Some(Some(_)), Some(meta)) => self.decoder.placed(meta),
            (Some(Some(_)), None) => self.decoder.meta(&self.frame, entry),
            (None, _) => None,
        };
        let (Some(Some(seen)), Some(meta)) = (seen, meta) else {
            let (path, offset) = (path.display(), entry.offset);
            self.damage.insert(format!(
                "{path} is damaged at byte {offset}: {} {} not found",
                count_of(entry.lines.into(), "line"),
                if entry.lines == 1 { "is" } else { "are" }
            ));
            return Ok(None);
        };
        let text = self.decoder.last_text();
        Ok(Some(ReadFrame { seen, text, meta }))
    }
}

fn by_index(
    closed: ClosedSegment,
    file: &mut (impl Read + Seek),
    words: &FrameWords,
) -> io::Result<Option<Vec<FrameEntry>>> {
    let Some(found) = closed.candidates(file, &words.always)? else {
        return Ok(None);
    };
    if found.is_empty() || words.of_fields.is_empty() {
        return Ok(Some(found));
    }
    let of_fields = closed.candidates(file, &words.of_fields)?;
    let joined = closed.candidates(file, &[words.joined])?;
    let (Some(of_fields), Some(joined)) = (of_fields, joined) else {
        return Ok(None);
    };
    let has_fields = |entry: &FrameEntry| of_fields.contains(entry) || joined.contains(entry);
    Ok(Some(found.into_iter().filter(has_fields).collect()))
}
