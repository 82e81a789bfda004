//! JSON in which no character of a log line has an effect where it is shown.
//!
//! JSON itself escapes the control characters below U+0020 (RFC 8259, section 7). Those above, which a terminal obeys (U+0080 to
//! U+009F, ECMA-48), the marks that turn the direction of text (Unicode Standard Annex 9), and the line ends of JavaScript are
//! escaped here. It is one line, whatever is in it: an SSE message cannot end early.

use std::io;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::problem::Problem;

/// A value as the body of an answer.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for JsonBody<T> {
    fn into_response(self) -> Response {
        match to_json(&self.0) {
            Ok(body) => (
                [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                body,
            )
                .into_response(),
            Err(error) => Problem::internal(&error.to_string()).into_response(),
        }
    }
}

/// A value as one line of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut json, VisibleFormatter))?;
    Ok(json)
}

#[derive(Debug)]
struct VisibleFormatter;

impl Formatter for VisibleFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| has_effect(*character)) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            // All of them are of the basic plane: one escape is enough.
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = from.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Whether a character does something where it is shown, instead of being seen.
pub(crate) fn has_effect(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_with_an_effect_are_escaped_and_read_back() {
        let text = "a\u{9b}2J\u{202e}b\u{2028}\u{7f}ä\r\n\0\"";
        let json = String::from_utf8(to_json(&text).unwrap()).unwrap();
        assert_eq!(json, "\"a\\u009b2J\\u202eb\\u2028\\u007fä\\r\\n\\u0000\\\"\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_that_is_read_back(text in "\\PC*|.*|[\u{0}-\u{ff}]*") {
            let json = String::from_utf8(to_json(&text).unwrap()).unwrap();
            prop_assert!(!json.contains(|c: char| c.is_control() || has_effect(c)));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
