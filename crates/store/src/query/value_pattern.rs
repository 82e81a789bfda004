//! A value that a field must have: exactly, or with `*` for the rest at its ends. Pure.

use crate::words::{fold, words_within};

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

    /// The words that a line has in which a field has this value, if no value in it touches a word of the format. None of a
    /// value that may be escaped in the line.
    pub(crate) fn words(&self) -> Vec<u64> {
        let is_plain = |character: char| matches!(character, ' '..='~') && !matches!(character, '"' | '\\');
        if !self.folded.chars().all(is_plain) {
            return Vec::new();
        }
        words_within(self.folded.as_bytes(), !self.is_open.0, !self.is_open.1)
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
}
