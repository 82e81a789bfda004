//! Text that fits a terminal.

use crate::escape_controls;

/// Columns of a terminal, unless a person made it wider.
pub const TERMINAL_COLUMNS: usize = 80;

/// The text in lines that fit a terminal, all but the first indented by two; each ends with a line end. A word that is too
/// long for a line, such as a path, gets a line of its own and is not broken, so that it can be copied.
pub fn wrapped(text: &str) -> String {
    wrapped_to(TERMINAL_COLUMNS, text)
}

/// The same for so many columns. A word in it may be the name of a file, which can have any: control characters are escaped.
pub fn wrapped_to(columns: usize, text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    let text = text.split_whitespace().map(escape_controls);
    for word in text {
        let is_full = line.chars().count() + 1 + word.chars().count() > columns;
        if is_full && !line.trim_start().is_empty() {
            lines.push_str(&line);
            lines.push('\n');
            " ".clone_into(&mut line);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_continues_indented_and_no_word_is_broken() {
        let (word, path) = ("word ".repeat(15), "/p".repeat(50));
        assert_eq!(wrapped("short"), "short\n");
        assert_eq!(wrapped("a\u{1b}[2J\nb"), "a\\u{1b}[2J b\n");
        let text = wrapped(&format!("{word}end {path} x"));
        assert_eq!(text, format!("{word}end\n  {path}\n  x\n"));
        let fits = "w".repeat(80);
        assert_eq!(wrapped(&fits), fits.clone() + "\n");
        assert_eq!(wrapped(&format!("a {fits} b")), format!("a\n  {fits}\n  b\n"));
        assert_eq!(wrapped_to(100, &format!("a {fits} b")), format!("a {fits} b\n"));
    }
}
