//! `indexer.opensearch`: where the lines go as documents, and the names of the indices there.

use std::fmt;
use std::path::PathBuf;

use logferry_time_windows::{NameField, NamePiece, NameValues, pieces, render};
use serde::Deserialize;

use crate::sender::relay_endpoint::{RelayAddress, Scheme};
use crate::yaml::field::{ConfigField, RawText};
use crate::yaml::secret::Secret;

const INDEX: &str = "logferry-{yyyy}.{mm}.{dd}";

/// The longest name of an index.
const INDEX_NAME_MAX: usize = 255;

/// A line of the longest kind and its document must have a chance.
const BATCH_BYTES_MIN: u64 = 64 << 10;

/// Servers take 100 MiB by default; the memory of the indexer is the bound.
const BATCH_BYTES_MAX: u64 = 32 << 20;

const INDEX_FIELDS: [(&str, NameField); 3] = [
    ("yyyy", NameField::Year),
    ("mm", NameField::Month),
    ("dd", NameField::Day),
];

/// The settings of the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSearchSettings {
    /// The server.
    pub url: OpenSearchUrl,
    /// The names of the indices.
    pub index: IndexTemplate,
    /// How to log in.
    pub login: OpenSearchLogin,
    /// The authorities for the server's certificate; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The most bytes of one request, unless one line needs more.
    pub batch_bytes: usize,
}

/// The address of OpenSearch or Elasticsearch: `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSearchUrl(RelayAddress);

impl OpenSearchUrl {
    /// A host name or an IP address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// TCP port, not 0.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether it is `https://`.
    pub fn is_https(&self) -> bool {
        self.0.scheme == Scheme::Https
    }

    /// Host and port as in the text form.
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

impl fmt::Display for OpenSearchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the sink logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenSearchLogin {
    /// It does not.
    None,
    /// By a user's name and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By an API key, as Elasticsearch encodes it.
    ApiKey(Secret),
}

/// The name of an index, with the date of a batch's window in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTemplate(Vec<NamePiece>);

impl IndexTemplate {
    /// The index for a batch with these values: of the date of its window, in the UTC offset of its lines.
    pub fn name(&self, values: &NameValues<'_>) -> String {
        render(&self.0, values)
    }

    /// The pattern that all its names match, with `*` for what changes.
    pub fn pattern(&self) -> String {
        let text = |piece: &NamePiece| match piece {
            NamePiece::Literal(text) => text.clone(),
            NamePiece::Field(_) => "*".to_owned(),
        };
        self.0.iter().map(text).collect()
    }

    /// The text before the date, without the separator at its end.
    pub fn prefix(&self) -> &str {
        match self.0.first() {
            Some(NamePiece::Literal(text)) => text.trim_end_matches(['-', '.', '_']),
            _ => "",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawOpenSearch {
    url: Option<String>,
    index: RawText,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<String>,
    api_key: Option<String>,
    api_key_file: Option<String>,
    ca_file: Option<String>,
    batch_bytes: RawText,
}

impl RawOpenSearch {
    pub(crate) fn resolve(self, at: &ConfigField<'_>) -> Option<OpenSearchSettings> {
        let url = at.required(
            "url",
            self.url.clone(),
            "https://search.example.com:9200",
            |at, raw| at.check(raw, parse_url),
        );
        let index = at.key("index").check(self.index.or(INDEX), parse_index);
        let ca_file = at.optional("ca_file", self.ca_file.clone(), ConfigField::readable);
        if let (Some(url), Some(Some(_))) = (&url, &ca_file)
            && !url.is_https()
        {
            at.key("ca_file")
                .report("is for https, and `url` is not; write https:// there, or leave this out");
        }
        let batch_bytes = at
            .key("batch_bytes")
            .memory(self.batch_bytes.or("5MiB"), BATCH_BYTES_MIN..=BATCH_BYTES_MAX);
        let login = self.login(at);
        if let (Some(url), Some(login)) = (&url, &login)
            && *login != OpenSearchLogin::None
            && !url.is_https()
        {
            at.warn("the password or key goes over http and can be read on the network; use https");
        }
        Some(OpenSearchSettings {
            url: url?,
            index: index?,
            login: login?,
            ca_file: ca_file?,
            batch_bytes: batch_bytes?,
        })
    }

    fn login(&self, at: &ConfigField<'_>) -> Option<OpenSearchLogin> {
        let user = at.optional("user", self.user.clone(), user);
        let password = at.secret(
            ("password", self.password.as_deref()),
            ("password_file", self.password_file.as_deref()),
        );
        let api_key = at.secret(
            ("api_key", self.api_key.as_deref()),
            ("api_key_file", self.api_key_file.as_deref()),
        );
        match (user?, password?, api_key?) {
            (None, None, None) => Some(OpenSearchLogin::None),
            (Some(user), Some(password), None) => Some(OpenSearchLogin::Basic { user, password }),
            (None, None, Some(key)) if is_header_text(key.expose()) => Some(OpenSearchLogin::ApiKey(key)),
            (None, None, Some(_)) => at.key("api_key_file").refuse(
                "has characters that an API key cannot have; write the encoded key, as the server shows it",
            ),
            (_, _, Some(_)) => {
                at.refuse("has an API key and a user or password; write only one kind of login")
            }
            _ => at.refuse("has only one of user and password; write both or neither"),
        }
    }
}

fn user(at: &ConfigField<'_>, raw: &str) -> Option<String> {
    let user = at.filled(raw)?;
    if user.contains(':') {
        return at.refuse("has a `:`, which a user's name cannot have here (RFC 7617)");
    }
    Some(user)
}

fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn parse_url(text: &str) -> Result<OpenSearchUrl, String> {
    text.parse().map(OpenSearchUrl).map_err(|_| {
        let shown = if text.contains('@') { "this" } else { text };
        format!(
            "`{shown}` is not the address of a server; write scheme, host and port, such as \
             https://search.example.com:9200, and a user as `user` and `password_file`"
        )
    })
}

/// Checks what the server demands of an index's name.
fn parse_index(text: &str) -> Result<IndexTemplate, String> {
    let pieces = pieces(text, &INDEX_FIELDS).map_err(|error| error.to_string())?;
    let literals = pieces.iter().filter_map(|piece| match piece {
        NamePiece::Literal(text) => Some(text),
        NamePiece::Field(_) => None,
    });
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let is_valid = match pieces.first() {
        Some(NamePiece::Literal(first)) => first.starts_with(|c: char| c.is_ascii_lowercase()),
        _ => false,
    };
    if is_valid && literals.flat_map(|text| text.bytes()).all(is_plain) && text.len() <= INDEX_NAME_MAX {
        return Ok(IndexTemplate(pieces));
    }
    Err(format!(
        "`{text}` cannot name an index; write small letters, digits, `.`, `-` and `_`, beginning with a letter, such as {INDEX}"
    ))
}
