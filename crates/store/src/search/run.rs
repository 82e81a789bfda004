//! One page of a search.

use std::collections::BTreeMap;

use logferry_durable::Disk;
use logferry_fields::{Format, Level, LineReader};
use logferry_text::error_chain;

use super::frame_files::{FoundSegment, FrameFiles, FrameWords, ReadFrame};
use super::hit::{Hit, SearchCursor};
use super::line_tests::{FoundLine, LineContext, LineTests, fields_of};
use super::pending_hits::PendingHits;
use super::spool_lines::{BatchScan, SpoolLines, UnindexedBatch, scan, time_of};
use super::{SearchEnd, SearchObserver, SearchPage, SearchProgress};
use crate::error::StoreError;
use crate::frame::{FrameEntry, OriginRecord};
use crate::query::Query;
use crate::segment::SegmentFile;

/// Something that may have hits.
#[derive(Debug)]
enum SearchPart<'s> {
    Segment(FoundSegment),
    Frame((u64, SegmentFile), FrameEntry),
    Batch(&'s UnindexedBatch),
}

/// A page that is being searched.
pub(super) struct PageSearch<'s, D: Disk> {
    files: Option<FrameFiles<D>>,
    spool: Option<&'s SpoolLines<'s, D>>,
    observer: &'s mut dyn SearchObserver,
    words: FrameWords,
    /// What is still to be searched, by its newest line; the number keeps parts of one time apart.
    parts: BTreeMap<(i64, usize), SearchPart<'s>>,
    parts_made: usize,
    hits: HitCollector<'s>,
    formats: BTreeMap<String, Format>,
    progress: SearchProgress,
    /// The oldest time of all parts.
    oldest_ms: Option<i64>,
    damage: Vec<String>,
}

/// Takes the lines that are hits.
struct HitCollector<'s> {
    query: &'s Query,
    page: &'s SearchPage,
    tests: LineTests<'s>,
    pending: PendingHits,
    counted: u64,
}

