//! Whether a server is the one it should be: by its host key, against `known_hosts` (its format is in sshd(8)) or one fingerprint.
//!
//! Invariant: only a key that was named before is trusted; an unknown one is refused like a wrong one.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use logferry_config::{Destination, HostKeyPolicy};
use sha2::{Digest, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, KnownHosts, Session};

/// Families of host keys and what they are called when keys are agreed on, best first, as OpenSSH orders them. The
/// first name is the one in key files; `ssh-rsa` keys sign in three ways (RFC 8332).
const FAMILIES: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"),
];

/// A server's host key is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file of known keys cannot be read.
    #[error(
        "cannot read {}, so no host key is trusted: write one with `ssh-keyscan -p PORT HOST`, or set `host_key`",
        .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// libssh2 cannot work with the key or the file.
    #[error("cannot judge the host key of {host}")]
    Unjudged {
        /// The server.
        host: String,
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
    },
    /// No key of this host is known.
    #[error(
        "the host key of {host} is not known: it shows {shown}; if its operator confirms that, run \
         `ssh-keyscan -p {port} {host} >> {}`", .path.display()
    )]
    Unknown {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// Type and fingerprint of the key it shows.
        shown: String,
        /// The file of known keys.
        path: PathBuf,
    },
    /// Another key of this host is known.
    #[error(
        "the host key of {host} is not the known one: it shows {shown}, known is {known}; either it was replaced, or \
         somebody stands between: ask its operator, and only then replace the line in {}", .path.display()
    )]
    Changed {
        /// The server.
        host: String,
        /// Type and fingerprint of the key it shows.
        shown: String,
        /// Types and fingerprints of the keys known.
        known: String,
        /// The file of known keys.
        path: PathBuf,
    },
    /// The key was marked as revoked.
    #[error("the host key of {host} is marked as revoked in {}: {shown}", .path.display())]
    Revoked {
        /// The server.
        host: String,
        /// Type and fingerprint of the key it shows.
        shown: String,
        /// The file of known keys.
        path: PathBuf,
    },
    /// The key is not the one that the configuration names.
    #[error(
        "the host key of {host} is not the configured one: it shows {shown}, `host_key` is {configured}; either it was \
         replaced, or somebody stands between: ask its operator, and only then change `host_key`"
    )]
    NotConfigured {
        /// The server.
        host: String,
        /// Type and fingerprint of the key it shows.
        shown: String,
        /// The fingerprint in the configuration.
        configured: String,
    },
}

