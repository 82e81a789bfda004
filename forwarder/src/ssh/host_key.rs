//! Whether a server is the one it should be: by its host key, against a file of known keys or one fingerprint.
//!
//! Invariant: only a key that was named before is trusted; an unknown one is refused like a wrong one.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use logferry_config::{Destination, HostKeyPolicy};
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use sha2::{Digest, Sha256};

use super::known_hosts::{KnownHost, KnownHosts, key_type};
use crate::error::HostKeyError;

/// Families of host keys, by their names in key files, and how they sign, best first, as OpenSSH orders them. Keys of
/// RSA sign in three ways (RFC 8332).
const FAMILIES: [(&str, &[Algorithm]); 5] = [
    ("ssh-ed25519", &[Algorithm::Ed25519]),
    ("ecdsa-sha2-nistp256", &[ecdsa(EcdsaCurve::NistP256)]),
    ("ecdsa-sha2-nistp384", &[ecdsa(EcdsaCurve::NistP384)]),
    ("ecdsa-sha2-nistp521", &[ecdsa(EcdsaCurve::NistP521)]),
    (
        "ssh-rsa",
        &[rsa(Some(HashAlg::Sha512)), rsa(Some(HashAlg::Sha256)), rsa(None)],
    ),
];

const fn ecdsa(curve: EcdsaCurve) -> Algorithm {
    Algorithm::Ecdsa { curve }
}

const fn rsa(hash: Option<HashAlg>) -> Algorithm {
    Algorithm::Rsa { hash }
}

/// What is trusted.
pub(super) enum TrustedKeys<'a> {
    /// A key with this fingerprint.
    Fingerprint(&'a str),
    /// The keys in a file, which holds this.
    KnownHosts { path: &'a PathBuf, text: String },
}

impl<'a> TrustedKeys<'a> {
    pub(super) fn load(destination: &'a Destination) -> Result<Self, HostKeyError> {
        match &destination.host_key {
            HostKeyPolicy::Fingerprint(fingerprint) => Ok(Self::Fingerprint(fingerprint)),
            HostKeyPolicy::KnownHosts(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(Self::KnownHosts {
                    path,
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                }),
                Err(source) => Err(HostKeyError::Unreadable {
                    destination: destination.name.clone(),
                    path: path.clone(),
                    source,
                }),
            },
        }
    }

    /// Which types of host keys to ask the server for, one connection after the other until a key is trusted. A
    /// server may have keys of several types, of which we know one: it must be asked for that one, lest a good
    /// server be taken for a changed one.
    pub(super) fn key_type_offers(&self, destination: &Destination) -> Vec<Vec<Algorithm>> {
        match self {
            // Of what type the key is, its fingerprint does not say.
            Self::Fingerprint(_) => FAMILIES.map(|(_, ways)| ways.to_owned()).into(),
            Self::KnownHosts { text, .. } => {
                let known = KnownHosts::parse(text);
                let keys = known.trusted(&host_of(destination));
                let is_known = |family: &str| keys.iter().any(|key| key_type(key) == family);
                let ways_of = |wanted: &dyn Fn(&str) -> bool| -> Vec<Algorithm> {
                    let families = FAMILIES.iter().filter(|(family, _)| wanted(family));
                    families.flat_map(|(_, ways)| ways.to_vec()).collect()
                };
                // Whatever else it has: for the message that refuses it.
                let mut key_type_offers = vec![ways_of(&is_known), ways_of(&|_| true)];
                key_type_offers.retain(|offer| !offer.is_empty());
                key_type_offers
            }
        }
    }

    /// Judges the key that the server has shown.
    pub(super) fn check(&self, destination: &Destination, key: &[u8]) -> Result<(), HostKeyError> {
        let (host, shown) = (destination.host.clone(), describe(key));
        match self {
            Self::Fingerprint(configured) if fingerprint(key) == **configured => Ok(()),
            Self::Fingerprint(configured) => Err(HostKeyError::NotConfigured {
                host,
                shown,
                configured: (*configured).to_owned(),
            }),
            Self::KnownHosts { path, text } => {
                let (known, as_known) = (KnownHosts::parse(text), host_of(destination));
                let path = (*path).clone();
                if known.is_revoked(key) {
                    return Err(HostKeyError::Revoked { host, shown, path });
                }
                if known.trusted(&as_known).contains(&key) {
                    return Ok(());
                }
                let expected: Vec<_> = known.expected(&as_known).into_iter().map(describe).collect();
                let (destination, host) = (destination.name.clone(), as_known.name().to_owned());
                if expected.is_empty() {
                    return Err(HostKeyError::Unknown {
                        destination,
                        host,
                        shown,
                        path,
                    });
                }
                Err(HostKeyError::Changed {
                    destination,
                    host,
                    shown,
                    known: expected.join(", "),
                    path,
                })
            }
        }
    }
}

/// The destination as it is looked up in a file of known keys.
pub(super) fn host_of(destination: &Destination) -> KnownHost {
    KnownHost::new(&destination.host, destination.port)
}

/// As `ssh-keygen -l` prints it.
pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

pub(super) fn describe(key: &[u8]) -> String {
    format!("{} {}", key_type(key), fingerprint(key))
}
