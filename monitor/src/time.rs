//! Times for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time in the reader's zone: `2026-11-21 08:20:03 +06:00`.
pub(crate) fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T %:z").to_string()
}
