//! The time in a line. Two files can begin with the same lines without a time, such as a program's greeting; but a line with
//! a time is that of one event, wherever it stands.

use std::sync::LazyLock;

use logferry_fields::{Format, LineClock};
use logferry_time_windows::TimestampFormat;

/// Another arrival than 1970: a time without a year then has another year.
const OTHER_ARRIVAL: i64 = 1_000_000_000;
/// Another zone than UTC.
const OTHER_ZONE: i32 = 3600;

/// In seconds since 1970; year and zone are guesses if the line has none.
pub(crate) fn time_of(line: &[u8]) -> Option<i64> {
    read(line, 0, 0)
}

/// The time of a line that has the year; without a zone it counts as UTC. Such times are in the right order in one log.
pub(crate) fn dated_time_of(line: &[u8]) -> Option<i64> {
    time_of(line).filter(|&time| read(line, OTHER_ARRIVAL, 0) == Some(time))
}

/// The time of a line that has the year and the zone. Only such a one can be compared with a time of the system.
pub(crate) fn exact_time_of(line: &[u8]) -> Option<i64> {
    dated_time_of(line).filter(|&time| read(line, 0, OTHER_ZONE) == Some(time))
}

fn read(line: &[u8], arrival: i64, default_zone: i32) -> Option<i64> {
    static AUTO: LazyLock<Format> = LazyLock::new(Format::default);
    let clock = LineClock::new(&AUTO, TimestampFormat::Auto, arrival);
    let time = clock.with_default_zone(default_zone).read(line)?;
    Some(time.unix)
}

/// Whether one of the whole lines of `bytes` has a time; `bytes` begins at the start of a line.
pub(crate) fn is_timed(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines.any(|line| line.ends_with(b"\n") && time_of(line).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_exact_with_year_and_zone_only() {
        for (line, is_dated, is_exact) in [
            (
                "192.0.2.1 - - [21/Nov/2026:08:20:03 +0600] \"GET /\" 200 1",
                true,
                true,
            ),
            ("2026-11-21T08:20:03+06:00 x", true, true),
            ("2026-11-21T08:20:03Z x", true, true),
            ("1795227603.123 x", true, true),
            ("{\"time\": \"2026-11-21T08:20:03Z\"}", true, true),
            ("2026/11/21 02:20:03 [error] 7#7: *1 open() failed", true, false),
            ("2026-11-21 02:20:03,123 - root - x", true, false),
            ("Oct 11 22:14:15 host cron[1]: x", false, false),
        ] {
            let line = line.as_bytes();
            assert!(time_of(line).is_some());
            assert_eq!(
                (dated_time_of(line).is_some(), exact_time_of(line).is_some()),
                (is_dated, is_exact),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }
}
