//! The time of a syslog header, which has neither year nor zone.

use super::FoundTime;
use super::calendar::{Civil, digit_count, digits, month};

/// Seconds of a year, on the average.
const YEAR: i64 = 31_556_952;

pub(super) fn read(text: &[u8], arrival: i64, zone: i32) -> Option<FoundTime> {
    let stamp: &[u8; 15] = text.first_chunk()?;
    if [stamp[3], stamp[6], stamp[9], stamp[12]] != *b"  ::" {
        return None;
    }
    let month = month(&stamp[..3])?;
    let day = match &stamp[4..6] {
        [b' ', digit] => digits(&[*digit])?,
        both => digits(both)?,
    };
    let (hour, minute, second) = (
        digits(&stamp[7..9])?,
        digits(&stamp[10..12])?,
        digits(&stamp[13..15])?,
    );
    let about = u32::try_from(1970 + arrival.clamp(0, 8_000 * YEAR) / YEAR).ok()?;
    // The year of arrival may be off by one at its ends, and a leap day exists in one year of four.
    let possible = (about - 5..=about + 5).filter_map(|year| {
        let civil = Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        };
        civil.at_offset(zone)
    });
    let time = possible.min_by_key(|time| time.unix.abs_diff(arrival))?;
    let fraction = match text.get(stamp.len()..) {
        Some([b'.', rest @ ..]) => digit_count(rest),
        _ => 0,
    };
    let len = if fraction > 0 {
        stamp.len() + 1 + fraction
    } else {
        stamp.len()
    };
    Some(FoundTime { time, len })
}
