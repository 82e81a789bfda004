//! A line that is a JSON object, read without building anything.
//!
//! Invariants: each byte is looked at a bounded number of times. A line that is cut off gives the members before the cut.

use std::ops::{ControlFlow, Range};

use logferry_time_windows::{LineTime, TimeReader};

use super::time_key::{BestTime, is_client_key};
use crate::text::find_quote;

/// A member of an object. Strings are without their quotes, as they are escaped. The value of an object ends with the line:
/// its end is not searched unless it is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// 1 for members of the line's own object.
    pub(crate) depth: usize,
    pub(crate) key: Range<usize>,
    pub(crate) value: Range<usize>,
    pub(crate) is_object: bool,
}

/// Whether the line begins like a JSON object.
pub(crate) fn is_json(line: &[u8]) -> bool {
    if !line
        .first()
        .is_some_and(|first| *first == b'{' || first.is_ascii_whitespace())
    {
        return false;
    }
    let inside = line.trim_ascii_start().strip_prefix(b"{");
    inside.is_some_and(|inside| matches!(inside.trim_ascii_start().first(), Some(b'"' | b'}')))
}

/// The time of a line: the best name of its own members, then of objects in it, but never of what a client sent.
pub(crate) fn time(line: &[u8], times: &mut TimeReader) -> Option<LineTime> {
    let mut best = BestTime::default();
    members(line, |member| {
        let key = &line[member.key.clone()];
        if member.is_object {
            return ControlFlow::Continue(!is_client_key(key));
        }
        best.offer(key, &line[member.value.clone()], member.depth, times);
        if best.is_best() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(false)
    });
    best.time()
}

/// Calls `visit` for each member, the outer before the inner. For an object, its answer says whether to look into it. Lists
/// are not looked into.
pub(crate) fn members(line: &[u8], mut visit: impl FnMut(&Member) -> ControlFlow<(), bool>) {
    let mut at = skip_space(line, 0);
    if line.get(at) != Some(&b'{') {
        return;
    }
    at += 1;
    let mut depth = 1;
    while depth > 0 {
        at = skip_space(line, at);
        match line.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => {
                depth -= 1;
                at += 1;
            }
            Some(b'"') => match member(line, at, depth) {
                None => return,
                Some(member) => {
                    let descends = match visit(&member) {
                        ControlFlow::Break(()) => return,
                        ControlFlow::Continue(descends) => descends && member.is_object,
                    };
                    if descends {
                        depth += 1;
                        at = member.value.start + 1;
                    } else if member.is_object {
                        at = container_end(line, member.value.start);
                    } else {
                        let is_string = line.get(member.value.end) == Some(&b'"');
                        at = member.value.end + usize::from(is_string);
                    }
                }
            },
            _ => return,
        }
    }
}

/// The member whose key begins with the quote at `at`.
fn member(line: &[u8], at: usize, depth: usize) -> Option<Member> {
    let key = at + 1..find_quote(line, at + 1)?;
    let colon = skip_space(line, key.end + 1);
    if line.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip_space(line, colon + 1);
    let (value, is_object) = match line.get(start)? {
        b'"' => (
            start + 1..find_quote(line, start + 1).unwrap_or(line.len()),
            false,
        ),
        b'{' => (start..line.len(), true),
        b'[' => (start..container_end(line, start), false),
        _ => {
            let is_of_scalar = |byte: &&u8| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t');
            let len = line[start..].iter().take_while(is_of_scalar).count();
            (start..start + len, false)
        }
    };
    Some(Member {
        depth,
        key,
        value,
        is_object,
    })
}

/// The end of the object or list that begins at `start`; the end of the line if it is cut off.
pub(crate) fn container_end(line: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    while let Some(byte) = line.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => match find_quote(line, at + 1) {
                Some(end) => at = end,
                None => return line.len(),
            },
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    line.len()
}

fn skip_space(line: &[u8], at: usize) -> usize {
    let rest = line.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(line: &str) -> Vec<String> {
        let mut shown = Vec::new();
        members(line.as_bytes(), |member| {
            let mut value = member.value.clone();
            if member.is_object {
                value.end = container_end(line.as_bytes(), value.start);
            }
            let (key, value) = (&line[member.key.clone()], &line[value]);
            shown.push(format!("{} {key}={value}", member.depth));
            ControlFlow::Continue(true)
        });
        shown
    }

    #[test]
    fn members_are_read_in_order_and_into_objects() {
        assert_eq!(
            shown(r#" {"a" : "x\"y" , "b":{"c":1.5,"d":{}},"e":[{"f":1},"]"],"g":null}"#),
            [
                r#"1 a=x\"y"#,
                r#"1 b={"c":1.5,"d":{}}"#,
                "2 c=1.5",
                "2 d={}",
                r#"1 e=[{"f":1},"]"]"#,
                "1 g=null"
            ]
        );
        assert_eq!(shown(r#"{"a":1,"b":"cut of"#), ["1 a=1", "1 b=cut of"]);
        assert_eq!(shown(r#"{"a"x"#), [""; 0]);
        assert_eq!(shown("[1]"), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(line: Vec<u8>, text in "[{}\"\\[\\]\\\\:,1 a]{0,60}") {
            for line in [&line[..], text.as_bytes()] {
                let mut seen = 0;
                members(line, |member| {
                    seen += 1;
                    assert!(member.key.end <= line.len() && member.value.start <= member.value.end);
                    assert!(member.value.end <= line.len());
                    ControlFlow::Continue(true)
                });
                prop_assert!(seen <= line.len());
            }
        }
    }
}
