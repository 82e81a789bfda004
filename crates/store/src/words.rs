//! What a word is: letters and digits of any script and `_`, in upper or lower case. Pure.
//!
//! A word is the longest such run; bytes that are not UTF-8 belong to none. Four words with single dots between them are a
//! word more, so that an address such as `203.0.113.7` is as rare as it is, though its numbers are not.
//!
//! Invariants, on which the search relies:
//! - A text that occurs in a line between borders of words has its words in common with the line (`words_within`).
//! - Two texts that differ only in upper and lower case, by [`fold`], have the same hashes.

use std::ops::Range;

use memchr::memchr_iter;

/// Bytes of ASCII that are part of a word.
const IS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    table
};

/// The words of a dotted word.
const DOTTED_WORDS: usize = 4;

/// Whether words are made of this character.
pub(crate) fn is_of_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// The character in the case that is compared. A letter whose lower case is no single letter stays as it is.
pub(crate) fn fold(character: char) -> char {
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => character,
    }
}

/// Whether hardly any writer escapes this character in a value. Many writers of JSON have `\u0026` for `&`, and so on.
pub(crate) fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') && !matches!(character, '"' | '\\' | '&' | '<' | '>' | '\'')
}

/// Whether a plain character, in either case, is escaped in the line: some write `\u003d` for `=`.
pub(crate) fn has_plain_escape(line: &[u8]) -> bool {
    memchr_iter(b'\\', line).any(|at| {
        let len = match line.get(at + 1) {
            Some(b'u') => 4,
            Some(b'x') => 2,
            _ => return false,
        };
        let digits = line.get(at + 2..at + 2 + len).unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let escaped = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        escaped.is_some_and(|escaped| is_plain(fold(escaped)))
    })
}

/// The length of the character of a word that begins at `at`; 0 if there is none.
fn word_len_at(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        None => 0,
        Some(byte) if byte.is_ascii() => usize::from(IS_WORD[usize::from(*byte)]),
        Some(byte) => character_at(text, at, *byte)
            .filter(|character| is_of_word(*character))
            .map_or(0, char::len_utf8),
    }
}

fn character_at(text: &[u8], at: usize, first: u8) -> Option<char> {
    let len = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    std::str::from_utf8(text.get(at..at + len)?).ok()?.chars().next()
}

/// Whether a character of a word begins at `at`.
pub(crate) fn continues_at(text: &[u8], at: usize) -> bool {
    word_len_at(text, at) > 0
}

/// Whether a character of a word ends before `at`.
pub(crate) fn continues_before(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or(text);
    match before.last() {
        None => false,
        Some(byte) if byte.is_ascii() => IS_WORD[usize::from(*byte)],
        Some(_) => (2..=4).any(|len| {
            let start = before.len().checked_sub(len);
            start.is_some_and(|start| word_len_at(before, start) == len)
        }),
    }
}

/// Calls `visit` with the range and the hash of each word.
pub(crate) fn each_word(text: &[u8], mut visit: impl FnMut(Range<usize>, u64)) {
    let mut at = 0;
    // Where the last three words began that are joined by dots with the next one.
    let mut joined = [0; DOTTED_WORDS - 1];
    let mut joined_count = 0;
    let mut last_end = usize::MAX;
    while let Some(byte) = text.get(at) {
        let (mut len, mut is_ascii) = if byte.is_ascii() {
            (usize::from(IS_WORD[usize::from(*byte)]), true)
        } else {
            (word_len_at(text, at), false)
        };
        if len == 0 {
            at += 1;
            continue;
        }
        let start = at;
        while len > 0 {
            at += len;
            // The next address does not depend on the byte: a run of ASCII costs a cycle or two for each byte.
            while text.get(at).is_some_and(|byte| IS_WORD[usize::from(*byte)]) {
                at += 1;
            }
            len = match text.get(at) {
                Some(byte) if !byte.is_ascii() => word_len_at(text, at),
                _ => 0,
            };
            is_ascii &= len == 0;
        }
        let word = start..at;
        visit(word.clone(), hash_of(text, word, is_ascii));
        if last_end.wrapping_add(1) != start || text.get(last_end) != Some(&b'.') {
            joined_count = 0;
        }
        if joined_count == joined.len() {
            let dotted = joined[0]..at;
            let is_ascii = text[dotted.clone()].is_ascii();
            visit(dotted.clone(), hash_of(text, dotted, is_ascii));
            joined.rotate_left(1);
            joined_count -= 1;
        }
        if let Some(slot) = joined.get_mut(joined_count) {
            *slot = start;
        }
        joined_count += 1;
        last_end = at;
    }
}

/// The hashes of the words that a line has in which `text` occurs. `from_border`, `to_border`: the text occurs only where a
/// word does not go on before it, or after it.
pub(crate) fn words_within(text: &[u8], from_border: bool, to_border: bool) -> Vec<u64> {
    let mut hashes = Vec::new();
    each_word(text, |word, hash| {
        if (word.start > 0 || from_border) && (word.end < text.len() || to_border) {
            hashes.push(hash);
        }
    });
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The hash of a property of a line that is no word of it: `name` begins with a control character.
pub(crate) fn property_hash(name: &str, value: &str) -> u64 {
    hash(&[name.as_bytes(), value.as_bytes()].concat())
}

fn hash_of(text: &[u8], word: Range<usize>, is_ascii: bool) -> u64 {
    if !is_ascii {
        let word = String::from_utf8_lossy(&text[word]);
        return hash(word.chars().map(fold).collect::<String>().as_bytes());
    }
    let len = word.len();
    match text.get(word.start..word.start + 8) {
        Some(eight) if len <= 8 => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(eight);
            let unused = 64 - 8 * u32::try_from(len).unwrap_or(8);
            let kept = u64::MAX.checked_shr(unused).unwrap_or(0);
            finish(step(start(len), (u64::from_le_bytes(bytes) | LOWER) & kept))
        }
        _ => hash(&text[word]),
    }
}

