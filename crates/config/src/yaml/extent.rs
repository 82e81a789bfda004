//! Where a value or an entry of a text ends, and the text without it.
//!
//! The YAML reader stops at the first value of a wrong type. With that value replaced it can go on and find the next one.
//! The replaced text keeps the number of its lines. The search is by indentation, brackets and quotes, and is not a YAML
//! parser: on text that it misjudges, the reader finds a new error of syntax, and its caller stops there.

/// What stands at a position, by the YAML reader's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar,
    Sequence,
    Mapping,
}

/// A position in a text. Line and column as the YAML reader counts them: from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    /// The offset of this position, in bytes.
    fn offset(self, text: &str) -> Option<usize> {
        let before = self.line.checked_sub(1)?;
        let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
        let line = text.get(start..)?.lines().next().unwrap_or("");
        let skipped = line.chars().take(self.column.checked_sub(1)?);
        Some(start + skipped.map(char::len_utf8).sum::<usize>())
    }
}

/// The text with `value` instead of the value at `position`.
pub(crate) fn with_value(text: &str, position: Position, shape: Shape, value: &str) -> Option<String> {
    let at = position.offset(text)?;
    let rest = text.get(at..)?;
    let end = match rest.chars().next()? {
        '{' | '[' => after(rest, |scan, _| scan.depth == 0),
        // Two single quotes are one of the text.
        '"' => after(rest, |scan, _| scan.quote.is_none()),
        '\'' => after(rest, |scan, next| scan.quote.is_none() && next != Some('\'')),
        _ if is_in_flow(text, at) => end_in_flow(rest),
        _ => end_in_block(text, at, shape),
    };
    // A list may stand at the indentation of its key, where no other value may: hence the space.
    Some(replaced(text, at, end, &format!(" {value}")))
}

/// The text without the entry, key and value, that begins at `position`.
pub(crate) fn without_entry(text: &str, position: Position) -> Option<String> {
    let at = position.offset(text)?;
    let rest = text.get(at..)?;
    let end = if is_in_flow(text, at) {
        let end = end_in_flow(rest);
        let is_followed = rest.get(end..).is_some_and(|after| after.starts_with(','));
        end + usize::from(is_followed)
    } else {
        // A list may have the indentation of its key.
        end_in_block(text, at, Shape::Sequence)
    };
    Some(replaced(text, at, end, ""))
}

/// The second entry `key` of the block mapping that begins at `position`.
pub(crate) fn second_entry(text: &str, position: Position, key: &str) -> Option<Position> {
    let is_key = |content: &str| {
        let after = content.trim_start_matches(['"', '\'']).strip_prefix(key);
        after.is_some_and(|after| {
            after
                .trim_start_matches(['"', '\''])
                .trim_start()
                .starts_with(':')
        })
    };
    let indent = position.column.checked_sub(1)?;
    let below = text.lines().enumerate().skip(position.line);
    let of_mapping = below.take_while(|(_, line)| is_silent(line) || indent_of(line) >= indent);
    let mut entries = of_mapping.filter(|(_, line)| indent_of(line) == indent && is_key(line.trim_start()));
    let first = text.lines().nth(position.line.checked_sub(1)?)?;
    let first = first.chars().skip(indent).collect::<String>();
    let (line, _) = if is_key(&first) {
        entries.next()?
    } else {
        entries.nth(1)?
    };
    Some(Position {
        line: line + 1,
        column: position.column,
    })
}

/// The number of spaces at the start of a line.
pub(crate) fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Whether a line is empty or a comment.
pub(crate) fn is_silent(line: &str) -> bool {
    let content = line.trim_start();
    content.is_empty() || content.starts_with('#')
}

/// `text` with `value` and the line breaks of `at..at + length` in its stead.
fn replaced(text: &str, at: usize, length: usize, value: &str) -> String {
    let (before, rest) = text.split_at(at);
    let (gone, after) = rest.split_at(length);
    let breaks = "\n".repeat(gone.matches('\n').count());
    format!("{before}{value}{breaks}{after}")
}

