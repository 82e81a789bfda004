//! Text for people: numbers, durations, tables, the order of names, and an error with its causes.
//!
//! Plain ASCII that reads well on a terminal, in a log file and in a mail. No I/O. Output for programs
//! (JSON, metrics) does not pass through here.

mod natural_order;
mod numbers;
mod table;
mod wrap;

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};

pub use natural_order::natural_order;
pub use numbers::{about, count, count_of, duration, noun_for, size};
pub use table::Table;
pub use wrap::{TERMINAL_COLUMNS, wrapped, wrapped_to};

/// Slips of the documented keys and names are more like them than this; other words are not.
const SLIP: f64 = 0.75;

/// An error and its causes on one line: `cannot read a: permission denied`. A cause that is in the text already, since some
/// errors repeat theirs, is not repeated.
pub fn error_chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| match cause.to_string() {
        cause if text.contains(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

/// Bytes as hexadecimal digits, as `sha256sum` writes them.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _: fmt::Result = write!(hex, "{byte:02x}");
            hex
        })
}

/// The bytes of hexadecimal digits, in upper or lower case; `None` unless there are exactly two for each byte.
pub fn bytes_of_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Text for HTML, between tags or in a quoted attribute: it cannot become markup.
pub fn escape_html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let text = text.replace('>', "&gt;").replace('"', "&quot;");
    text.replace('\'', "&#39;")
}

/// The candidate that is most like `word`, however little that is.
pub fn nearest<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let likeness = |candidate: &&str| strsim::jaro_winkler(word, candidate);
    candidates.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// The candidate that `word` may be a slip of, for "did you mean"; `None` if it is like none of them.
pub fn slip_of<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    nearest(word, candidates).filter(|near| strsim::jaro_winkler(word, near) >= SLIP)
}

/// Text for a terminal: a control character in it does nothing, and is seen as `\u{1b}`.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(2 * text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Whether two names are so alike that one may be a slip of the other.
pub fn is_similar(a: &str, b: &str) -> bool {
    strsim::jaro_winkler(a, b) >= 0.9
}

#[cfg(test)]
mod tests {
    use std::io;

    #[test]
    fn a_word_that_is_like_no_candidate_is_no_slip() {
        let keys = || ["listen", "sources", "name", "tls", "max_connections"].into_iter();
        for (slip, key) in [
            ("listne", "listen"),
            ("source", "sources"),
            ("nmae", "name"),
            ("max_conn", "max_connections"),
        ] {
            assert_eq!(slip_of(slip, keys()), Some(key), "{slip}");
        }
        for other in ["<<", "timeout", "x", "compression", ""] {
            assert_eq!(slip_of(other, keys()), None, "{other}");
        }
        assert!(nearest("x", keys()).is_some());
    }

    #[test]
    fn hexadecimal_digits_become_bytes_only_if_there_are_two_for_each() {
        let bytes = [0x00, 0x7f, 0xff];
        assert_eq!(bytes_of_hex(&hex(&bytes)), Some(bytes));
        assert_eq!(bytes_of_hex("007FFF"), Some(bytes));
        for wrong in ["", "007ff", "007fff0", "+07fff", "00 7ff", "007f\u{e9}"] {
            assert_eq!(bytes_of_hex::<3>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn control_characters_are_seen_and_do_nothing() {
        assert_eq!(escape_controls("/log/\u{e9} b"), "/log/\u{e9} b");
        assert_eq!(escape_controls("\u{1b}[2J\u{9b}a\r\n"), r"\u{1b}[2J\u{9b}a\r\n");
    }

    use super::*;

    #[test]
    fn error_chain_names_every_cause() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("cannot read a")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Outer(io::Error::other("no disk"));
        assert_eq!(error_chain(&error), "cannot read a: no disk");
        assert_eq!(error_chain(&io::Error::other("alone")), "alone");
        // This error shows the error inside it, whose cause is its source.
        let repeating = io::Error::other(Outer(io::Error::other("no disk")));
        assert_eq!(error_chain(&repeating), "cannot read a: no disk");
    }
}
