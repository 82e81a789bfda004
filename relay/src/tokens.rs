//! The tokens that clients show, and whose they are.
//!
//! A file of lines `TOKEN SOURCE`, or `TOKEN *` for a token that says no more than "let in"; blank lines, and comments
//! from a `#` at a line's start. No token is kept: of each only the SHA-256 is in memory, and a shown one is compared
//! with every entry in a time that does not depend on where they differ.

use std::collections::HashMap;
use std::fmt;

use logferry_protocol::names::SourceId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::renewal::{FileError, Renewal, Source};

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// Anybody; it does not say whose the lines are.
    Anyone,
    /// This source.
    Source(SourceId),
}

/// All tokens of a file.
pub(crate) struct Tokens(Vec<(Sum, Bearer)>);

/// The SHA-256 of a token.
type Sum = [u8; 32];

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// A line that is no entry. It never holds the token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokensError {
    #[error("it is not text in UTF-8")]
    NoText,
    #[error("there is no token in it; write lines like `TOKEN 198.51.100.1` or `TOKEN *`")]
    Empty,
    #[error("line {0}: it is not `TOKEN SOURCE` or `TOKEN *`")]
    Form(usize),
    #[error("line {0}: the token has characters that no token has; make one with: openssl rand -hex 32")]
    Characters(usize),
    // The word is not shown: where the two are swapped it is the token.
    #[error("line {0}: its second word is no source; write an address, a host name or *")]
    Source(usize),
    #[error("line {line}: the token is that of line {first} too; give each source one of its own")]
    Twice { line: usize, first: usize },
}

/// The tokens of a file, read and to be looked at again.
pub(crate) fn load(path: &std::path::Path) -> Result<Renewal<Tokens>, FileError> {
    let source = Source::new("relay.tokens_file", path);
    Renewal::load("tokens", vec![source.clone()], move |files| {
        let bytes = files.first().map_or(&[][..], Vec::as_slice);
        Tokens::parse(bytes).map_err(|error| source.unusable(error))
    })
}

impl Tokens {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TokensError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TokensError::NoText)?;
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let mut words = text.split_ascii_whitespace();
            let (Some(token), Some(bearer), None) = (words.next(), words.next(), words.next()) else {
                return Err(TokensError::Form(line));
            };
            if !is_token(token) {
                return Err(TokensError::Characters(line));
            }
            let bearer = match bearer {
                "*" => Bearer::Anyone,
                name => Bearer::Source(name.parse().map_err(|_| TokensError::Source(line))?),
            };
            let sum = sum(token);
            if let Some(first) = lines.insert(sum, line) {
                return Err(TokensError::Twice { line, first });
            }
            entries.push((sum, bearer));
        }
        if entries.is_empty() {
            return Err(TokensError::Empty);
        }
        Ok(Self(entries))
    }

    /// Whom this token lets in; `None` if it is not known.
    pub(crate) fn find(&self, token: &str) -> Option<&Bearer> {
        let shown = sum(token);
        // Every entry is compared, whether or not one has fitted.
        self.0.iter().fold(None, |found, (known, bearer)| {
            if bool::from(known.ct_eq(&shown)) {
                Some(bearer)
            } else {
                found
            }
        })
    }
}

/// The token in an `Authorization` header (RFC 6750, section 2.1). The scheme's case does not matter (RFC 9110,
/// section 11.1).
pub(crate) fn shown(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

/// Whether it can be a token: one word of visible ASCII, which is more than RFC 6750 allows.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn sum(token: &str) -> Sum {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(name: &str) -> Bearer {
        Bearer::Source(name.parse().expect("a source"))
    }

    #[test]
    fn each_token_lets_in_whom_its_line_says() {
        let text =
            b"# ours\n\n s3cret-1  198.51.100.1\r\n\ts3cret/2== web-7.example.com\n#old web-8\nany *\n";
        let tokens = Tokens::parse(text).expect("valid");
        for (token, expected) in [
            ("s3cret-1", Some(source("198.51.100.1"))),
            ("s3cret/2==", Some(source("web-7.example.com"))),
            ("any", Some(Bearer::Anyone)),
            ("#old", None),
            ("s3cret", None),
            ("s3cret-1 ", None),
            ("", None),
        ] {
            assert_eq!(tokens.find(token), expected.as_ref(), "{token}");
        }
        assert_eq!(format!("{tokens:?}"), "3 tokens");
    }

    #[test]
    fn a_wrong_line_is_named_and_its_token_is_not() {
        for (text, reason) in [
            (&b"s3cret *\n\ns3cret-2\n"[..], "line 3: it is not"),
            (b"s3cret * more\n", "line 1: it is not"),
            (b"s3cret ../etc\n", "line 1: its second word is no source"),
            (b"198.51.100.1 s3c/ret\n", "line 1: its second word is no source"),
            (b"# no\ns3c\xc3\xa9ret *\n", "line 2: the token has characters"),
            (
                b"s3cret *\n#\ns3cret web-1\n",
                "line 3: the token is that of line 1",
            ),
            (b"# none\n", "there is no token"),
            (b"", "there is no token"),
            (b"s3cret \xff\n", "not text"),
        ] {
            let said = Tokens::parse(text).expect_err(reason).to_string();
            assert!(said.contains(reason), "{said}");
            assert!(!said.contains("s3c"), "{said}");
        }
    }

    #[test]
    fn a_token_is_shown_as_a_bearer() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc== ", Some("abc==")),
            ("BEARER a.b-c_d~e+f/", Some("a.b-c_d~e+f/")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer a b", None),
            ("Bearer a\tb", None),
            ("", None),
        ] {
            assert_eq!(shown(header), token, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_file_and_any_header_are_read_without_harm(file: Vec<u8>, header: String) {
            let _ = Tokens::parse(&file);
            let _ = shown(&header);
        }

        #[test]
        fn of_many_tokens_each_is_found_and_no_other(
            tokens in prop::collection::hash_set("[a-z0-9]{1,8}", 1..20), other in "[A-Z]{1,8}",
        ) {
            let lines: Vec<_> = tokens.iter().map(|token| format!("{token} web-{token}\n")).collect();
            let text = lines.concat();
            let read = Tokens::parse(text.as_bytes()).expect("valid");
            for token in &tokens {
                prop_assert_eq!(read.find(token), Some(&source(&format!("web-{token}"))));
            }
            prop_assert_eq!(read.find(&other), None);
        }
    }
}