/// Brackets and quotes, read character by character.
struct FlowScan {
    depth: usize,
    quote: Option<char>,
    is_escaped: bool,
    is_comment: bool,
    previous: char,
}

impl FlowScan {
    fn new() -> Self {
        Self {
            depth: 0,
            quote: None,
            is_escaped: false,
            is_comment: false,
            previous: '\n',
        }
    }

    fn take(&mut self, c: char) {
        let begins = self.previous.is_whitespace() || "[{,:".contains(self.previous);
        if self.is_comment {
            self.is_comment = c != '\n';
        } else if let Some(quote) = self.quote {
            if self.is_escaped {
                self.is_escaped = false;
            } else if c == '\\' && quote == '"' {
                self.is_escaped = true;
            } else if c == quote {
                self.quote = None;
            }
        } else {
            match c {
                // In single quotes, two of them are one.
                '"' | '\'' if begins || self.previous == c => self.quote = Some(c),
                '#' if self.previous.is_whitespace() => self.is_comment = true,
                '[' | '{' if begins => self.depth += 1,
                ']' | '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.previous = c;
    }

    /// Whether the next character counts as YAML, not as part of a quoted text or a comment.
    fn is_bare(&self) -> bool {
        self.quote.is_none() && !self.is_comment
    }
}

/// The length of the text up to and with the first character after which `is_done`, which also gets the next character; the
/// whole without one.
fn after(text: &str, is_done: impl Fn(&FlowScan, Option<char>) -> bool) -> usize {
    let mut scan = FlowScan::new();
    let nexts = text.chars().skip(1).map(Some).chain([None]);
    let end = text.char_indices().zip(nexts).find_map(|((at, c), next)| {
        scan.take(c);
        is_done(&scan, next).then(|| at + c.len_utf8())
    });
    end.unwrap_or(text.len())
}

/// Whether the character at this offset is inside brackets.
fn is_in_flow(text: &str, at: usize) -> bool {
    let mut scan = FlowScan::new();
    text.chars()
        .scan(0, |offset, c| {
            let here = *offset;
            *offset += c.len_utf8();
            (here < at).then_some(c)
        })
        .for_each(|c| scan.take(c));
    scan.depth > 0
}

/// The length of an entry or item inside brackets: up to its comma or the closing bracket.
fn end_in_flow(text: &str) -> usize {
    let mut scan = FlowScan::new();
    let end = text.char_indices().find_map(|(at, c)| {
        let ends = scan.is_bare() && scan.depth == 0 && ",]}".contains(c);
        scan.take(c);
        ends.then_some(at)
    });
    end.unwrap_or(text.len())
}

/// The length of a value in block style that begins at this offset: the rest of its line and the lines that belong to it.
fn end_in_block(text: &str, at: usize, shape: Shape) -> usize {
    let line_start = text.get(..at).and_then(|before| before.rfind('\n'));
    let line_start = line_start.map_or(0, |newline| newline + 1);
    let column = text
        .get(line_start..at)
        .map_or(0, |before| before.chars().count());
    let rest = text.get(at..).unwrap_or("");
    let first = rest.lines().next().unwrap_or("");
    // A scalar goes on in the lines that are deeper than its key.
    let key = text.get(line_start..at).unwrap_or("");
    let key = key.len() - key.trim_start_matches([' ', '-']).len();
    let belongs = |line: &&str| {
        let indent = indent_of(line);
        is_silent(line)
            || match shape {
                Shape::Scalar => indent > key,
                Shape::Sequence => {
                    indent > column || (indent == column && line.trim_start().starts_with('-'))
                }
                Shape::Mapping => indent >= column,
            }
    };
    let below = rest.get(first.len()..).unwrap_or("");
    let below = below.strip_prefix('\n').unwrap_or("");
    let lines = below.split_inclusive('\n').take_while(belongs);
    let below: usize = lines.map(str::len).sum();
    match below {
        0 => first.len(),
        // Without the last line break: what follows begins on its own line.
        _ => (first.len() + 1 + below).min(rest.len()) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn a_value_is_replaced_in_block_and_flow_style() {
        let list = "a:\n  b:\n  - x\n  - y\n  c: 1\n";
        let replaced = with_value(list, at(3, 3), Shape::Sequence, "''");
        assert_eq!(replaced.as_deref(), Some("a:\n  b:\n   ''\n\n  c: 1\n"));
        let mapping = "b:\n  c: 1\n  d: 2\ne: 3\n";
        let replaced = with_value(mapping, at(2, 3), Shape::Mapping, "[]");
        assert_eq!(replaced.as_deref(), Some("b:\n   []\n\ne: 3\n"));
        let flow = "- {a: [x, {y: 'z]'}], b: 2} # }\n";
        let replaced = with_value(flow, at(1, 7), Shape::Sequence, "''");
        assert_eq!(replaced.as_deref(), Some("- {a:  '', b: 2} # }\n"));
        let replaced = with_value("{a: x y, b: 2}", at(1, 5), Shape::Scalar, "[]");
        assert_eq!(replaced.as_deref(), Some("{a:  [], b: 2}"));
        let scalar = "a: one\n  two\nb: 'it''s\n  all'\n";
        let replaced = with_value(scalar, at(1, 4), Shape::Scalar, "[]");
        assert_eq!(replaced.as_deref(), Some("a:  []\n\nb: 'it''s\n  all'\n"));
        let replaced = with_value(scalar, at(3, 4), Shape::Scalar, "[]");
        assert_eq!(replaced.as_deref(), Some("a: one\n  two\nb:  []\n\n"));
    }

    #[test]
    fn an_entry_is_taken_out_with_all_below_it() {
        let block = "a:\n  - b: 1\n    c:\n    - 2\n    - 3\n    d: 4\n";
        let without = without_entry(block, at(3, 5));
        assert_eq!(without.as_deref(), Some("a:\n  - b: 1\n    \n\n\n    d: 4\n"));
        let without = without_entry(block, at(2, 5));
        assert_eq!(
            without.as_deref(),
            Some("a:\n  - \n    c:\n    - 2\n    - 3\n    d: 4\n")
        );
        assert_eq!(
            without_entry("{a: 1, b: {c: 2}}", at(1, 8)).as_deref(),
            Some("{a: 1, }")
        );
        assert_eq!(
            without_entry("{a: [1, 2], b: 2}", at(1, 2)).as_deref(),
            Some("{ b: 2}")
        );
    }

    #[test]
    fn the_second_of_two_equal_keys_is_found() {
        let text = "r:\n  a: 1\n  b:\n    a: 2\n  \"a\": 3\ns:\n  a: 4\n";
        assert_eq!(second_entry(text, at(2, 3), "a"), Some(at(5, 3)));
        assert_eq!(second_entry(text, at(2, 3), "b"), None);
        assert_eq!(
            second_entry("- b: 1\n  a: 2\n  a: 3\n", at(1, 3), "a"),
            Some(at(3, 3))
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_searched_without_a_panic(text: String, yaml in "([ -]{0,4}[a:\"'#é,{}\\[\\]-]{0,6}\n){0,9}", line in 0..12_usize, column in 0..9_usize) {
            for text in [text, yaml] {
                let position = at(line, column);
                let replaced = [Shape::Scalar, Shape::Sequence, Shape::Mapping].map(|shape| with_value(&text, position, shape, "[]"));
                let lines = text.matches('\n').count();
                for replaced in replaced.into_iter().chain([without_entry(&text, position)]).flatten() {
                    proptest::prop_assert_eq!(replaced.matches('\n').count(), lines);
                }
                let _ = second_entry(&text, position, "a");
            }
        }
    }
}