impl HitCollector<'_> {
    /// Takes a line that has the texts of the query, if it is a hit.
    fn take(&mut self, line: &[u8], context: &LineContext<'_>, reader: &mut LineReader<'_>) {
        let LineContext {
            origin,
            offset,
            time_ms,
            level,
            status,
        } = *context;
        let after = self.page.after.as_ref();
        let is_wanted = after.is_none_or(|after| after.admits(time_ms, &origin.batch, offset))
            && (self.page.only_count || self.pending.has_room(time_ms, &origin.batch, offset));
        if !is_wanted || !self.tests.fulfils(line, context, reader) {
            return;
        }
        if self.page.only_count {
            self.counted += 1;
            return;
        }
        let fields = if self.page.with_fields {
            fields_of(line, reader)
        } else {
            Vec::new()
        };
        self.pending.add(Hit {
            time_ms,
            source: origin.source.clone(),
            group: origin.group.clone(),
            log: origin.log.clone(),
            batch: origin.batch.clone(),
            offset,
            level: level.map(str::to_owned),
            status: (status != 0).then_some(status),
            line: line.to_vec(),
            fields,
        });
    }
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
            hits: HitCollector {
                query,
                page,
                tests: LineTests::new(query),
                pending: PendingHits::new(page.limit),
                counted: 0,
            },
            formats: BTreeMap::new(),
            progress: SearchProgress::default(),
            oldest_ms: None,
            damage: Vec::new(),
        };
        if let Some(files) = &mut search.files {
            let (tail, segments) = (files.tail()?, files.segments()?);
            let number = files.tail_number();
            for segment in segments {
                search.add(segment.times(), SearchPart::Segment(segment));
            }
            for entry in tail {
                let part = SearchPart::Frame((number, SegmentFile::Tail), entry);
                search.add((entry.min_ms, entry.max_ms), part);
            }
        }
        for batch in spool.iter().flat_map(|spool| &spool.batches) {
            search.add(batch.times(), SearchPart::Batch(batch));
        }
        Ok(search)
    }

    /// Adds a part with lines of these times, if they may be wanted.
    fn add(&mut self, (min_ms, max_ms): (i64, i64), part: SearchPart<'s>) {
        if min_ms > i64::MIN {
            self.oldest_ms = Some(self.oldest_ms.map_or(min_ms, |oldest| oldest.min(min_ms)));
        }
        let after = self.hits.page.after.as_ref();
        if self.hits.query.overlaps(min_ms, max_ms) && after.is_none_or(|after| min_ms <= after.time_ms()) {
            self.parts_made += 1;
            self.parts.insert((max_ms, self.parts_made), part);
        }
    }

    pub(super) fn run(mut self) -> Result<SearchEnd, StoreError> {
        loop {
            let bound = self.parts.last_key_value().map(|(key, _)| key.0);
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
            let Some((key, part)) = self.parts.pop_last() else {
                self.progress.searched_to_ms = self.hits.query.since_ms.or(self.oldest_ms);
                return Ok(self.end(None));
            };
            let until = self.hits.query.until_ms.unwrap_or(i64::MAX);
            self.progress.searched_to_ms = Some(key.0.min(until)).filter(|time| *time < i64::MAX);
            let is_searched = match &part {
                SearchPart::Segment(segment) => self.open_segment(segment)?,
                SearchPart::Frame(file, entry) => self.search_frame(*file, entry)?,
                SearchPart::Batch(batch) => self.search_batch(batch),
            };
            if !is_searched {
                // Hits that wait are found again by the next page.
                let after = self.hits.page.after.clone();
                let after = after.filter(|after| after.time_ms() <= key.0);
                return Ok(self.end(Some(after.unwrap_or(SearchCursor::at(key.0)))));
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
        SearchEnd {
            progress: self.progress,
            is_complete: next.is_none(),
            next,
            damage: damage.collect(),
        }
    }

    /// Adds the frames of a segment that may have a hit.
    fn open_segment(&mut self, segment: &FoundSegment) -> Result<bool, StoreError> {
        let Some(files) = &mut self.files else {
            return Ok(true);
        };
        for entry in files.candidates(segment, &self.words)? {
            let part = SearchPart::Frame((segment.number, SegmentFile::Frames), entry);
            self.add((entry.min_ms, entry.max_ms), part);
        }
        Ok(self.observer.progress(&self.progress))
    }

    fn search_frame(&mut self, file: (u64, SegmentFile), entry: &FrameEntry) -> Result<bool, StoreError> {
        let Some(files) = &mut self.files else {
            return Ok(true);
        };
        let tests = &self.hits.tests;
        let wanted = |text: &[u8]| Some(tests.find(text)).filter(|found| !found.is_empty());
        if let Some(ReadFrame { seen, text, meta }) = files.read(file, entry, wanted)? {
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
                self.hits
                    .take(text.get(range).unwrap_or_default(), &context, reader);
            }
        }
        self.progress.frames += 1;
        self.progress.scanned_bytes += u64::from(entry.raw_len);
        self.progress.hits += std::mem::take(&mut self.hits.counted);
        Ok(self.observer.progress(&self.progress))
    }

    fn search_batch(&mut self, part: &UnindexedBatch) -> bool {
        let Some(lines) = self.spool else {
            return true;
        };
        let format = (lines.format_of)(part.batch.log.as_ref());
        let (origin, times) = (part.origin(), part.times());
        let mut reader = LineReader::new(&format, times.1 / 1000);
        let (hits, progress, observer) = (&mut self.hits, &mut self.progress, &mut *self.observer);
        let scanned = scan(lines.spool, part, |text, position| {
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
                hits.take(line, &context, &mut reader);
            }
            progress.scanned_bytes += u64::try_from(text.len()).unwrap_or(0);
            progress.hits += std::mem::take(&mut hits.counted);
            observer.progress(progress)
        });
        let lost = match &scanned {
            Ok(BatchScan::Done | BatchScan::Stopped) => None,
            Ok(BatchScan::Gone) => Some("its file is gone from the spool".to_owned()),
            Err(error) => Some(error_chain(error)),
        };
        self.damage
            .extend(lost.map(|reason| format!("lines of {} are not found: {reason}", origin.batch)));
        !matches!(scanned, Ok(BatchScan::Stopped))
    }
}
