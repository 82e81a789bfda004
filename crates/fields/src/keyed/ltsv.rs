//! LTSV: `label:value` fields between tabs (ltsv.org). nginx escapes tabs, so a client's value cannot hold a field.

use std::ops::Range;

use logferry_time_windows::{LineTime, TimeReader};

use super::time_key::BestTime;

/// Whether each field of the line has a label, and there is more than one.
pub(crate) fn is_ltsv(line: &[u8]) -> bool {
    starts_with_label(line)
        && line.contains(&b'\t')
        && fields(line).all(|field| starts_with_label(&line[field]))
}

fn starts_with_label(field: &[u8]) -> bool {
    let is_of_label = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.-@".contains(byte);
    // `2026-11-21T08:20:03` is no label.
    let is_word = field
        .first()
        .is_some_and(|first| !first.is_ascii_digit() && *first != b':');
    is_word && field.get(field.iter().take_while(is_of_label).count()) == Some(&b':')
}

pub(crate) fn time(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let mut best = BestTime::default();
    for (label, value) in labels(line) {
        best.offer(&line[label], &line[value], 1, times);
        if best.is_best() {
            break;
        }
    }
    best.time()
}

/// Each label and its value.
pub(crate) fn labels(line: &[u8]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    fields(line).filter_map(|field| {
        let colon = field.start + memchr::memchr(b':', &line[field.clone()])?;
        Some((field.start..colon, colon + 1..field.end))
    })
}

/// The fields that are not empty.
fn fields(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\t', line).chain(std::iter::once(line.len()));
    let fields = ends.map(move |end| {
        let field = start..end;
        start = end + 1;
        field
    });
    fields.filter(|field| !field.is_empty())
}
