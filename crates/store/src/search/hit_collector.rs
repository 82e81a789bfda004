//! Takes the hits of a page from the lines of its parts, and notes what it leaves.

use logferry_fields::LineReader;

use super::hit::{Hit, SearchCursor};
use super::hit_key::HitKey;
use super::line_tests::{LineContext, LineTests, fields_of};
use super::parts_read::{PARTS_MAX, PartName, PartRest, PartsRead};
use super::pending_hits::PendingHits;
use super::{MatchedLine, SearchObserver, SearchPage};
use crate::query::Query;

/// Takes hits, one part after the other.
pub(super) struct HitCollector<'s> {
    pub(super) query: &'s Query,
    pub(super) page: &'s SearchPage,
    pub(super) tests: LineTests<'s>,
    pub(super) pending: PendingHits,
    /// Hits that were counted and not shown.
    pub(super) counted: u64,
    /// The parts that were read on this page, but for the first of very many. The last is being read.
    read: Vec<(PartName, PartRest)>,
    /// The number of the first of them on this page.
    first_part: usize,
}

impl<'s> HitCollector<'s> {
    pub(super) fn new(query: &'s Query, page: &'s SearchPage) -> Self {
        Self {
            query,
            page,
            tests: LineTests::new(query),
            pending: PendingHits::new(page.limit),
            counted: 0,
            read: Vec::new(),
            first_part: 0,
        }
    }

    /// The lines to come are of this part, in which none is older than `oldest_ms`.
    pub(super) fn begin(&mut self, name: PartName, end: u64, oldest_ms: i64) {
        let rest = PartRest {
            end,
            oldest_ms,
            newest_left: None,
        };
        if self.read.len() >= PARTS_MAX {
            self.first_part += self.read.len();
            self.read.clear();
        }
        self.read.push((name, rest));
    }

    /// The part that is being read was read up to here.
    pub(super) fn set_end(&mut self, end: u64) {
        if let Some((_, rest)) = self.read.last_mut() {
            rest.end = end;
        }
    }

    /// Takes a line that has the texts of the query, if it is a hit.
    pub(super) fn take(
        &mut self,
        line: &[u8],
        context: &LineContext<'_>,
        reader: &mut LineReader<'_>,
        observer: &mut dyn SearchObserver,
    ) {
        let LineContext {
            origin,
            offset,
            time_ms,
            level,
            status,
        } = *context;
        let after = self.page.after.as_ref();
        if !after.is_none_or(|after| after.admits(time_ms, &origin.batch, offset)) {
            return;
        }
        if !self.page.only_count && !self.pending.has_room(time_ms, &origin.batch, offset) {
            if let Some((_, rest)) = self.read.last_mut() {
                HitKey::raise(&mut rest.newest_left, time_ms, &origin.batch, offset);
            }
            return;
        }
        if !self.tests.fulfils(line, context, reader) {
            return;
        }
        if self.page.only_count {
            self.counted += 1;
            let matched = MatchedLine {
                time_ms,
                source: &origin.source,
                level,
                status: (status != 0).then_some(status),
                line,
            };
            observer.matched(&matched, reader);
            return;
        }
        let fields = if self.page.with_fields {
            fields_of(line, reader)
        } else {
            Vec::new()
        };
        let hit = Hit {
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
        };
        let part = self.first_part + self.read.len().saturating_sub(1);
        let (first, read) = (self.first_part, &mut self.read);
        self.pending
            .add(hit, part, |left, part| leave(read, left, part.checked_sub(first)));
    }

    /// What this page and those before have left behind the cursor.
    pub(super) fn parts_read(mut self, mut before: PartsRead, next: &SearchCursor) -> PartsRead {
        for (key, part) in self.pending.waiting() {
            leave(&mut self.read, key, part.checked_sub(self.first_part));
        }
        before.add(self.read, next.time_ms());
        before
    }
}

/// A hit of a part is left for the next page. A part that is forgotten is read again there.
fn leave(read: &mut [(PartName, PartRest)], key: &HitKey, part: Option<usize>) {
    if let Some((_, rest)) = part.and_then(|part| read.get_mut(part)) {
        HitKey::raise(&mut rest.newest_left, key.time_ms, &key.batch, key.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentFile;

    #[test]
    fn page_of_very_many_parts_forgets_the_first_ones() {
        let (query, page) = (Query::default(), SearchPage::default());
        let mut hits = HitCollector::new(&query, &page);
        for part in 0..PARTS_MAX as u64 + 5 {
            hits.begin(PartName::Frame((1, SegmentFile::Frames), part), part + 1, 0);
        }
        assert_eq!((hits.read.len(), hits.first_part), (5, PARTS_MAX));
        let key = HitKey {
            time_ms: 7,
            batch: "b".to_owned(),
            offset: 0,
        };
        leave(&mut hits.read, &key, 3_usize.checked_sub(hits.first_part));
        assert!(hits.read.iter().all(|(_, rest)| rest.newest_left.is_none()));
        let first = hits.first_part;
        leave(&mut hits.read, &key, (first + 2).checked_sub(first));
        assert_eq!(hits.read[2].1.newest_left, Some(key));
    }
}
