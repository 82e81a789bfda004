//! logfmt: `key=value key="quoted value"`.

use std::ops::Range;

use logferry_time_windows::{LineTime, TimeReader};

use super::time_key::BestTime;
use crate::text::find_quote;

/// Whether the line is logfmt, and not a text that has a `=` in it: it begins with a pair, and has several.
pub(crate) fn is_logfmt(line: &[u8]) -> bool {
    let mut pairs = pairs(line);
    let first = pairs.next();
    first.is_some_and(|(key, _)| key.start == 0 && key.end > 0) && pairs.next().is_some()
}

pub(crate) fn time(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let mut best = BestTime::default();
    for (key, value) in pairs(line) {
        // A time without quotes may have a space in it, so the value is not cut off there.
        let is_quoted = line.get(value.end) == Some(&b'"');
        let end = if is_quoted { value.end } else { line.len() };
        best.offer(&line[key], &line[value.start..end], 1, times);
        if best.is_best() {
            break;
        }
    }
    best.time()
}

/// Each key and its value, without quotes. A word without `=` is skipped.
pub(crate) fn pairs(line: &[u8]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = line.get(at..)?;
            let start = at + rest.iter().position(|byte| *byte != b' ')?;
            let is_of_key = |byte: &&u8| !matches!(byte, b' ' | b'=' | b'"');
            let key = start..start + line[start..].iter().take_while(is_of_key).count();
            match (line.get(key.end), line.get(key.end + 1)) {
                (Some(b'='), Some(b'"')) => {
                    let value = key.end + 2..find_quote(line, key.end + 2).unwrap_or(line.len());
                    at = value.end + 1;
                    return Some((key, value));
                }
                (Some(b'='), _) => {
                    let value = key.end + 1..next_space(line, key.end + 1);
                    at = value.end;
                    return Some((key, value));
                }
                // A quoted string without a key.
                (Some(b'"'), _) => at = find_quote(line, key.end + 1)? + 1,
                _ => at = key.end,
            }
        }
    })
}

fn next_space(line: &[u8], from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    memchr::memchr(b' ', rest).map_or(line.len(), |space| from + space)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_read_with_and_without_quotes() {
        let line = r#"time=1 x msg="a \"b\" c=2" "d=3" e= f="cut"#;
        let shown: Vec<_> = pairs(line.as_bytes())
            .map(|(key, value)| format!("{}={}", &line[key], &line[value]))
            .collect();
        assert_eq!(shown, ["time=1", r#"msg=a \"b\" c=2"#, "e=", "f=cut"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(line: Vec<u8>, text in "[= \"\\\\a]{0,60}") {
            for line in [&line[..], text.as_bytes()] {
                for (key, value) in pairs(line) {
                    prop_assert!(key.end < value.start && value.start <= value.end && value.end <= line.len());
                }
            }
        }
    }
}
