//! For tests: a frame with a hit is never left out by its filter.

use logferry_fields::{Format, LineReader};

use super::frame_files::FrameWords;
use super::line_tests::{LineContext, LineTests};
use crate::frame::{FrameEntry, NewLine, OriginRecord};
use crate::query::Query;
use crate::record::LineRecord;
use crate::segment::WordsRecord;
use crate::writer::PendingFrame;

/// Makes a frame of one line, and panics if the line is a hit and the filter says that there is none.
pub(crate) fn check_frame(query: &Query, line: &LineRecord<'_>, format: &Format) {
    let mut frame = PendingFrame::default();
    frame.add(&NewLine::of_record(line), line.line);
    let origin = OriginRecord {
        source: line.origin.source.to_string(),
        group: line.origin.group.to_string(),
        log: String::new(),
        batch: line.origin.batch.to_owned(),
        format: line.origin.format.to_owned(),
    };
    let context = LineContext {
        origin: &origin,
        offset: line.offset,
        time_ms: line.time_ms,
        level: line.level,
        status: line.status.unwrap_or(0),
    };
    let tests = LineTests::new(query);
    let mut reader = LineReader::new(format, 0);
    let is_hit = tests.find(&frame.text).into_iter().any(|found| {
        let bytes = frame.text.get(found.range).unwrap_or_default();
        tests.fulfils(bytes, &context, &mut reader)
    });
    let entry = FrameEntry {
        offset: 0,
        header_len: 0,
        text_len: 0,
        raw_len: 0,
        lines: 1,
        min_ms: line.time_ms,
        max_ms: line.time_ms,
    };
    let record = WordsRecord::write(&entry, frame.filter.bytes());
    let record = WordsRecord::read(&record);
    assert!(
        !is_hit || record.is_some_and(|record| FrameWords::of(query).may_be_in(&record)),
        "the filter hides a hit of {query:?}"
    );
}
