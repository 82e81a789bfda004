//! One page of a search.

use std::collections::BTreeMap;

use logferry_durable::Disk;
use logferry_fields::{Format, Level, LineReader};
use logferry_text::error_chain;

use super::frame_files::{FoundSegment, FrameFiles, FrameWords, ReadFrame};
use super::hit::SearchCursor;
use super::hit_collector::HitCollector;
use super::hit_key::PartBound;
use super::line_tests::{FoundLine, LineContext};
use super::parts_read::{PartName, PartRest, PartsRead};
use super::spool_lines::{BatchScan, SpoolBlock, SpoolLines, UnindexedBatch, scan, time_of};
use super::{SearchEnd, SearchObserver, SearchPage, SearchProgress};
use crate::error::StoreError;
use crate::frame::{FrameEntry, FrameMeta, OriginRecord};
use crate::query::Query;
use crate::segment::SegmentFile;

/// Something that may have hits.
#[derive(Debug)]
enum SearchPart<'s> {
    Segment(FoundSegment),
    Frame((u64, SegmentFile), FrameEntry),
    /// Bytes of a batch in the spool, from the first to the one behind the last.
    Piece(&'s UnindexedBatch, u64, u64),
}

/// A page that is being searched.
pub(super) struct PageSearch<'s, D: Disk> {
    files: Option<FrameFiles<D>>,
    spool: Option<&'s SpoolLines<'s, D>>,
    observer: &'s mut dyn SearchObserver,
    words: FrameWords,
    /// What is still to be searched, by its newest line; the number keeps parts of one time apart.
    parts: BTreeMap<(PartBound, usize), SearchPart<'s>>,
    parts_made: usize,
    hits: HitCollector<'s>,
    parts_read: PartsRead,
    formats: BTreeMap<String, Format>,
    progress: SearchProgress,
    /// The oldest time of all parts.
    oldest_ms: Option<i64>,
    damage: Vec<String>,
}

impl<'s, D: Disk> PageSearch<'s, D> {
    pub(super) fn new(
        query: &'s Query,
        page: &'s SearchPage,
        files: Option<FrameFiles<D>>,
        spool: Option<&'s SpoolLines<'s, D>>,
        observer: &'s mut dyn SearchObserver,
    ) -> Result<Self, StoreError> {
        let mut search = Self {
            files,
            spool,
            observer,
            words: FrameWords::of(query),
            parts: BTreeMap::new(),
            parts_made: 0,
            hits: HitCollector::new(query, page),
            parts_read: page
                .after
                .as_ref()
                .map_or_else(PartsRead::default, SearchCursor::parts_read),
            formats: BTreeMap::new(),
            progress: SearchProgress::default(),
            oldest_ms: None,
            damage: Vec::new(),
        };
        if let Some(files) = &mut search.files {
            let (tail, segments) = (files.tail()?, files.segments()?);
            let number = files.tail_number();
            for segment in segments {
                let (min_ms, max_ms) = segment.times();
                search.add(min_ms, PartBound::of_time(max_ms), SearchPart::Segment(segment));
            }
            for entry in tail {
                search.add_frame((number, SegmentFile::Tail), entry);
            }
        }
        for batch in spool.iter().flat_map(|spool| &spool.batches) {
            search.add_pieces(batch);
        }
        Ok(search)
    }

    /// Adds a part with lines from this time up to the bound, if they may be wanted.
    fn add(&mut self, min_ms: i64, bound: PartBound, part: SearchPart<'s>) {
        if min_ms > i64::MIN {
            self.oldest_ms = Some(self.oldest_ms.map_or(min_ms, |oldest| oldest.min(min_ms)));
        }
        let after = self.hits.page.after.as_ref();
        let is_behind = after.is_none_or(|after| min_ms <= after.time_ms());
        if is_behind && self.hits.query.overlaps(min_ms, bound.time_ms) {
            self.parts_made += 1;
            self.parts.insert((bound, self.parts_made), part);
        }
    }

    fn add_frame(&mut self, file: (u64, SegmentFile), entry: FrameEntry) {
        let rest = self.parts_read.get(&PartName::Frame(file, entry.offset));
        if let Some(bound) = bound_of(rest, entry.max_ms) {
            self.add(entry.min_ms, bound, SearchPart::Frame(file, entry));
        }
    }

