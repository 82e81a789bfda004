//! Times: for people, of the clock, and the time that is trusted (`trusted_time`) however this host's clock is set.

pub(crate) mod clock_schedule;
pub(crate) mod trusted_time;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time in the reader's zone: `2026-11-21 08:20:03 +06:00`.
pub(crate) fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T %:z").to_string()
}

/// So much later; earlier if negative.
pub(crate) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    at.checked_add(by).unwrap_or(end)
}
