//! A line and those around it from the store: its file is gone from the spool.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use logferry_ledger::Batch;
use logferry_protocol::names::SourceId;
use logferry_store::{Hit, Query, SearchObserver, SearchPage, SearchProgress};

use crate::error::SearchError;
use crate::line_id::{BYTES_MAX, LineId, LinesAround};
use crate::scope::{LineSelection, SearchScope, SearchedHost};

/// Lines of one page of the store.
const PAGE_LINES: usize = 10_000;
/// Bytes before and after in which others are looked for: mostly the first have enough of them.
const REACHES: [u64; 2] = [64 << 10, BYTES_MAX];

/// In a batch that the ledger does not know, lines up to so many seconds before and after a line are looked for.
const UNKNOWN_WINDOW: i64 = 3600;

/// The line of this id with up to so many before and after it. `batch`: its row, if the ledger has one; the store may keep lines
/// longer than the ledger its rows, and a ledger that was rebuilt has none of them. Without it, all of the store is looked through.
pub(crate) fn in_store(
    host: SearchedHost<'_>,
    batch: Option<&Batch>,
    id: &LineId,
    lines: usize,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<LinesAround>, SearchError> {
    let mut search = OffsetSearch {
        host,
        batch,
        source: batch.map(|batch| batch.source.clone()),
        name: &id.batch,
        goes_on,
    };
    let second = |second: i64| second.saturating_mul(1000);
    let reach = batch.map_or(UNKNOWN_WINDOW, |batch| i64::from(batch.window.seconds));
    let near = batch.map(|batch| {
        (
            second(batch.window.start - reach),
            second(batch.window.end() + reach),
        )
    });
    // Lines lie in their window or a little outside, so frames of other times need not be read. But `timestamp: arrival` sorts
    // lines of any time into it.
    let exact = id.offset..=id.offset;
    let mut found = Vec::new();
    if near.is_some() {
        found = search.nearest(id.offset, &exact, near, 0)?;
    }
    if found.is_empty() {
        found = search.nearest(id.offset, &exact, None, 0)?;
    }
    let Some(line) = found.pop() else { return Ok(None) };
    let (before, after) = if lines == 0 {
        (Vec::new(), Vec::new())
    } else {
        search.source = search.source.or_else(|| line.source.parse().ok());
        let times = near.filter(|(since, until)| (*since..*until).contains(&line.time_ms));
        let times = times.unwrap_or_else(|| {
            let reach = second(reach);
            (
                line.time_ms.saturating_sub(reach),
                line.time_ms.saturating_add(reach),
            )
        });
        search.around(id.offset, times, lines)?
    };
    Ok(Some(LinesAround { before, line, after }))
}

/// Looks for lines by their offsets in a batch.
struct OffsetSearch<'a> {
    host: SearchedHost<'a>,
    batch: Option<&'a Batch>,
    /// The source of its lines, once it is known.
    source: Option<SourceId>,
    name: &'a str,
    goes_on: &'a dyn Fn() -> bool,
}

impl OffsetSearch<'_> {
    /// The lines before an offset, and those behind it.
    fn around(
        &self,
        offset: u64,
        times: (i64, i64),
        lines: usize,
    ) -> Result<(Vec<Hit>, Vec<Hit>), SearchError> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for reach in REACHES {
            let offsets = offset.saturating_sub(reach)..=offset.saturating_add(reach);
            let mut kept = self.nearest(offset, &offsets, Some(times), lines)?;
            kept.retain(|hit| hit.offset != offset);
            after = kept.split_off(kept.partition_point(|hit| hit.offset < offset));
            before = kept;
            let has_before = before.len() >= lines || *offsets.start() == 0;
            let bytes = self.batch.map(|batch| batch.contents.bytes);
            let has_after = after.len() >= lines || bytes.is_some_and(|bytes| *offsets.end() >= bytes);
            if has_before && has_after {
                break;
            }
        }
        Ok((before, after))
    }

    /// The lines at these offsets that are nearest to an offset, in the order of the batch: up to so many on each side.
    fn nearest(
        &self,
        offset: u64,
        offsets: &RangeInclusive<u64>,
        times: Option<(i64, i64)>,
        lines: usize,
    ) -> Result<Vec<Hit>, SearchError> {
        let mut query = Query::default();
        query.since_ms = times.map(|(since, _)| since);
        query.until_ms = times.map(|(_, until)| until);
        query.add_offsets(self.name, offsets.clone());
        // The filters of frames have no batches, but sources.
        if let Some(source) = &self.source
            && query.add_field("source", source.as_str()).is_err()
        {
            return Ok(Vec::new());
        }
        // What is still in the spool of it has the batch's window.
        let window = self.batch.map(|batch| (batch.window.start, batch.window.end()));
        let second = |second: Option<i64>| second.and_then(|second| Timestamp::from_second(second).ok());
        let selection = LineSelection {
            source: self.source.clone(),
            since: second(window.map(|(start, _)| start)),
            until: second(window.map(|(_, end)| end)),
            ..LineSelection::default()
        };
        let is_one = offsets.start() == offsets.end();
        let mut page = SearchPage {
            limit: if is_one { 1 } else { PAGE_LINES },
            with_fields: true,
            ..SearchPage::default()
        };
        let mut kept: Vec<Hit> = Vec::new();
        loop {
            let scope = SearchScope::open(self.host, &selection)?;
            let mut observer = OffsetObserver {
                lines: Vec::new(),
                goes_on: self.goes_on,
                is_stopped: false,
            };
            let end = scope.search(&query, &page, &mut observer)?;
            if observer.is_stopped {
                return Err(SearchError::Stopped);
            }
            kept.append(&mut observer.lines);
            keep_nearest(&mut kept, offset, lines);
            if end.next.is_none() || (is_one && !kept.is_empty()) {
                return Ok(kept);
            }
            page.after = end.next;
        }
    }
}

/// Takes all lines, until whoever asked wants no more.
struct OffsetObserver<'a> {
    lines: Vec<Hit>,
    goes_on: &'a dyn Fn() -> bool,
    is_stopped: bool,
}

impl SearchObserver for OffsetObserver<'_> {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.lines.push(hit.clone());
        true
    }

    fn progress(&mut self, _: &SearchProgress) -> bool {
        self.is_stopped |= !(self.goes_on)();
        !self.is_stopped
    }
}

/// Leaves the lines nearest to an offset, in the order of the batch.
fn keep_nearest(hits: &mut Vec<Hit>, offset: u64, lines: usize) {
    hits.sort_unstable_by_key(|hit| hit.offset);
    let at = hits.partition_point(|hit| hit.offset <= offset);
    hits.truncate(at + lines);
    let first = at.saturating_sub(lines + 1);
    hits.drain(..first.min(hits.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_lines_are_kept_on_both_sides() {
        let hit = |offset| Hit {
            offset,
            ..Hit::default()
        };
        let mut hits: Vec<_> = [9, 1, 5, 7, 3].into_iter().map(hit).collect();
        keep_nearest(&mut hits, 5, 1);
        assert_eq!(hits.iter().map(|hit| hit.offset).collect::<Vec<_>>(), [3, 5, 7]);
    }
}
