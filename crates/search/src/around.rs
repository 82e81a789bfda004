//! A line by its id, and the lines before and after it in its batch: from the spool while the file is there, else from the store.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use jiff::Timestamp;
use logferry_durable::{DiskError, DiskOperation, RealDisk};
use logferry_ledger::{Batch, SourceLogs};
use logferry_spool::Spool;
use logferry_store::{Hit, LineOrigin, Query, ReadLines, SearchObserver, SearchPage, SearchProgress};
use memchr::{memchr, memrchr};

use crate::error::SearchError;
use crate::scope::{LineSelection, SearchScope, SearchedHost};

/// Lines before and after, at most each.
const LINES_MAX: usize = 500;
/// Bytes before and after in which they are looked for. A line is at most as long as this.
const BYTES_MAX: u64 = 2 << 20;
/// Lines of one page of the store that are looked through.
const PAGE_LINES: usize = 10_000;
/// Pages of the store that are looked through: a window of one source.
const PAGES_MAX: usize = 100;

/// The name of a line for ever: `<batch>@<offset>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineId {
    /// The batch's name, without `.log`.
    pub batch: String,
    /// Its first byte there.
    pub offset: u64,
}

/// A text that names no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no line's id; an id is BATCH@OFFSET, as `search --json` shows it")]
pub struct LineIdError;

impl FromStr for LineId {
    type Err = LineIdError;

    fn from_str(text: &str) -> Result<Self, LineIdError> {
        let (batch, offset) = text.rsplit_once('@').ok_or(LineIdError)?;
        // No file is found by it, but what it looks like is shown to people.
        let is_plain = !batch.is_empty() && !batch.contains(|c: char| c.is_control() || c == '/');
        let offset = offset.parse().ok().filter(|_| is_plain);
        Ok(Self {
            batch: batch.to_owned(),
            offset: offset.ok_or(LineIdError)?,
        })
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.batch, self.offset)
    }
}

/// A line with those around it, in the order of the batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinesAround {
    /// The lines before it.
    pub before: Vec<Hit>,
    /// The line itself.
    pub line: Hit,
    /// The lines after it.
    pub after: Vec<Hit>,
}

/// The line of this id with up to so many before and after it; `None` if neither spool nor store have it.
pub fn lines_around(
    host: SearchedHost<'_>,
    id: &LineId,
    lines: usize,
    now: Timestamp,
) -> Result<Option<LinesAround>, SearchError> {
    let lines = lines.min(LINES_MAX);
    let Some(mut batch) = host.ledger.batch_named(&id.batch)? else {
        return Ok(None);
    };
    if id.offset >= batch.contents.bytes {
        return Ok(None);
    }
    batch.log = SourceLogs::default().of_batch(host.ledger, &batch)?;
    if let Some(text) = text_around(&host, &batch, id.offset)? {
        return Ok(in_text(&host, &batch, id.offset, &text, lines, now));
    }
    in_store(host, &batch, id, lines)
}

/// Bytes of a batch, and where they begin in it.
struct BatchText {
    first: u64,
    bytes: Vec<u8>,
    /// Whether the batch has more bytes behind them.
    is_cut: bool,
}

/// The bytes around an offset; `None` if the file is gone.
fn text_around(
    host: &SearchedHost<'_>,
    batch: &Batch,
    offset: u64,
) -> Result<Option<BatchText>, SearchError> {
    let spool = Spool::new(RealDisk, host.data_dir);
    let Some((file, mut reader)) = spool.find_and_open(batch)? else {
        return Ok(None);
    };
    let failed = |error| DiskError::new(DiskOperation::Read, &file.path, error);
    let first = offset.saturating_sub(BYTES_MAX);
    let end = batch.contents.bytes.min(offset.saturating_add(BYTES_MAX));
    reader.seek_to(first).map_err(failed)?;
    let mut bytes = Vec::new();
    reader.take(end - first).read_to_end(&mut bytes).map_err(failed)?;
    let is_cut = end < batch.contents.bytes;
    Ok(Some(BatchText { first, bytes, is_cut }))
}

fn in_text(
    host: &SearchedHost<'_>,
    batch: &Batch,
    offset: u64,
    text: &BatchText,
    lines: usize,
    now: Timestamp,
) -> Option<LinesAround> {
    let at = usize::try_from(offset.checked_sub(text.first)?).ok()?;
    let bytes = text.bytes.as_slice();
    // An id names the first byte of a line.
    if at > 0 && bytes.get(at - 1) != Some(&b'\n') {
        return None;
    }
    let start = start_of_lines_before(bytes, at, lines, text.first == 0);
    let end = end_of_lines(bytes, at, lines + 1, text.is_cut);
    let default = logferry_fields::Format::default();
    let format = batch.log.as_ref().map_or(&default, |log| host.formats.of(log));
    let name = batch.name();
    let origin = LineOrigin {
        source: &batch.source,
        group: &batch.group,
        log: batch.log.as_ref(),
        batch: &name,
        format: "",
    };
    let first = text.first + u64::try_from(start).ok()?;
    // A line without a time, with none before it, has the time of its window's beginning.
    let arrival = batch.window.start.saturating_mul(1000).min(now.as_millisecond());
    let block = ReadLines::read(origin, first, bytes.get(start..end)?, format, arrival);
    let mut around = LinesAround::default();
    let mut is_found = false;
    // As a search does it: its order relies on the window.
    let window = (
        batch.window.start.saturating_mul(1000),
        batch.window.end().saturating_mul(1000) - 1,
    );
    for mut hit in (0..block.len()).filter_map(|number| block.hit(number)) {
        hit.time_ms = hit.time_ms.min(window.1).max(window.0);
        match hit.offset.cmp(&offset) {
            std::cmp::Ordering::Less => around.before.push(hit),
            std::cmp::Ordering::Equal => {
                around.line = hit;
                is_found = true;
            }
            std::cmp::Ordering::Greater => around.after.push(hit),
        }
    }
    is_found.then_some(around)
}

