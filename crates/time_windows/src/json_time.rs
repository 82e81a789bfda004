//! The time in a line of log that is JSON: `{"time": "2026-11-21T08:20:03+06:00", …}`.
//!
//! Pure. Such a line names its values, so the time is the value whose key says so. What merely looks like one, in a
//! request or a referer that anybody can write, is passed over.

use memchr::{memchr_iter, memrchr};

/// How far into the line its time is looked for: keys may stand in any order, behind long requests.
const SEARCH_SPAN: usize = 4096;

/// How many keys of the line are looked at.
const MAX_KEYS: usize = 64;

/// Keys whose value is the time, beside those that hold `time` or `date`.
const TIME_KEYS: [&[u8]; 4] = [b"ts", b"t", b"epoch", b"msec"];

/// Where the values of `line` that may be its time begin, without their quotes; none if it is no JSON object.
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

/// The key that ends there. A quote that is escaped is part of a value, and no key's.
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
