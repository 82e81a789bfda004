//! The time in a line. Two files can begin with the same lines without a time, such as a program's greeting; but a line with
//! a time is that of one event, wherever it stands.

use std::sync::LazyLock;

use logferry_fields::{Format, LineClock};
use logferry_time_windows::TimestampFormat;

/// In seconds since 1970; the year is a guess if the line has none.
pub(crate) fn time_of(line: &[u8]) -> Option<i64> {
    static AUTO: LazyLock<Format> = LazyLock::new(Format::default);
    let time = LineClock::new(&AUTO, TimestampFormat::Auto, 0).read(line)?;
    Some(time.unix)
}

/// Whether one of the whole lines of `bytes` has a time; `bytes` begins at the start of a line.
pub(crate) fn is_timed(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines.any(|line| line.ends_with(b"\n") && time_of(line).is_some())
}
