//! A line by its id, and the lines before and after it in its batch: from the spool while the file is there, else from the store.

use std::io::Read;

use jiff::Timestamp;
use logferry_durable::{DiskError, DiskOperation, RealDisk};
use logferry_ledger::{Batch, SourceLogs};
use logferry_numbers::IndexReader;
use logferry_spool::Spool;
use logferry_store::{LineOrigin, ReadLines};
use memchr::{memchr, memchr_iter, memrchr};

use crate::around_in_store::in_store;
use crate::error::SearchError;
use crate::line_id::{BYTES_MAX, LineId, LinesAround};
use crate::scope::{SearchedHost, index};

/// Lines before and after, at most each.
const LINES_MAX: usize = 500;
/// A line without a time that is not in the store has that of a line before it; so many are looked at, as by a search.
const TIME_LINES: usize = 50;

/// The line of this id with up to so many before and after it; `None` if neither spool nor store have it. `goes_on`: asked now and
/// then; false ends it with [`SearchError::Stopped`].
pub fn lines_around(
    host: SearchedHost<'_>,
    id: &LineId,
    lines: usize,
    now: Timestamp,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<LinesAround>, SearchError> {
    let lines = lines.min(LINES_MAX);
    let Some(mut batch) = host.ledger.batch_named(&id.batch)? else {
        return in_store(host, None, id, lines, goes_on);
    };
    // In a ledger that was restored from a copy, the batch may have fewer bytes than were indexed.
    if id.offset >= batch.contents.bytes {
        return in_store(host, Some(&batch), id, lines, goes_on);
    }
    batch.log = SourceLogs::default().of_batch(host.ledger, &batch)?;
    if let Some(text) = text_around(&host, &batch, id.offset, goes_on)? {
        let indexed = indexed_bytes(&host, &id.batch)?;
        let found = in_text(&host, &batch, id.offset, &text, (lines, indexed), now);
        // The store has the pieces of a very long line as lines.
        if found.is_some() || id.offset >= indexed {
            return Ok(found);
        }
    }
    in_store(host, Some(&batch), id, lines, goes_on)
}

/// So many bytes of a batch are in the store.
fn indexed_bytes(host: &SearchedHost<'_>, batch: &str) -> Result<u64, SearchError> {
    let opened = match host.kept {
        Some(_) => None,
        None => index(host.configuration, host.store_dir)?.0,
    };
    let index = host.kept.map(|kept| kept.reader).or(opened.as_ref());
    let moment = index.map(IndexReader::moment).transpose()?;
    let place = moment.map(|moment| moment.place(batch)).transpose()?;
    Ok(place.flatten().map_or(0, |place| place.bytes))
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
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<BatchText>, SearchError> {
    let spool = Spool::new(RealDisk, host.data_dir);
    let Some((file, mut reader)) = spool.find_and_open(batch)? else {
        return Ok(None);
    };
    let failed = |error| DiskError::new(DiskOperation::Read, &file.path, error);
    let first = offset.saturating_sub(BYTES_MAX);
    let end = batch.contents.bytes.min(offset.saturating_add(BYTES_MAX));
    if !reader.seek_to_while(first, goes_on).map_err(failed)? {
        return Err(SearchError::Stopped);
    }
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
    (lines, indexed): (usize, u64),
    now: Timestamp,
) -> Option<LinesAround> {
    let at = usize::try_from(offset.checked_sub(text.first)?).ok()?;
    let bytes = text.bytes.as_slice();
    // An id names the first byte of a line.
    if at > 0 && bytes.get(at - 1) != Some(&b'\n') {
        return None;
    }
    let start = start_of_lines_before(bytes, at, lines, text.first == 0);
    // A line without a time has that of a line before it, which may not be wanted. The indexer looks back without an end.
    let back = if offset < indexed { usize::MAX } else { TIME_LINES };
    let read_from = start_of_lines_before(bytes, start, back, text.first == 0);
    let unwanted = memchr_iter(b'\n', bytes.get(read_from..start)?).count();
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
    let first = text.first + u64::try_from(read_from).ok()?;
    // A line without a time, with none before it, has the time of its window's beginning.
    let arrival = batch.window.start.saturating_mul(1000).min(now.as_millisecond());
    let block = ReadLines::read(origin, first, bytes.get(read_from..end)?, format, arrival);
    let mut around = LinesAround::default();
    let mut is_found = false;
    // As a search does it: in the spool its order relies on the window, in the store lines have their own times.
    let window = (
        batch.window.start.saturating_mul(1000),
        batch.window.end().saturating_mul(1000) - 1,
    );
    for mut hit in (unwanted..block.len()).filter_map(|number| block.hit(number)) {
        if hit.offset >= indexed {
            hit.time_ms = hit.time_ms.min(window.1).max(window.0);
        }
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

#[cfg(test)]
mod tests {
    use logferry_config::FormatsByLog;
    use logferry_ledger::{BatchState, Ledger};
    use logferry_numbers::IndexDb;
    use logferry_store::{LineRecord, StoreWriter};
    use logferry_testkit::batches::{add_batch, new_batch, put_file};
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{host, record};

    /// A batch without a file, and a folder for its index.
    fn batch_of(text: &[u8]) -> (TempDir, Ledger, Batch) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let new = new_batch("198.51.100.1", "a");
        let batch = add_batch(&mut ledger, &new, text, BatchState::Open, Timestamp::UNIX_EPOCH);
        (dir, ledger, batch)
    }

    /// Puts lines with these times into the store; so many bytes of the batch are indexed then.
    fn index(dir: &TempDir, batch: &Batch, lines: &[(u64, i64)], bytes: u64) {
        let opened = StoreWriter::open(RealDisk, dir.path(), None, 0);
        let mut writer = opened.expect("a store").writer;
        for (offset, time_ms) in lines {
            let record = LineRecord {
                origin: LineOrigin {
                    source: &batch.source,
                    group: &batch.group,
                    log: None,
                    batch: &batch.name(),
                    format: "",
                },
                offset: *offset,
                time_ms: *time_ms,
                level: None,
                status: None,
                line: b"x",
            };
            writer.append(&record).expect("added");
        }
        let mut db = IndexDb::open_or_create(dir.path()).expect("an index");
        record(&mut db, batch, bytes, writer.sync(0).expect("synced"));
    }

    /// The offsets and times of the lines before, of the line, and of those after it.
    fn around(
        (dir, ledger, batch): &(TempDir, Ledger, Batch),
        offset: u64,
        lines: usize,
    ) -> Result<Option<Vec<(u64, i64)>>, SearchError> {
        let formats = FormatsByLog::default();
        let host = host(ledger, dir.path(), &formats);
        let id = LineId {
            batch: batch.name(),
            offset,
        };
        let found = lines_around(host, &id, lines, Timestamp::now(), &|| true)?;
        Ok(found.map(|LinesAround { before, line, after }| {
            let hits = before.into_iter().chain([line]).chain(after);
            hits.map(|hit| (hit.offset, hit.time_ms)).collect()
        }))
    }

    #[test]
    fn line_of_the_store_is_found_whatever_its_time_is() {
        let host = batch_of(&[b'x'; 2000]);
        let start = host.2.window.start * 1000;
        let old = start - 90 * 86_400_000;
        let lines: Vec<(u64, i64)> = (0..1000).map(|number| (number * 2, start)).collect();
        let mut mixed = lines.clone();
        for (_, time) in &mut mixed[500..504] {
            *time = old;
        }
        index(&host.0, &host.2, &mixed, 2000);
        assert_eq!(
            around(&host, 4, 1).expect("read").as_deref(),
            Some(&lines[1..4]),
            "of its window"
        );
        assert_eq!(around(&host, 0, 0).expect("read").as_deref(), Some(&lines[..1]));
        assert_eq!(
            around(&host, 1002, 1).expect("read").as_deref(),
            Some(&mixed[500..503])
        );
        assert_eq!(around(&host, 1001, 1).expect("read"), None);
    }

    #[test]
    fn piece_of_a_very_long_line_is_found() {
        let host = batch_of(&[b'x'; 20]);
        let spool = Spool::new(RealDisk, host.0.path());
        put_file(&RealDisk, &spool.path(&host.2, BatchState::Open), &[b'x'; 20]);
        let start = host.2.window.start * 1000;
        index(&host.0, &host.2, &[(0, start), (8, start)], 20);
        assert_eq!(
            around(&host, 8, 0).expect("read").as_deref(),
            Some(&[(8, start)][..])
        );
        assert_eq!(around(&host, 9, 0).expect("read"), None);
    }

    #[test]
    fn line_that_search_shows_is_found_though_the_ledger_does_not_know_its_batch() {
        let (dir, ledger, batch) = batch_of(&[b'x'; 20]);
        let start = batch.window.start * 1000;
        let lines: Vec<(u64, i64)> = (0..10).map(|number| (number * 2, start)).collect();
        index(&dir, &batch, &lines, 20);
        let other = tempfile::tempdir().expect("a folder");
        let rebuilt = Ledger::open_or_create(other.path()).expect("a ledger");
        let host = (dir, rebuilt, batch);
        assert_eq!(around(&host, 4, 1).expect("read").as_deref(), Some(&lines[1..4]));
        assert_eq!(around(&host, 5, 1).expect("read"), None);
        // One that was restored from a copy has fewer bytes of it.
        let (dir, _, batch) = host;
        let mut restored = ledger;
        logferry_testkit::batches::commit(&mut restored, &batch, b"x");
        let host = (dir, restored, batch);
        assert_eq!(around(&host, 4, 0).expect("read").as_deref(), Some(&lines[2..3]));
    }

    #[test]
    fn line_without_a_time_has_that_of_the_line_before_though_nobody_asked_for_that_one() {
        let text = b"192.0.2.1 - - [21/Nov/2026:08:20:03 +0000] \"GET /a HTTP/1.1\" 200 5\n  at Main.java\n  at Test.java\n";
        let host = batch_of(text);
        let spool = Spool::new(RealDisk, host.0.path());
        put_file(&RealDisk, &spool.path(&host.2, BatchState::Open), text);
        let at = u64::try_from(text.len()).unwrap() - 15;
        let own = 1_795_249_203_000;
        let window = host.2.window;
        let shown = own.clamp(window.start * 1000, window.end() * 1000 - 1);
        let line = |lines| around(&host, at, lines).expect("read").expect("found");
        assert_eq!(line(0), [(at, shown)], "as a search of the spool shows it");
        assert_eq!(line(1), [(at - 15, shown), (at, shown)]);
        index(&host.0, &host.2, &[], at);
        assert_eq!(line(0), [(at, shown)]);
        index(&host.0, &host.2, &[], at + 15);
        assert_eq!(line(0), [(at, own)], "as the store has it");
        assert_ne!(own, shown);
    }

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
}