    /// Adds the lines of a batch that are not in the store.
    fn add_pieces(&mut self, batch: &'s UnindexedBatch) {
        let (min_ms, max_ms) = batch.times();
        let (name, end) = (batch.batch.name(), batch.batch.contents.bytes);
        if !self.hits.query.may_be_in(&name) {
            return;
        }
        let pieces = self.parts_read.pieces(&name, batch.indexed, end).into_iter();
        let pieces = pieces.filter_map(|(from, to, rest)| Some((bound_of(rest, max_ms)?, from, to)));
        for (bound, from, to) in pieces.collect::<Vec<_>>() {
            self.add(min_ms, bound, SearchPart::Piece(batch, from, to));
        }
    }

    pub(super) fn run(mut self) -> Result<SearchEnd, StoreError> {
        loop {
            let bound = self.parts.last_key_value().map(|(key, _)| &key.0);
            while let Some(hit) = self.hits.pending.next(bound) {
                self.progress.hits += 1;
                if !self.observer.hit(&hit) {
                    return Ok(self.end_behind_last_hit());
                }
            }
            let is_full = !self.hits.page.only_count && self.hits.pending.is_full(bound);
            if is_full && (bound.is_some() || self.hits.pending.has_left_out()) {
                return Ok(self.end_behind_last_hit());
            }
            let Some(((bound, _), part)) = self.parts.pop_last() else {
                self.progress.searched_to_ms = self.hits.query.since_ms.or(self.oldest_ms);
                return Ok(self.end(None));
            };
            let until = self.hits.query.until_ms.unwrap_or(i64::MAX);
            let searched_to_ms = Some(bound.time_ms.min(until));
            self.progress.searched_to_ms = searched_to_ms.filter(|time| *time < i64::MAX);
            let is_searched = match &part {
                SearchPart::Segment(segment) => self.open_segment(segment)?,
                SearchPart::Frame(file, entry) => self.search_frame(*file, entry)?,
                SearchPart::Piece(batch, from, to) => self.search_piece(batch, *from, *to),
            };
            if !is_searched {
                // Hits that wait are found again by the next page.
                let before = [self.hits.page.after.clone(), self.hits.pending.cursor()];
                let next = SearchCursor::at(bound.time_ms);
                let next = before.into_iter().flatten().fold(next, SearchCursor::stricter);
                return Ok(self.end(Some(next)));
            }
        }
    }

    fn end_behind_last_hit(mut self) -> SearchEnd {
        let next = self.hits.pending.cursor();
        self.progress.searched_to_ms = next.as_ref().map(SearchCursor::time_ms);
        self.end(next)
    }

    fn end(self, next: Option<SearchCursor>) -> SearchEnd {
        let damage = self
            .files
            .into_iter()
            .flat_map(|files| files.damage)
            .chain(self.damage);
        let (hits, before) = (self.hits, self.parts_read);
        let is_complete = next.is_none();
        // Lines were counted in any order: a search that goes on would count some of them twice.
        let next = next.filter(|_| !hits.page.only_count);
        SearchEnd {
            progress: self.progress,
            is_complete,
            next: next.map(|next| {
                let parts_read = hits.parts_read(before, &next);
                next.with_parts_read(parts_read)
            }),
            damage: damage.collect(),
        }
    }

    /// Adds the frames of a segment that may have a hit.
    fn open_segment(&mut self, segment: &FoundSegment) -> Result<bool, StoreError> {
        let Some(files) = &mut self.files else {
            return Ok(true);
        };
        for entry in files.candidates(segment, &self.words)? {
            self.add_frame((segment.number, SegmentFile::Frames), entry);
        }
        Ok(self.observer.progress(&self.progress))
    }

