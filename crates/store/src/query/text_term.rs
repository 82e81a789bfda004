//! A text that is looked for in lines, in upper or lower case, between borders of words. Pure.

use std::fmt::Write as _;
use std::ops::Range;

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::words::{continues_at, continues_before, fold, is_of_word, words_within};

/// A text that is looked for.
#[derive(Debug, Clone)]
pub(crate) struct TextTerm {
    finder: TextFinder,
    /// A word may not go on before it, or after it.
    borders: (bool, bool),
    len: usize,
    /// The words that a line with this text has.
    words: Vec<u64>,
}

#[derive(Debug, Clone)]
enum TextFinder {
    /// It has no letters.
    Exact(Box<Finder<'static>>),
    /// In upper or lower case.
    Folded(Regex),
}

impl TextTerm {
    /// A text. `is_open`: words may go on before it, or after it.
    pub(crate) fn new(text: &str, is_open: (bool, bool)) -> Result<Self, regex::Error> {
        let finder = match folded_pattern(text) {
            None => TextFinder::Exact(Box::new(Finder::new(text.as_bytes()).into_owned())),
            Some(pattern) => TextFinder::Folded(Regex::new(&pattern)?),
        };
        let borders = (
            !is_open.0 && text.chars().next().is_some_and(is_of_word),
            !is_open.1 && text.chars().next_back().is_some_and(is_of_word),
        );
        Ok(Self {
            finder,
            borders,
            len: text.len(),
            words: words_within(text.as_bytes(), borders.0, borders.1),
        })
    }

    /// Where it is in `text` at or after `from`.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        let mut at = from;
        loop {
            let found = match &self.finder {
                TextFinder::Exact(finder) => {
                    let start = at + finder.find(text.get(at..)?)?;
                    start..start + finder.needle().len()
                }
                TextFinder::Folded(regex) if at <= text.len() => regex.find_at(text, at)?.range(),
                TextFinder::Folded(_) => return None,
            };
            let goes_on = (self.borders.0 && continues_before(text, found.start))
                || (self.borders.1 && continues_at(text, found.end));
            if !goes_on {
                return Some(found);
            }
            at = found.start + 1;
        }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// A pattern for the text in upper and lower case; `None` if it has no letter with both. Two letters are alike if [`fold`] makes
/// them one, as the hashes of words have it; Unicode's own case folding makes more letters one.
fn folded_pattern(text: &str) -> Option<String> {
    let mut pattern = String::from("(?-u)");
    let mut has_cases = false;
    for character in text.chars() {
        let upper = character.to_uppercase();
        let mut cases = vec![character, fold(character)];
        cases.extend(upper.filter(|upper| fold(*upper) == fold(character)));
        cases.sort_unstable();
        cases.dedup();
        has_cases |= cases.len() > 1;
        let mut buffer = [0; 4];
        let alternatives = cases.iter().map(|case| {
            let bytes = case.encode_utf8(&mut buffer).bytes();
            bytes.fold(String::new(), |mut text, byte| {
                let _ = write!(text, "\\x{byte:02x}");
                text
            })
        });
        let alternatives: Vec<_> = alternatives.collect();
        if character.is_ascii() {
            let _ = write!(pattern, "[{}]", alternatives.concat());
        } else {
            let _ = write!(pattern, "(?:{})", alternatives.join("|"));
        }
    }
    has_cases.then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, is_open: (bool, bool), line: &str) -> Vec<usize> {
        let term = TextTerm::new(text, is_open).unwrap();
        let mut starts = Vec::new();
        let mut at = 0;
        while let Some(range) = term.find(line.as_bytes(), at) {
            starts.push(range.start);
            at = range.start + 1;
        }
        starts
    }

    #[test]
    fn text_is_found_between_borders_of_words_only() {
        let whole = (false, false);
        assert_eq!(found("err", whole, "Err error err_1 (ERR) err"), [0, 17, 22]);
        assert_eq!(found("err", (false, true), "Err error xerr"), [0, 4]);
        assert_eq!(found("err", (true, true), "Err xerrx"), [0, 5]);
        assert_eq!(found("1.2", whole, "1.2 1.25 31.2 0.1.2.3"), [0, 16]);
        assert_eq!(found("/a", whole, "/a x/a /ab"), [0, 4]);
        assert_eq!(found("->", whole, "a->b"), [1]);
        assert_eq!(found("größe", whole, "GRÖSSE Größe GRÖßE größen"), [8, 16]);
        assert_eq!(found("a.b", whole, "axb a.b"), [4]);
        assert_eq!(found("k", whole, "\u{212a} K"), [4]);
    }
}