/// Where the lines before `at` begin, up to so many. `is_first`: the text begins with a line.
fn start_of_lines_before(bytes: &[u8], at: usize, lines: usize, is_first: bool) -> usize {
    let mut start = at;
    for _ in 0..lines {
        let Some(before) = start.checked_sub(1).and_then(|end| bytes.get(..end)) else {
            break;
        };
        match memrchr(b'\n', before) {
            Some(newline) => start = newline + 1,
            None if is_first => return 0,
            // It may be half a line.
            None => break,
        }
    }
    start
}

/// Behind so many lines from `at` on. `is_cut`: the text may end within a line, which is left out then, unless it is the first.
fn end_of_lines(bytes: &[u8], at: usize, lines: usize, is_cut: bool) -> usize {
    let mut end = at;
    for _ in 0..lines {
        match bytes.get(end..).and_then(|rest| memchr(b'\n', rest)) {
            Some(newline) => end += newline + 1,
            None if is_cut && end > at => return end,
            None => return bytes.len(),
        }
    }
    end
}

/// Takes the lines of one batch from hits that come newest first.
struct BatchLinesObserver<'a> {
    batch: &'a str,
    lines: Vec<Hit>,
}

impl SearchObserver for BatchLinesObserver<'_> {
    fn hit(&mut self, hit: &Hit) -> bool {
        if hit.batch == self.batch {
            self.lines.push(hit.clone());
        }
        true
    }

    fn progress(&mut self, _: &SearchProgress) -> bool {
        true
    }
}

/// The same from the store: all lines of the source in the batch's window are looked through.
fn in_store(
    host: SearchedHost<'_>,
    batch: &Batch,
    id: &LineId,
    lines: usize,
) -> Result<Option<LinesAround>, SearchError> {
    let mut query = Query::default();
    // A source has no character with a meaning in a query.
    if query.add_field("source", batch.source.as_str()).is_err() {
        return Ok(None);
    }
    // Lines may lie a little outside of the window: they are sorted into it by the time of the line before.
    let window = i64::from(batch.window.seconds);
    let (since, until) = (batch.window.start - window, batch.window.start + 2 * window);
    query.since_ms = Some(since.saturating_mul(1000));
    query.until_ms = Some(until.saturating_mul(1000));
    let selection = LineSelection {
        source: Some(batch.source.clone()),
        since: Timestamp::from_second(since).ok(),
        until: Timestamp::from_second(until).ok(),
        ..LineSelection::default()
    };
    let mut page = SearchPage {
        limit: PAGE_LINES,
        with_fields: true,
        ..SearchPage::default()
    };
    let mut kept: Vec<Hit> = Vec::new();
    for _ in 0..PAGES_MAX {
        let scope = SearchScope::open(host, &selection)?;
        let mut observer = BatchLinesObserver {
            batch: &id.batch,
            lines: Vec::new(),
        };
        let end = scope.search(&query, &page, &mut observer)?;
        kept.append(&mut observer.lines);
        keep_nearest(&mut kept, id.offset, lines);
        if end.next.is_none() {
            break;
        }
        page.after = end.next;
    }
    let Some(at) = kept.iter().position(|hit| hit.offset == id.offset) else {
        return Ok(None);
    };
    let after = kept.split_off(at + 1);
    let Some(line) = kept.pop() else { return Ok(None) };
    Ok(Some(LinesAround {
        before: kept,
        line,
        after,
    }))
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
    fn id_is_read_back_from_its_text_and_nothing_else_is_one() {
        let id: LineId = "a@b_08_00-19.2@77".parse().unwrap();
        assert_eq!((id.batch.as_str(), id.offset), ("a@b_08_00-19.2", 77));
        assert_eq!(id.to_string(), "a@b_08_00-19.2@77");
        for text in [
            "",
            "a",
            "@1",
            "a@",
            "a@-1",
            "a@1x",
            "../a@1",
            "a\n@1",
            "a@99999999999999999999",
        ] {
            assert!(text.parse::<LineId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lines_around_a_byte_are_whole() {
        let text = b"half\none\ntwo\nthree\nfour";
        let at = 9;
        assert_eq!(&text[at..at + 3], b"two");
        for (lines, before, after) in [(0, 9, 13), (1, 5, 19), (2, 5, 23), (9, 5, 23)] {
            assert_eq!(start_of_lines_before(text, at, lines, false), before, "{lines}");
            assert_eq!(end_of_lines(text, at, lines + 1, false), after, "{lines}");
        }
        assert_eq!(start_of_lines_before(text, 0, 3, false), 0);
    }

    #[test]
    fn first_line_of_a_batch_is_whole_and_one_that_is_cut_is_left_out() {
        let text = b"first\none\ntwo\nhal";
        let at = 10;
        for (lines, before, after) in [(0, 10, 14), (1, 6, 14), (2, 0, 14), (9, 0, 14)] {
            assert_eq!(start_of_lines_before(text, at, lines, true), before, "{lines}");
            assert_eq!(end_of_lines(text, at, lines + 1, true), after, "{lines}");
        }
        assert_eq!(end_of_lines(text, 14, 1, true), text.len(), "the line itself");
    }

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
