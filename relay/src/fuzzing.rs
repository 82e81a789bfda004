//! Checks for arbitrary request bodies, used by the fuzz targets `chunk` and `upload` and by the tests of their corpora.

use std::collections::HashMap;
use std::time::Duration;

use logferry_config::{TimestampFormat, WindowLength};
use logferry_fields::{Format, LineClock};
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd};

use crate::chunk::{WindowSplit, split_by_window};
use crate::http::check_body;
use crate::legacy_upload::parse;

/// Reads a chunk: lines `NAME: VALUE`, an empty line, and the body. A valid header survives writing and reading; a valid
/// body matches its header, is split at line ends, and is not longer than its range.
#[expect(clippy::missing_panics_doc, reason = "it reports a violation by a panic")]
pub fn chunk(data: &[u8]) {
    let (head, body) = parts(data);
    let head = String::from_utf8_lossy(head);
    let pairs: HashMap<&str, &str> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let header = match ChunkHeader::from_pairs(|name| pairs.get(name).copied()) {
        Ok(header) => header,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let written = header.to_pairs();
    let get = |name: &str| {
        let pair = written.iter().find(|(written, _)| *written == name);
        pair.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        ChunkHeader::from_pairs(get).as_ref(),
        Ok(&header),
        "reading the written header gives another one"
    );

    let split = split_in_minutes(body);
    for header in [header.clone(), fitting(header, body, &split)] {
        match check_body(&header, body, crc32c::crc32c(body), split.lines()) {
            Ok(()) => assert_fits(&header, body, &split),
            Err(rejection) => assert_one_line(&rejection.reason),
        }
    }
}

/// Parses a legacy upload. The result has whole lines, none blank, is not longer than the body, and stays the same when it
/// is posted again.
#[expect(clippy::missing_panics_doc, reason = "it reports a violation by a panic")]
pub fn upload(data: &[u8]) {
    let upload = match parse(data) {
        Ok(upload) => upload,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let lines = std::str::from_utf8(&upload.lines).expect("JSON is UTF-8");
    assert!(lines.len() <= data.len() + 1, "longer than the body");
    assert!(lines.is_empty() || lines.ends_with('\n'), "an incomplete line");
    assert!(
        lines.lines().all(|line| !line.trim_ascii().is_empty()),
        "a blank line"
    );
    let again = serde_json::json!({"log": lines, "host": upload.host}).to_string();
    assert_eq!(
        parse(again.as_bytes()).expect("a body"),
        upload,
        "a second parse differs"
    );
    let split = split_in_minutes(&upload.lines);
    assert_covers(&split, &upload.lines);
}

/// The bytes before and after the first empty line.
fn parts(data: &[u8]) -> (&[u8], &[u8]) {
    let border = data.windows(2).position(|pair| pair == b"\n\n");
    border.map_or((data, &[]), |at| (&data[..at], &data[at + 2..]))
}

fn split_in_minutes(body: &[u8]) -> WindowSplit {
    let minute = WindowLength::try_from(Duration::from_mins(1)).expect("divides an hour");
    let format = Format::default();
    split_by_window(body, LineClock::new(&format, TimestampFormat::Auto, 0), minute)
}

/// The header with checksum and line count corrected, which random bytes never match.
fn fitting(header: ChunkHeader, body: &[u8], split: &WindowSplit) -> ChunkHeader {
    ChunkHeader {
        crc32c: crc32c::crc32c(body),
        lines: LineCounts {
            sent: split.lines(),
            ..header.lines
        },
        ..header
    }
}

fn assert_fits(header: &ChunkHeader, body: &[u8], split: &WindowSplit) {
    let newlines = memchr::memchr_iter(b'\n', body).count();
    assert_eq!(header.lines.sent, u64::try_from(newlines).unwrap_or(u64::MAX));
    let added = u64::from(header.line_end == LineEnd::Added);
    let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
    assert!(
        len <= header.range.len().saturating_add(added),
        "longer than its range"
    );
    let is_whole = body.last().is_none_or(|&last| last == b'\n');
    assert!(
        is_whole || header.line_end == LineEnd::Open,
        "it ends inside a line"
    );
    assert_covers(split, body);
}

fn assert_covers(split: &WindowSplit, body: &[u8]) {
    let mut at = 0;
    for run in &split.runs {
        assert_eq!(run.bytes.start, at, "a gap or an overlap");
        assert!(
            at == 0 || body.get(at - 1) == Some(&b'\n'),
            "a split inside a line"
        );
        at = run.bytes.end;
    }
    assert_eq!(at, body.len(), "the runs end before the body");
}

/// The reason is the body of a response, which must be one line.
fn assert_one_line(reason: &str) {
    assert!(
        !reason.is_empty() && !reason.contains(char::is_control),
        "{reason:?}"
    );
    assert!(reason.len() < 1000, "{} bytes of reason", reason.len());
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corpora_of_chunks_and_uploads_hold() {
        for entry in corpus::entries("chunk") {
            chunk(&entry);
        }
        for entry in corpus::entries("upload") {
            upload(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpus_of_chunks_holds(dice: [u16; 6]) {
            chunk(&corpus::mutant("chunk", dice));
        }

        #[test]
        fn changed_corpus_of_uploads_holds(dice: [u16; 6]) {
            upload(&corpus::mutant("upload", dice));
        }
    }
}
