//! ISO 8601 in its extended and its basic form, and the date with slashes of nginx's error log.

use super::FoundTime;
use super::calendar::{Civil, digit_count, digits, zone};

pub(super) fn read(text: &[u8], default_zone: i32) -> Option<FoundTime> {
    let (civil, mut len) = extended(text).or_else(|| basic(text))?;
    if let [b'.' | b',', fraction @ ..] = text.get(len..)?
        && let count @ 1.. = digit_count(fraction)
    {
        len += 1 + count;
    }
    let (utc_offset, zone_len) = zone_at(text.get(len..)?).unwrap_or((default_zone, 0));
    Some(FoundTime {
        time: civil.at_offset(utc_offset)?,
        len: len + zone_len,
    })
}

/// `2026-11-21T08:20:03`.
fn extended(text: &[u8]) -> Option<(Civil, usize)> {
    let stamp: &[u8; 19] = text.first_chunk()?;
    let separators = [stamp[4], stamp[7], stamp[13], stamp[16]];
    if separators != *b"--::" && separators != *b"//::" || !matches!(stamp[10], b'T' | b't' | b' ') {
        return None;
    }
    let civil = Civil {
        year: digits(&stamp[..4])?,
        month: digits(&stamp[5..7])?,
        day: digits(&stamp[8..10])?,
        hour: digits(&stamp[11..13])?,
        minute: digits(&stamp[14..16])?,
        second: digits(&stamp[17..19])?,
    };
    Some((civil, stamp.len()))
}

/// `20261121T082003`.
fn basic(text: &[u8]) -> Option<(Civil, usize)> {
    let stamp: &[u8; 15] = text.first_chunk()?;
    if stamp[8] != b'T' {
        return None;
    }
    let civil = Civil {
        year: digits(&stamp[..4])?,
        month: digits(&stamp[4..6])?,
        day: digits(&stamp[6..8])?,
        hour: digits(&stamp[9..11])?,
        minute: digits(&stamp[11..13])?,
        second: digits(&stamp[13..15])?,
    };
    Some((civil, stamp.len()))
}

/// The offset of the zone that the text begins with, and its length.
fn zone_at(text: &[u8]) -> Option<(i32, usize)> {
    let (known, len) = match text {
        [b'Z' | b'z', ..] => (Some(0), 1),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] => (zone(&[*sign, *h1, *h2, *m1, *m2]), 6),
        [b'+' | b'-', ..] if digit_count(&text[1..]) == 4 => (zone(&text[..5]), 5),
        [sign @ (b'+' | b'-'), h1, h2, ..] if digit_count(&text[1..]) == 2 => {
            (zone(&[*sign, *h1, *h2, b'0', b'0']), 3)
        }
        [b' ', b'+' | b'-', ..] if digit_count(&text[2..]) == 4 => (zone(&text[1..6]), 6),
        _ => (None, 0),
    };
    known.map(|offset| (offset, len))
}
