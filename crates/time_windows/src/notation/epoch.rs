//! Numbers since 1970.

use super::calendar::digit_count;
use super::{FoundTime, LineTime};

/// The first second of 2000 and of 2100. A number outside is an amount or an id. The ranges of seconds, milliseconds,
/// microseconds and nanoseconds do not overlap.
const YEARS: std::ops::Range<u64> = 946_684_800..4_102_444_800;

pub(super) fn read(text: &[u8]) -> Option<(FoundTime, bool)> {
    let count = digit_count(text);
    if !(9..=19).contains(&count) {
        return None;
    }
    let number = text[..count].iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    let units = [1, 1_000, 1_000_000, 1_000_000_000];
    let unit = units.into_iter().find(|unit| YEARS.contains(&(number / unit)))?;
    let seconds = i64::try_from(number / unit).ok()?;
    let fraction = match text.get(count..) {
        Some([b'.', rest @ ..]) => digit_count(rest),
        _ => 0,
    };
    let len = if fraction > 0 { count + 1 + fraction } else { count };
    let time = LineTime {
        unix: seconds,
        utc_offset: 0,
    };
    Some((FoundTime { time, len }, fraction > 0 && unit == 1))
}
