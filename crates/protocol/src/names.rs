//! Names that come from outside and end up in paths, headers, mails and SQL.
//!
//! Invariant: a value of one of these types is safe as one path component and as one word of a log line: it has
//! no slash, no white space, no control character, and does not start with a dot.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use logferry_text::natural_order;
use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or longer than its kind allows.
    #[error("a {kind} has 1 to {max} characters, this one has {len}")]
    Length {
        /// The kind of the name.
        kind: &'static str,
        /// Most characters allowed.
        max: usize,
        /// Characters found.
        len: usize,
    },
    /// The name holds a character its kind does not allow, or starts with one that it may not start with.
    #[error("a {kind} may hold {allowed}, and starts with a letter or digit; {name:?} is not valid")]
    Character {
        /// The kind of the name.
        kind: &'static str,
        /// The allowed characters.
        allowed: &'static str,
        /// The refused name.
        name: String,
    },
}

/// The characters of most names, for the error.
const WORD: &str = "letters, digits, '.', '_' and '-'";

fn validate(kind: &'static str, max: usize, allowed: &'static str, name: &str) -> Result<String, NameError> {
    if name.is_empty() || name.len() > max {
        let len = name.chars().count();
        return Err(NameError::Length { kind, max, len });
    }
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let name = name.to_owned();
    if name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(is_allowed) {
        Ok(name)
    } else {
        Err(NameError::Character { kind, allowed, name })
    }
}

/// A type of names. `$validate` checks a name and gives its one spelling.
macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $validate:expr) => {
        $(#[$doc])*
        ///
        /// The order is that of people: `web-9` before `web-10`.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                natural_order(&self.0, &other.0)
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                $validate(name).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// One log of a sender, such as `access`.
    LogName, |name| validate("log name", 64, WORD, name)
);
name_type!(
    /// A group: the sources that share a port.
    GroupName, |name| validate("group name", 64, WORD, name)
);
name_type!(
    /// A destination: one SFTP drop.
    DestinationName, |name| validate("destination name", 64, WORD, name)
);

name_type!(
    /// A source: one sending host, by IP address or by name. Its text is the name of its folder in the spool.
    ///
    /// An address is kept in its one canonical form, IPv4-mapped IPv6 as IPv4, so that each host has one spelling.
    SourceId, source
);

fn source(name: &str) -> Result<String, NameError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SourceId::from(address).0),
        Err(_) => validate(
            "source",
            253,
            "an IP address, or letters, digits, '.', '_' and '-'",
            name,
        ),
    }
}

impl SourceId {
    /// The source as used in file names: dots and colons become dashes.
    pub fn file_label(&self) -> String {
        self.0.replace(['.', ':'], "-")
    }
}

impl From<IpAddr> for SourceId {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (given, kept) in [
            ("198.51.100.44", "198.51.100.44"),
            ("::ffff:198.51.100.44", "198.51.100.44"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
        ] {
            assert_eq!(given.parse::<SourceId>().expect("valid").as_str(), kept);
        }
    }

    #[test]
    fn names_are_in_the_order_of_people() {
        let mut sources =
            ["198.51.100.10", "web-1", "198.51.100.9"].map(|name| name.parse::<SourceId>().expect("valid"));
        sources.sort();
        assert_eq!(
            sources.map(String::from),
            ["198.51.100.9", "198.51.100.10", "web-1"]
        );
    }

    #[test]
    fn file_labels_hold_dashes_for_dots_and_colons() {
        for (source, label) in [("198.51.100.44", "198-51-100-44"), ("2001:db8::1", "2001-db8--1")] {
            assert_eq!(source.parse::<SourceId>().expect("valid").file_label(), label);
        }
    }

    #[test]
    fn what_could_leave_a_folder_or_break_a_line_is_refused() {
        for bad in [
            "", "..", ".hidden", "a/b", "a b", "a\nb", "a\0b", "-rf", "é", "a:b",
        ] {
            assert!(bad.parse::<SourceId>().is_err(), "{bad:?} as a source");
            assert!(bad.parse::<LogName>().is_err(), "{bad:?} as a log name");
        }
        assert!("x".repeat(65).parse::<LogName>().is_err());
        assert!("x".repeat(254).parse::<SourceId>().is_err());
    }
}
