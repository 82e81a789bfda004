//! The bytes of a value without the escapes that they have in the line.

use std::borrow::Cow;

/// How a value is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueEscape {
    /// nginx's default: `\xHH`.
    Hex,
    /// As a string in JSON, and in logfmt.
    Json,
    None,
}

impl ValueEscape {
    /// The value without escapes. An escape that is not whole stays as it is.
    pub(crate) fn remove(self, value: &[u8]) -> Cow<'_, [u8]> {
        let Some(first) = memchr::memchr(b'\\', value).filter(|_| self != Self::None) else {
            return Cow::Borrowed(value);
        };
        let (plain, mut rest) = value.split_at(first);
        let mut bytes = plain.to_vec();
        while let [byte, after @ ..] = rest {
            let escape = match (self, byte) {
                (Self::Hex, b'\\') => hex_byte(after),
                (Self::Json, b'\\') => json_character(after),
                _ => None,
            };
            if let Some((text, len)) = escape {
                bytes.extend_from_slice(text.as_slice());
                rest = after.get(len..).unwrap_or_default();
            } else {
                bytes.push(*byte);
                rest = after;
            }
        }
        Cow::Owned(bytes)
    }
}

/// At most four bytes: a character in UTF-8, or any byte.
struct Short([u8; 4], usize);

impl Short {
    fn as_slice(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }

    fn byte(byte: u8) -> Self {
        Self([byte, 0, 0, 0], 1)
    }

    fn character(character: char) -> Self {
        let mut bytes = [0; 4];
        let len = character.encode_utf8(&mut bytes).len();
        Self(bytes, len)
    }
}

/// After a backslash: `xHH`.
fn hex_byte(after: &[u8]) -> Option<(Short, usize)> {
    let [b'x', high, low, ..] = after else {
        return None;
    };
    let value = hex_number(&[*high, *low])?;
    Some((Short::byte(u8::try_from(value).ok()?), 3))
}

/// After a backslash: `n`, `"`, `uHHHH`, or two of these for one character.
fn json_character(after: &[u8]) -> Option<(Short, usize)> {
    let byte = match after.first()? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'u' => return unicode(after),
        byte @ (b'"' | b'\\' | b'/') => *byte,
        _ => return None,
    };
    Some((Short::byte(byte), 1))
}

fn unicode(after: &[u8]) -> Option<(Short, usize)> {
    let unit = hex_number(after.get(1..5)?)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((Short::character(character), 5));
    }
    let low = after.get(5..11)?.strip_prefix(b"\\u").and_then(hex_number)?;
    let pair = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((Short::character(character), 11))
}

fn hex_number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        Some(number * 16 + char::from(*digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_of_nginx_and_of_json_are_removed() {
        for (escape, value, expected) in [
            (ValueEscape::Hex, r"x \x22y\x22 \xC3\xa9", "x \"y\" é"),
            (ValueEscape::Hex, r"\x2 \n \xzz \", r"\x2 \n \xzz \"),
            (
                ValueEscape::Json,
                r#"a\"b\\c\n\t\u00e9\ud83d\ude00"#,
                "a\"b\\c\n\té😀",
            ),
            (ValueEscape::Json, r"\u12 \ud83d \q \", r"\u12 \ud83d \q \"),
            (ValueEscape::None, r"\x22", r"\x22"),
        ] {
            let removed = escape.remove(value.as_bytes()).into_owned();
            assert_eq!(String::from_utf8_lossy(&removed), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_no_longer(value: Vec<u8>, near in "[\\\\xud80-9a\"]{0,40}") {
            for value in [&value[..], near.as_bytes()] {
                for escape in [ValueEscape::Hex, ValueEscape::Json, ValueEscape::None] {
                    prop_assert!(escape.remove(value).len() <= value.len());
                }
            }
        }
    }
}