    fn search_frame(&mut self, file: (u64, SegmentFile), entry: &FrameEntry) -> Result<bool, StoreError> {
        let Some(files) = &mut self.files else {
            return Ok(true);
        };
        let name = PartName::Frame(file, entry.offset);
        self.hits.begin(name, entry.end(), entry.min_ms);
        let tests = &self.hits.tests;
        let by_meta = tests
            .begin_with_context()
            .then_some(|meta: &FrameMeta| tests.chosen(meta, entry.raw_len));
        let wanted = |text: &[u8], chosen: Option<&[usize]>| {
            let found = match chosen {
                Some(numbers) => tests.find_among(text, numbers),
                None => tests.find(text),
            };
            Some(found).filter(|found| !found.is_empty())
        };
        if let Some(ReadFrame { seen, text, meta }) = files.read(file, entry, by_meta, wanted)? {
            for origin in &meta.origins {
                if !self.formats.contains_key(&origin.format) {
                    let format = Format::parse(&origin.format).unwrap_or_default();
                    self.formats.insert(origin.format.clone(), format);
                }
            }
            let reader = |origin: &OriginRecord| {
                let format = self.formats.get(&origin.format);
                format.map(|format| LineReader::new(format, entry.max_ms / 1000))
            };
            let mut readers: Vec<_> = meta.origins.iter().map(reader).collect();
            for FoundLine { number, range } in seen {
                let line = meta.lines.get(number).copied().unwrap_or_default();
                let (origin, reader) = (meta.origins.get(line.origin), readers.get_mut(line.origin));
                let (Some(origin), Some(Some(reader))) = (origin, reader) else {
                    continue;
                };
                let context = LineContext {
                    origin,
                    offset: line.offset,
                    time_ms: line.time_ms,
                    level: meta.level(&line),
                    status: line.status,
                };
                let line = text.get(range).unwrap_or_default();
                self.hits.take(line, &context, reader, self.observer);
            }
        }
        self.progress.frames += 1;
        self.progress.scanned_bytes += u64::from(entry.raw_len);
        self.progress.hits += std::mem::take(&mut self.hits.counted);
        Ok(self.observer.progress(&self.progress))
    }

    /// Searches bytes of a batch; false if the observer wants no more.
    fn search_piece(&mut self, part: &UnindexedBatch, from: u64, to: u64) -> bool {
        let Some(lines) = self.spool else {
            return true;
        };
        let format = (lines.format_of)(part.batch.log.as_ref());
        let (origin, times) = (part.origin(), part.times());
        let mut reader = LineReader::new(&format, times.1 / 1000);
        self.parts_read.forget_pieces(&origin.batch, from, to);
        let (hits, progress, observer) = (&mut self.hits, &mut self.progress, &mut *self.observer);
        let mut piece_start = from;
        let has_read = progress.scanned_bytes > 0 || progress.frames > 0;
        hits.begin(PartName::Piece(origin.batch.clone(), from), from, times.0);
        let scanned = scan(lines.spool, part, from, to, |block| {
            let SpoolBlock { text, position, .. } = block;
            if text.is_empty() {
                // A page that has read nothing would give its own cursor again if it ended on the way.
                return observer.progress(progress) || !has_read;
            }
            if block.begins_piece(piece_start, part) {
                piece_start = position;
                hits.begin(PartName::Piece(origin.batch.clone(), position), position, times.0);
            }
            for FoundLine { range, .. } in hits.tests.find(text) {
                let time_ms = time_of(text, range.start, &mut reader);
                let offset = position + u64::try_from(range.start).unwrap_or(0);
                let line = text.get(range).unwrap_or_default();
                let facts = reader.read(line);
                let context = LineContext {
                    origin: &origin,
                    offset,
                    // The order of the search relies on the window.
                    time_ms: time_ms.unwrap_or(times.0).clamp(times.0, times.1),
                    level: facts.level.map(Level::as_str),
                    status: facts.status.unwrap_or(0),
                };
                hits.take(line, &context, &mut reader, observer);
            }
            let bytes = u64::try_from(text.len()).unwrap_or(0);
            hits.set_end(position + bytes);
            progress.scanned_bytes += bytes;
            progress.hits += std::mem::take(&mut hits.counted);
            observer.progress(progress)
        });
        let lost = match &scanned {
            Ok(BatchScan::Done | BatchScan::Stopped) => None,
            Ok(BatchScan::Gone) => Some("its file is gone from the spool".to_owned()),
            Err(error) => Some(error_chain(error)),
        };
        if lost.is_some() {
            // Later pages do not try again.
            hits.set_end(to);
        }
        self.damage
            .extend(lost.map(|reason| format!("lines of {} are not found: {reason}", origin.batch)));
        !matches!(scanned, Ok(BatchScan::Stopped))
    }
}

/// The newest line of a part that may be wanted, by what pages before have left of it; `None`: nothing.
fn bound_of(rest: Option<&PartRest>, max_ms: i64) -> Option<PartBound> {
    match rest {
        None => Some(PartBound::of_time(max_ms)),
        Some(rest) => rest.newest_left.clone().map(PartBound::of_line),
    }
}
