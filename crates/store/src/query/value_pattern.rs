//! A value that a field must have: exactly, or with `*` for the rest at its ends. Pure.

use crate::words::{fold, is_plain, words_within};

/// A value, in upper or lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValuePattern {
    folded: String,
    is_open: (bool, bool),
}

impl ValuePattern {
    /// `value`, `value*`, `*value` or `*value*`.
    pub(crate) fn new(text: &str) -> Self {
        let (text, is_open) = without_stars(text);
        Self::of(text, is_open)
    }

    /// A text in which stars are characters like others. `is_open`: whether the value may go on before it, or behind it.
    pub(crate) fn of(text: &str, is_open: (bool, bool)) -> Self {
        Self {
            folded: text.chars().map(fold).collect(),
            is_open,
        }
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        let value: String = String::from_utf8_lossy(value).chars().map(fold).collect();
        match self.is_open {
            (false, false) => value == self.folded,
            (false, true) => value.starts_with(&self.folded),
            (true, false) => value.ends_with(&self.folded),
            (true, true) => value.contains(&self.folded),
        }
    }

    /// The value, if it must be exactly so.
    pub(crate) fn exact(&self) -> Option<&str> {
        (self.is_open == (false, false)).then_some(self.folded.as_str())
    }

    /// The words that a line has in which a field has this value, if no value in it touches a word of the format and none of
    /// the line's escapes is of a plain character. No word beside a character that may be escaped in the line.
    pub(crate) fn words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        let mut from_border = !self.is_open.0;
        let mut pieces = self.folded.split(|character| !is_plain(character)).peekable();
        while let Some(piece) = pieces.next() {
            let to_border = pieces.peek().is_none() && !self.is_open.1;
            words.extend(words_within(piece.as_bytes(), from_border, to_border));
            from_border = false;
        }
        words
    }
}

/// A text without a star at its beginning and its end, and whether they were there.
pub(super) fn without_stars(text: &str) -> (&str, (bool, bool)) {
    let after = text.strip_prefix('*');
    let text = after.unwrap_or(text);
    let before = text.strip_suffix('*');
    (before.unwrap_or(text), (after.is_some(), before.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_the_rest() {
        for (pattern, value, is_match) in [
            ("GET", "get", true),
            ("GET", "gets", false),
            ("/a*", "/A/b", true),
            ("/a*", "x/a", false),
            ("*.js", "/x.js", true),
            ("*ö*", "XÖX", true),
            ("*", "", true),
        ] {
            assert_eq!(
                ValuePattern::new(pattern).matches(value.as_bytes()),
                is_match,
                "{pattern} {value}"
            );
        }
    }

    #[test]
    fn words_beside_a_character_that_may_be_escaped_are_not_relied_on() {
        for (pattern, words) in [
            ("/a/b=1", "a b 1"),
            ("/a/b=1&c=2", "a b 2"),
            ("a 'b' c", "a c"),
            ("aöb c", "c"),
            ("a\tb c*", ""),
        ] {
            let mut expected: Vec<u64> = words
                .split_whitespace()
                .flat_map(|word| words_within(word.as_bytes(), true, true))
                .collect();
            let mut found = ValuePattern::new(pattern).words();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
