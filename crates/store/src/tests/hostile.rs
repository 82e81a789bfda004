//! Lines that nobody should write, and are found as they are.

use std::path::Path;

use logferry_testkit::SimDisk;

use super::fixture::{
    Collector, MIDNIGHT_MS, STORE, TestLine, append, hits_of, ids, random, searcher, store_of,
};
use crate::writer::{SegmentLimits, open_with};
use crate::{Query, SearchPage, Searcher};

fn line(offset: u64, bytes: &[u8]) -> TestLine {
    TestLine {
        source: "10.0.0.1".to_owned(),
        log: None,
        batch: "b".to_owned(),
        format: "json",
        offset,
        time_ms: MIDNIGHT_MS,
        level: None,
        status: None,
        field: None,
        bytes: bytes.to_vec(),
    }
}

#[test]
fn hostile_lines_are_found_byte_for_byte() {
    let huge = [b"needle ".as_slice(), &vec![b'x'; 1 << 20], b" tail"].concat();
    let hostile: [&[u8]; 8] = [
        b"",
        b"\0\0needle\0",
        b"\x1b[2J\x1b]0;owned\x07needle\r",
        b"\xff\xfe\xc3needle\xe2\x82",
        &huge,
        b"{\"a\": \"needle\", \"a\": {\"b\": [",
        "\u{202e}needle\u{feff}\u{85}".as_bytes(),
        b"last",
    ];
    let mut lines = Vec::new();
    let mut offset = 0;
    for bytes in hostile {
        lines.push(line(offset, bytes));
        offset += bytes.len() as u64 + 1;
    }
    let (disk, position) = store_of(&lines);
    let (hits, _) = hits_of(
        &searcher(&disk, position),
        &Query::parse("needle").expect("a query"),
        100,
        None,
    );
    let mut found: Vec<_> = hits.iter().map(|hit| hit.line.as_slice()).collect();
    found.reverse();
    assert_eq!(found, hostile[1..7]);
    let (hits, _) = hits_of(
        &searcher(&disk, position),
        &Query::parse("*xxxx*").expect("a query"),
        100,
        None,
    );
    assert_eq!(hits.len(), 1);
    let (hits, _) = hits_of(&searcher(&disk, position), &Query::default(), 2, None);
    assert_eq!(hits.len(), hostile.len());
}

#[test]
fn newline_in_a_line_makes_two_lines() {
    let (disk, position) = store_of(&[line(10, b"one\ntwo\n")]);
    let (hits, _) = hits_of(&searcher(&disk, position), &Query::default(), 10, None);
    assert_eq!(ids(&hits), ["b@14", "b@10"]);
}

#[test]
fn fields_of_a_hit_have_no_escapes() {
    let (disk, position) = store_of(&[line(0, br#"{"user": "J\u00fcrgen", "n": 7}"#)]);
    let search = searcher(&disk, position);
    let query = Query::parse("user:jürgen n:7").expect("a query");
    let page = SearchPage {
        limit: 10,
        with_fields: true,
        ..SearchPage::default()
    };
    let mut collector = Collector::default();
    search
        .search(&query, &page, None, &mut collector)
        .expect("searched");
    let fields = collector.hits.first().map(|hit| hit.fields.clone());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(fields, Some(vec![pair("user", "Jürgen"), pair("n", "7")]));
}

#[test]
fn value_that_touches_words_of_its_format_is_found() {
    let mut joined = line(0, b"rt12s");
    joined.format = "rt${request_time}s";
    let (disk, position) = store_of(&[joined]);
    let search = searcher(&disk, position);
    let query = Query::parse("request_time:12").expect("a query");
    assert_eq!(hits_of(&search, &query, 10, None).0.len(), 1);
}

/// Frames and segments of the sizes that are used.
#[test]
fn frame_with_many_words_is_cut_early() {
    use rand::Rng;
    let disk = SimDisk::new();
    let limits = SegmentLimits::default();
    let mut writer = open_with(disk.clone(), Path::new(STORE), None, MIDNIGHT_MS, limits)
        .expect("opened")
        .writer;
    let mut random = random(1);
    for number in 0..40_000_u64 {
        let text = format!("{:016x}", random.random::<u64>());
        append(&mut writer, &line(number * 17, text.as_bytes())).expect("added");
    }
    let position = writer.sync(MIDNIGHT_MS).expect("synced");
    assert_eq!(writer.frames(), 4);
    let search = Searcher::new(disk, Path::new(STORE), Some(position));
    let (hits, _) = hits_of(&search, &Query::default(), 100_000, None);
    assert_eq!(hits.len(), 40_000);
}
