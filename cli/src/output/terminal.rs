//! Lines of log on a terminal. Anybody can put terminal commands into a request: none reaches the terminal.

use std::ops::Range;

use logferry_text::TERMINAL_COLUMNS;

/// Rows of a terminal that does not say how many it has.
const ROWS: usize = 24;

/// How many rows the terminal of stdout has.
pub(crate) fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let rows = size.map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0);
    rows.unwrap_or(ROWS)
}

/// How many columns the terminal of stdout has, but at least [`TERMINAL_COLUMNS`]; so many if stdout is no terminal.
pub(crate) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map_or(TERMINAL_COLUMNS, |size| {
        usize::from(size.ws_col).max(TERMINAL_COLUMNS)
    })
}

/// Escapes control characters and bytes that are no text, as `\x1b`.
pub(crate) fn escape(line: &[u8], text: &mut Vec<u8>) {
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() && !matches!(character, '\n' | '\t') {
                text.extend(character.escape_default().to_string().bytes());
            } else {
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            text.extend(format!("\\x{byte:02x}").bytes());
        }
    }
}

/// Escapes a line, with the ranges in bold red. They are in order and do not overlap.
pub(crate) fn highlight(line: &[u8], ranges: &[Range<usize>], text: &mut Vec<u8>) {
    let mut at = 0;
    for range in ranges {
        escape(line.get(at..range.start).unwrap_or_default(), text);
        text.extend_from_slice(b"\x1b[1;31m");
        escape(line.get(range.clone()).unwrap_or_default(), text);
        text.extend_from_slice(b"\x1b[0m");
        at = range.end;
    }
    escape(line.get(at..).unwrap_or_default(), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_terminal_commands_are_left() {
        let mut text = Vec::new();
        highlight(b"a \x1b[2Jerror\xff \xc2\x9b\r", &[0..1, 6..11], &mut text);
        let text = String::from_utf8(text).unwrap();
        let red = |word: &str| format!("\u{1b}[1;31m{word}\u{1b}[0m");
        assert_eq!(
            text,
            format!("{} \\u{{1b}}[2J{}\\xff \\u{{9b}}\\r", red("a"), red("error"))
        );
    }
}
