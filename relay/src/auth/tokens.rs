//! The tokens of clients and their owners.
//!
//! The file has lines `TOKEN SOURCE`, or `TOKEN *` for a token that authorizes without giving a source; blank lines, and
//! comments that start with `#`. Only the SHA-256 of each token is in memory. A client's token is compared with every
//! entry, in a time that does not depend on where they differ.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use logferry_protocol::names::SourceId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::auth::reload::{CredentialFile, CredentialFileError, ReloadedFiles};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenOwner {
    /// Any client. The token does not say whose the lines are.
    Anyone,
    Source(SourceId),
}

pub(crate) struct Tokens(Vec<(TokenDigest, TokenOwner)>);

type TokenDigest = [u8; 32];

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// A tokens file that cannot be used. The text never contains a token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("it is not UTF-8 text")]
    NotUtf8,
    #[error("it contains no token; write lines like `TOKEN 198.51.100.1` or `TOKEN *`")]
    Empty,
    #[error(
        "line {0}: it is not `TOKEN SOURCE` or `TOKEN *`; write the source that the token is for after it, or *"
    )]
    Malformed(usize),
    #[error("line {0}: the token has invalid characters; make a token with: openssl rand -hex 32")]
    Characters(usize),
    // The word is not shown: if the two words are swapped it is the token.
    #[error("line {0}: the second word is not a source; write an address, a host name or *")]
    Source(usize),
    #[error("line {line}: the token is the same as in line {first}; give each source a token of its own")]
    Duplicate { line: usize, first: usize },
}

/// Reads a tokens file, to be reloaded when it changes.
pub(crate) fn load(path: &Path) -> Result<ReloadedFiles<Tokens>, CredentialFileError> {
    let file = CredentialFile::new("relay.tokens_file", path);
    ReloadedFiles::load("tokens", vec![file.clone()], move |contents| {
        let bytes = contents.first().map_or(&[][..], Vec::as_slice);
        Tokens::parse(bytes).map_err(|error| file.unusable(error))
    })
}

impl Tokens {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TokenFileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TokenFileError::NotUtf8)?;
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let mut words = text.split_ascii_whitespace();
            let (Some(token), Some(owner), None) = (words.next(), words.next(), words.next()) else {
                return Err(TokenFileError::Malformed(line));
            };
            if !is_token(token) {
                return Err(TokenFileError::Characters(line));
            }
            let owner = match owner {
                "*" => TokenOwner::Anyone,
                name => TokenOwner::Source(name.parse().map_err(|_| TokenFileError::Source(line))?),
            };
            let digest = digest(token);
            if let Some(first) = lines.insert(digest, line) {
                return Err(TokenFileError::Duplicate { line, first });
            }
            entries.push((digest, owner));
        }
        if entries.is_empty() {
            return Err(TokenFileError::Empty);
        }
        Ok(Self(entries))
    }

    /// The owner of this token; `None` if the file does not have it.
    pub(crate) fn find(&self, token: &str) -> Option<&TokenOwner> {
        let searched = digest(token);
        // Every entry is compared, also after a match: the time must not depend on the position.
        self.0.iter().fold(None, |found, (known, owner)| {
            if bool::from(known.ct_eq(&searched)) {
                Some(owner)
            } else {
                found
            }
        })
    }
}

/// The token in an `Authorization` header (RFC 6750, section 2.1). The case of the scheme does not matter (RFC 9110,
/// section 11.1).
pub(crate) fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

/// Whether the text is one word of visible ASCII. RFC 6750 allows fewer characters.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(name: &str) -> TokenOwner {
        TokenOwner::Source(name.parse().expect("a source"))
    }

    #[test]
    fn each_token_has_the_owner_in_its_line() {
        let text =
            b"# ours\n\n s3cret-1  198.51.100.1\r\n\ts3cret/2== web-7.example.com\n#old web-8\nany *\n";
        let tokens = Tokens::parse(text).expect("valid");
        for (token, expected) in [
            ("s3cret-1", Some(source("198.51.100.1"))),
            ("s3cret/2==", Some(source("web-7.example.com"))),
            ("any", Some(TokenOwner::Anyone)),
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
            (b"s3cret ../etc\n", "line 1: the second word is not a source"),
            (
                b"198.51.100.1 s3c/ret\n",
                "line 1: the second word is not a source",
            ),
            (
                b"# no\ns3c\xc3\xa9ret *\n",
                "line 2: the token has invalid characters",
            ),
            (
                b"s3cret *\n#\ns3cret web-1\n",
                "line 3: the token is the same as in line 1",
            ),
            (b"# none\n", "it contains no token"),
            (b"", "it contains no token"),
            (b"s3cret \xff\n", "not UTF-8 text"),
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
            assert_eq!(bearer_token(header), token, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_file_and_any_header_are_read_without_harm(file: Vec<u8>, header: String) {
            let _ = Tokens::parse(&file);
            let _ = bearer_token(&header);
        }

        #[test]
        fn each_of_many_tokens_is_found_and_no_other(
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
