//! The way of a sender to its relay: addresses, compression, TLS, token.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::yaml::field::{ConfigField, is_host};

/// A relay's address. Its text form is `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAddress {
    /// Plain HTTP or TLS.
    pub scheme: Scheme,
    /// A host name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
}

/// The scheme of a relay's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// A text that is not a relay's address, or has a path, a user or a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a relay's address; write it like http://192.0.2.10:5001")]
pub struct RelayAddressError(String);

impl RelayAddress {
    /// Host and port as in the text form, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let is_ipv6 = host.contains(':');
        if is_ipv6 {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl FromStr for RelayAddress {
    type Err = RelayAddressError;

    fn from_str(text: &str) -> Result<Self, RelayAddressError> {
        let parse = || {
            let (scheme, authority) = match text.split_once("://")? {
                ("http", authority) => (Scheme::Http, authority),
                ("https", authority) => (Scheme::Https, authority),
                _ => return None,
            };
            let authority = authority.strip_suffix('/').unwrap_or(authority);
            let (host, port) = authority.rsplit_once(':')?;
            let host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
                Some(inner) => inner.parse::<Ipv6Addr>().ok()?.to_string(),
                None if is_host(host) && !host.contains(':') => host.to_owned(),
                None => return None,
            };
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some(Self { scheme, host, port })
        };
        parse().ok_or_else(|| RelayAddressError(text.to_owned()))
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// The compression of chunks. A chunk that does not get smaller is sent uncompressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChunkCompression {
    /// None.
    #[default]
    None,
    /// zstd, level 1.
    Zstd,
    /// gzip, level 1.
    Gzip,
}

impl ChunkCompression {
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("none", Self::None), ("zstd", Self::Zstd), ("gzip", Self::Gzip)];
}

/// The files of TLS, in PEM. They are read at each connection, so they can be renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities for the relay's certificate; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The client certificate; `None`: none is sent.
    pub identity: Option<ClientIdentity>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, then the intermediate certificates.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// One address, or a list of them.
#[derive(Debug, Default)]
pub(crate) enum RawAddresses {
    #[default]
    Absent,
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for RawAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressesVisitor)
    }
}

struct AddressesVisitor;

impl<'de> Visitor<'de> for AddressesVisitor {
    type Value = RawAddresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a relay's address like http://192.0.2.10:5001, or a list of them")
    }

    fn visit_unit<E>(self) -> Result<RawAddresses, E> {
        Ok(RawAddresses::Absent)
    }

    fn visit_str<E>(self, text: &str) -> Result<RawAddresses, E> {
        Ok(RawAddresses::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RawAddresses, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(RawAddresses::Several)
    }
}

impl RawAddresses {
    /// The addresses, at least one.
    pub(crate) fn resolve(self, at: &ConfigField<'_>) -> Option<Vec<RelayAddress>> {
        match self {
            Self::Absent => at.refuse("is missing; write for example `http://192.0.2.10:5001`"),
            Self::One(raw) => Some(vec![at.parse(&raw)?]),
            Self::Several(raw) if raw.is_empty() => {
                at.refuse("has no entry; write at least one address, such as [http://192.0.2.10:5001]")
            }
            Self::Several(raw) => {
                let mut known: Vec<RelayAddress> = Vec::new();
                at.each(raw, |raw: String, at| {
                    let address: RelayAddress = at.parse(&raw)?;
                    if known.contains(&address) {
                        return at.refuse(format!("`{address}` is in the list twice; remove one of them"));
                    }
                    known.push(address.clone());
                    Some(address)
                })
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
#[expect(clippy::struct_field_names, reason = "named as in the file")]
pub(crate) struct RawClientTls {
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
}

impl RawClientTls {
    /// `relay`: the addresses, if they are valid.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, relay: Option<&[RelayAddress]>) -> Option<ClientTls> {
        let ca_file = at.optional("ca_file", self.ca_file, ConfigField::readable);
        let identity = client_identity(self.cert_file, self.key_file, at);
        let (ca_file, identity) = (ca_file?, identity?);
        let is_set = ca_file.is_some() || identity.is_some();
        if is_set && relay.is_some_and(|relay| !relay.iter().any(is_https)) {
            return at.refuse(
                "is for https, and no address in `relay` is; write https:// there, or leave this out",
            );
        }
        Some(ClientTls { ca_file, identity })
    }
}

/// The client certificate of a section `tls`.
#[expect(clippy::option_option, reason = "outer: no problem; inner: one is sent")]
pub(crate) fn client_identity(
    cert_file: Option<String>,
    key_file: Option<String>,
    at: &ConfigField<'_>,
) -> Option<Option<ClientIdentity>> {
    let cert_file = at.optional("cert_file", cert_file, ConfigField::readable);
    let key_file = at.optional("key_file", key_file, ConfigField::secret_path);
    match (cert_file?, key_file?) {
        (Some(cert_file), Some(key_file)) => Some(Some(ClientIdentity { cert_file, key_file })),
        (None, None) => Some(None),
        _ => at.refuse("has only one of cert_file and key_file; write both or neither"),
    }
}

/// The path of a file with a token.
pub(crate) fn token_file(at: &ConfigField<'_>, raw: &str, relay: Option<&[RelayAddress]>) -> Option<PathBuf> {
    at.secret_file(raw)?;
    if relay.is_some_and(|relay| !relay.iter().all(is_https)) {
        at.warn("the token goes over http and can be read on the network; use https");
    }
    at.path(raw)
}

fn is_https(address: &RelayAddress) -> bool {
    address.scheme == Scheme::Https
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_addresses_survive_the_round_trip() {
        for text in [
            "http://192.0.2.10:5001",
            "https://relay.example.com:443",
            "http://[2001:db8::1]:5001",
        ] {
            assert_eq!(text.parse::<RelayAddress>().expect(text).to_string(), text);
        }
        let slashed: RelayAddress = "http://relay:5001/".parse().expect("one slash is allowed");
        assert_eq!(slashed.to_string(), "http://relay:5001");
    }

    #[test]
    fn what_is_no_relay_address_says_what_one_is() {
        for text in [
            "",
            "relay:5001",
            "http://relay",
            "http://relay:0",
            "http://relay:70000",
            "http://relay:5001/v1",
            "http://user@relay:5001",
            "http://2001:db8::1:5001",
            "https://[relay]:5001",
            "ftp://relay:5001",
        ] {
            let said = text.parse::<RelayAddress>().expect_err(text).to_string();
            let right = "write it like http://192.0.2.10:5001";
            assert_eq!(said, format!("`{text}` is not a relay's address; {right}"));
        }
    }
}
