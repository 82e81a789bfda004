//! The names of times, and the time in a value.

use logferry_time_windows::{LineTime, TimeReader};

use crate::text::{ends_field, is_separator};

/// Names of the time of a line, the best first. Upper and lower case are equal.
const TIME_KEYS: [&str; 42] = [
    "time",
    "timestamp",
    "@timestamp",
    "time_local",
    "time_iso8601",
    "iso8601",
    "msec",
    "ts",
    "datetime",
    "date",
    "@t",
    "t",
    "epoch",
    "date_time",
    "timelocal",
    "time_stamp",
    "time_utc",
    "timestamp_utc",
    "utc_time",
    "local_time",
    "localtime",
    "time_msec",
    "time_ms",
    "timestamp_ms",
    "ts_ms",
    "epoch_ms",
    "unixtime",
    "unix_time",
    "unix_timestamp",
    "eventtime",
    "event_time",
    "event_timestamp",
    "logtime",
    "log_time",
    "log_timestamp",
    "access_time",
    "server_time",
    "asctime",
    "created_at",
    "createdat",
    "__realtime_timestamp",
    "$date",
];

/// Words in names of what a client sent.
const CLIENT_WORDS: [&str; 12] = [
    "http_", "arg", "cookie", "header", "query", "param", "request", "body", "form", "user", "client",
    "referer",
];

const LONGEST_KEY: usize = 24;

/// The place of a name among the names of times; 0 is the best.
fn rank(key: &[u8]) -> Option<usize> {
    if key.len() > LONGEST_KEY {
        return None;
    }
    TIME_KEYS
        .iter()
        .position(|known| key.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether an object of this name holds what a client sent.
pub(crate) fn is_client_key(key: &[u8]) -> bool {
    let key = key.to_ascii_lowercase();
    CLIENT_WORDS
        .iter()
        .any(|word| key.windows(word.len()).any(|part| part == word.as_bytes()))
}

/// Whether the text ends with the name of a time, a field of its own.
pub(crate) fn ends_with_key(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    let is_of_key = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_@$".contains(byte);
    let len = text
        .iter()
        .rev()
        .take(LONGEST_KEY + 1)
        .take_while(is_of_key)
        .count();
    let (before, key) = text.split_at(text.len() - len);
    rank(key).is_some() && before.last().is_none_or(|byte| is_separator(*byte))
}

/// The best of the times so far, by the place of its name.
#[derive(Debug, Default)]
pub(super) struct BestTime {
    best: Option<(usize, LineTime)>,
}

impl BestTime {
    /// Looks at a name and its value, which ends with the text. Names inside of objects count after all others.
    pub(super) fn offer(&mut self, key: &[u8], value: &[u8], depth: usize, times: &mut TimeReader) {
        let Some(rank) = rank(key) else { return };
        let rank = rank + depth.saturating_sub(1) * TIME_KEYS.len();
        if self.best.is_none_or(|(best, _)| rank < best)
            && let Some(time) = value_time(value, times)
        {
            self.best = Some((rank, time));
        }
    }

    /// Whether no better time can come.
    pub(super) fn is_best(&self) -> bool {
        matches!(self.best, Some((0, _)))
    }

    pub(super) fn time(self) -> Option<LineTime> {
        self.best.map(|(_, time)| time)
    }
}

/// The time that a value begins with, in any notation. The server gave the value its name, so a number is enough.
pub(crate) fn value_time(value: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let stamp = value.strip_prefix(b"[").unwrap_or(value);
    let found = times
        .written(stamp)
        .or_else(|| times.number(stamp).map(|(found, _)| found))?;
    ends_field(stamp.get(found.len..)?).then_some(found.time)
}
