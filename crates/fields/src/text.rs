//! The borders of fields in a line whose format is not known: separators and quotes.

use memchr::memchr;

/// Whether the byte separates fields.
pub(crate) fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'|'
            | b','
            | b';'
            | b'"'
            | b'\''
            | b'['
            | b']'
            | b'('
            | b')'
            | b'{'
            | b'}'
            | b'<'
            | b'>'
    )
}

/// Whether a field ends before this text. A colon ends one if a space follows: `2026-11-21 08:20:03: started`.
pub(crate) fn ends_field(rest: &[u8]) -> bool {
    match rest {
        [] | [b':'] | [b':', b' ' | b'\t', ..] => true,
        [byte, ..] => is_separator(*byte),
    }
}

/// Whether the byte at `at` has a backslash before it that is not escaped itself.
pub(crate) fn is_escaped(text: &[u8], at: usize) -> bool {
    let backslashes = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes % 2 == 1
}

/// The next quote at or after `from` that has no backslash before it.
pub(crate) fn find_quote(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b'"', text.get(at..)?)?;
        if at == from || !is_escaped(&text[from..], at - from) {
            return Some(at);
        }
        at += 1;
    }
}

/// A line without its end.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
