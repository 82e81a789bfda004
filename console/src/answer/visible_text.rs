//! Text in which no character has an effect where it is shown.

use std::fmt::Write as _;

use super::json_body::has_effect;

/// A line without characters that do something: they are written as `\u{9b}`, other bytes as `\xff`.
pub(crate) fn visible(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character != '\t' && (character.is_control() || has_effect(character)) {
                text.extend(character.escape_unicode());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_or_the_eye_would_obey_is_shown_as_what_it_is() {
        assert_eq!(visible(b"a\x1b[2Jb\x00\xff"), "a\\u{1b}[2Jb\\u{0}\\xff");
        assert_eq!(visible("x\u{202e}txt.exe".as_bytes()), "x\\u{202e}txt.exe");
        assert_eq!(visible("tab\tstays <b>".as_bytes()), "tab\tstays <b>");
    }
}
