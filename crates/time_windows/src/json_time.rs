//! The time in a JSON line: `{"time": "2026-11-21T08:20:03+06:00", …}`.
//!
//! Pure. The key tells which value is the time. A time inside another value, such as the request or the referer, is
//! ignored: any client can write one.

use memchr::{memchr_iter, memrchr};

/// Bytes of the line that are searched. Keys have any order, and a request before the time can be long.
const SEARCH_SPAN: usize = 4096;

/// Keys of the line that are compared.
const MAX_KEYS: usize = 64;

/// Keys of the time, besides keys that contain `time` or `date`.
const TIME_KEYS: [&[u8]; 4] = [b"ts", b"t", b"epoch", b"msec"];

/// The values of `line` that may be its time, each up to the end of the line and without its opening quote. None if the
/// line is not a JSON object.
pub(crate) fn values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let line = match line {
        [b'{', ..] => &line[..line.len().min(SEARCH_SPAN)],
        _ => &[],
    };
    memchr_iter(b':', line)
        .filter_map(move |colon| key_before(&line[..colon]).map(|key| (key, &line[colon + 1..])))
        .take(MAX_KEYS)
        .filter(|(key, _)| is_of_time(key))
        .map(|(_, value)| {
            let value = value.trim_ascii_start();
            value.strip_prefix(b"\"").unwrap_or(value)
        })
}

/// The key at the end of `text`. An escaped quote is part of a value, so there is no key.
fn key_before(text: &[u8]) -> Option<&[u8]> {
    let inside = text.trim_ascii_end().strip_suffix(b"\"")?;
    let key = &inside[memrchr(b'"', inside)? + 1..];
    (!key.contains(&b'\\')).then_some(key)
}

fn is_of_time(key: &[u8]) -> bool {
    let holds = |word: &[u8; 4]| key.windows(4).any(|part| part.eq_ignore_ascii_case(word));
    holds(b"time") || holds(b"date") || TIME_KEYS.iter().any(|known| key.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let until_end = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        values(line.as_bytes()).map(until_end).collect()
    }

    #[test]
    fn only_the_values_of_times_are_looked_at() {
        assert_eq!(
            texts(r#"{"uri":"/?time:1","ts" : 7,"n":{"@timestamp":"x"}}"#),
            [r#"7,"n":{"@timestamp":"x"}}"#, r#"x"}}"#]
        );
        assert_eq!(texts(r#"{"uri":"\"time\":9","Date":"a"}"#), [r#"a"}"#]);
        assert_eq!(texts(r#"x {"time":1}"#), [""; 0]);
        assert_eq!(texts("{time:1}"), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(line: Vec<u8>, text in "[{\":time\\\\ 1]{0,60}") {
            values(&line).for_each(drop);
            values(text.as_bytes()).for_each(drop);
        }
    }
}