/// What is trusted.
pub(super) enum Trust<'a> {
    /// A key with this fingerprint.
    Fingerprint(&'a str),
    /// The keys in a file, which holds this.
    KnownHosts { path: &'a PathBuf, text: String },
}

impl<'a> Trust<'a> {
    pub(super) fn load(policy: &'a HostKeyPolicy) -> Result<Self, HostKeyError> {
        match policy {
            HostKeyPolicy::Fingerprint(fingerprint) => Ok(Self::Fingerprint(fingerprint)),
            HostKeyPolicy::KnownHosts(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(Self::KnownHosts {
                    path,
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                }),
                Err(source) => Err(HostKeyError::Unreadable {
                    path: path.clone(),
                    source,
                }),
            },
        }
    }

    /// Which types of host keys to ask the server for, one connection after the other until a key is trusted. A
    /// server may have keys of several types, of which we know one: it must be asked for that one, lest a good
    /// server be taken for a changed one.
    pub(super) fn offers(&self, destination: &Destination) -> Result<Vec<String>, HostKeyError> {
        let all = FAMILIES.map(|(_, names)| names);
        match self {
            // Of what type the key is, its fingerprint does not say.
            Self::Fingerprint(_) => Ok(all.map(str::to_owned).into()),
            Self::KnownHosts { text, .. } => {
                let session = Session::new().map_err(|source| unjudged(destination, source))?;
                let known = Known::parse(&session, text).map_err(|source| unjudged(destination, source))?;
                let keys = known.keys_of(destination);
                let is_known = |family: &&(&str, &str)| keys.iter().any(|key| key_type(key) == family.0);
                let wanted: Vec<_> = FAMILIES
                    .iter()
                    .filter(is_known)
                    .map(|(_, names)| *names)
                    .collect();
                let mut offers = Vec::new();
                if !wanted.is_empty() {
                    offers.push(wanted.join(","));
                }
                // Whatever else it has: for the message that refuses it.
                offers.push(all.join(","));
                Ok(offers)
            }
        }
    }

    /// Judges the key that the server has shown.
    pub(super) fn judge(&self, destination: &Destination, session: &Session) -> Result<(), HostKeyError> {
        let host = destination.host.clone();
        // libssh2 has checked the server's signature by this key; without one there is no session.
        let (key, _) = session
            .host_key()
            .ok_or_else(|| unjudged(destination, ssh2::Error::unknown()))?;
        let shown = describe(key);
        match self {
            Self::Fingerprint(configured) if fingerprint(key) == **configured => Ok(()),
            Self::Fingerprint(configured) => Err(HostKeyError::NotConfigured {
                host,
                shown,
                configured: (*configured).to_owned(),
            }),
            Self::KnownHosts { path, text } => {
                let known = Known::parse(session, text).map_err(|source| unjudged(destination, source))?;
                let path = (*path).clone();
                if known.revoked.iter().any(|revoked| revoked == key) {
                    return Err(HostKeyError::Revoked { host, shown, path });
                }
                let others: Vec<_> = known.keys_of(destination).into_iter().map(describe).collect();
                if known.is_of(destination, key) {
                    Ok(())
                } else if others.is_empty() {
                    let port = destination.port;
                    Err(HostKeyError::Unknown {
                        host,
                        port,
                        shown,
                        path,
                    })
                } else {
                    let known = others.join(", ");
                    Err(HostKeyError::Changed {
                        host,
                        shown,
                        known,
                        path,
                    })
                }
            }
        }
    }
}

/// A parsed file of known keys.
struct Known {
    hosts: KnownHosts,
    /// Every key in the file, whosever it is.
    keys: Vec<Vec<u8>>,
    /// Keys marked `@revoked`, for whatever host: none of them is trusted anywhere.
    revoked: Vec<Vec<u8>>,
}

impl Known {
    /// Lines that cannot be read are passed over, as OpenSSH does: they make no key known.
    fn parse(session: &Session, text: &str) -> Result<Self, ssh2::Error> {
        let mut known = Self {
            hosts: session.known_hosts()?,
            keys: Vec::new(),
            revoked: Vec::new(),
        };
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (marker, fields) = match line.strip_prefix('@') {
                Some(marked) => marked.split_once(char::is_whitespace).unwrap_or((marked, "")),
                None => ("", line),
            };
            let key = fields.split_whitespace().nth(2);
            let Some(key) = key.and_then(|key| STANDARD.decode(key).ok()) else {
                continue;
            };
            match marker {
                "" if known.hosts.read_str(fields, KnownHostFileKind::OpenSSH).is_ok() => {
                    known.keys.push(key);
                }
                "revoked" => known.revoked.push(key),
                // `@cert-authority`: certificates are not used here.
                _ => {}
            }
        }
        Ok(known)
    }

    /// Names are kept in lower case (ssh-keyscan(1) and ssh(1) write them so).
    fn is_of(&self, destination: &Destination, key: &[u8]) -> bool {
        let host = destination.host.to_ascii_lowercase();
        matches!(
            self.hosts.check_port(&host, destination.port, key),
            CheckResult::Match
        )
    }

    fn keys_of(&self, destination: &Destination) -> Vec<&[u8]> {
        let keys = self.keys.iter().map(Vec::as_slice);
        keys.filter(|key| self.is_of(destination, key)).collect()
    }
}

fn unjudged(destination: &Destination, source: ssh2::Error) -> HostKeyError {
    HostKeyError::Unjudged {
        host: destination.host.clone(),
        source,
    }
}

/// The type that a key in wire form starts with (RFC 4253, section 6.6).
fn key_type(key: &[u8]) -> &str {
    let text = key.split_first_chunk().and_then(|(len, rest)| {
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        std::str::from_utf8(rest.get(..len)?).ok()
    });
    text.filter(|text| text.chars().all(|c| c.is_ascii_graphic()))
        .unwrap_or("unknown")
}

/// As `ssh-keygen -l` prints it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

fn describe(key: &[u8]) -> String {
    format!("{} {}", key_type(key), fingerprint(key))
}