/// Sets the bit in which lower-case letters of ASCII differ. The digits have it; `_` becomes a byte that no word has.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// The hash of the bytes, the same in upper and lower case. It stands in files: it must stay as it is.
fn hash(bytes: &[u8]) -> u64 {
    let mut state = start(bytes.len());
    for chunk in bytes.chunks(8) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        let unused = 64 - 8 * u32::try_from(chunk.len()).unwrap_or(8);
        let kept = u64::MAX.checked_shr(unused).unwrap_or(0);
        state = step(state, (u64::from_le_bytes(eight) | LOWER) & kept);
    }
    finish(state)
}

fn start(len: usize) -> u64 {
    0x243f_6a88_85a3_08d3 ^ u64::try_from(len).unwrap_or(0)
}

fn step(state: u64, eight: u64) -> u64 {
    multiply(state ^ eight, 0x9e37_79b9_7f4a_7c15)
}

fn finish(state: u64) -> u64 {
    multiply(state ^ 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d1)
}

/// Both halves of the product, mixed (as in wyhash).
#[expect(clippy::cast_possible_truncation, reason = "the halves of the product")]
fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[u8]) -> Vec<String> {
        let mut words = Vec::new();
        each_word(text, |range, _| {
            words.push(String::from_utf8_lossy(&text[range]).into_owned());
        });
        words
    }

    #[test]
    fn word_is_a_run_of_letters_digits_and_underscores() {
        assert_eq!(
            words(b"GET /order_7?q=a-b HTTP/1.1"),
            ["GET", "order_7", "q", "a", "b", "HTTP", "1", "1"]
        );
        assert_eq!(
            words("naïve – “Größe” 東京".as_bytes()),
            ["naïve", "Größe", "東京"]
        );
        assert_eq!(words(b"a\xffb\xc3(\xe2\x82c\0d\xc3"), ["a", "b", "c", "d"]);
        assert_eq!(words(b""), Vec::<String>::new());
    }

    #[test]
    fn four_words_with_dots_between_are_a_word_too() {
        assert_eq!(words(b"1.2.3.4 x"), ["1", "2", "3", "4", "1.2.3.4", "x"]);
        assert_eq!(
            words(b"a.b.c.d.e"),
            ["a", "b", "c", "d", "a.b.c.d", "e", "b.c.d.e"]
        );
        assert_eq!(words(b"1.2..3.4,1.2.3"), ["1", "2", "3", "4", "1", "2", "3"]);
    }

    #[test]
    fn hash_is_the_same_in_every_case_and_at_every_position() {
        let hashes = |text: &[u8]| {
            let mut hashes = Vec::new();
            each_word(text, |_, hash| hashes.push(hash));
            hashes
        };
        for text in ["a", "Abcdefg", "Abcdefgh", "abcdefghI", "Ärger", "A_1", "X.Y.Z.É"] {
            let other = text.to_lowercase();
            let padded = format!("{other} and more text");
            assert_eq!(hashes(text.as_bytes()), hashes(other.as_bytes()), "{text}");
            assert_eq!(hashes(padded.as_bytes())[0], hashes(text.as_bytes())[0], "{text}");
        }
        assert_ne!(hashes(b"a"), hashes(b"b"));
        assert_ne!(hashes(b"a_b"), hashes(b"a0b"));
    }

    #[test]
    fn words_at_open_ends_are_not_certain() {
        let count = |from, to| words_within(b"ab cd ef", from, to).len();
        assert_eq!(count(true, true), 3);
        assert_eq!(count(false, true), 2);
        assert_eq!(count(false, false), 1);
        assert_eq!(words_within(b"/ab/", false, false).len(), 1);
    }

    #[test]
    fn word_goes_on_across_letters_of_any_script_only() {
        let text = "aé –b".as_bytes();
        let before: Vec<_> = (0..=text.len())
            .filter(|at| continues_before(text, *at))
            .collect();
        assert_eq!(before, [1, 3, text.len()]);
        assert!(continues_at(text, 0) && continues_at(text, 1) && !continues_at(text, 3));
        assert!(!continues_before(b"\xff", 1) && !continues_at(b"\xa9", 0));
    }

    #[test]
    fn escape_of_a_plain_character_is_found() {
        for (line, is_found) in [
            (r#"{"a": "x\u003dy"}"#, true),
            (r"\x2F", true),
            (r"\u212a", true),
            (r#"{"a": "x\u0026y\u00e9\n\"\\"}"#, false),
            (r"\x22\xff\u00", false),
            (r"\u00+1 \", false),
        ] {
            assert_eq!(has_plain_escape(line.as_bytes()), is_found, "{line}");
        }
    }
}
