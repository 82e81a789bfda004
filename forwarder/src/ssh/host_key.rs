//! Whether a server is the right one: checks its host key against a file of known keys or one fingerprint.
//!
//! Invariant: only a key that was configured or stored before is trusted; an unknown key is refused like a wrong one.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use logferry_config::{Destination, HostKeyPolicy};
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use sha2::{Digest, Sha256};

use super::known_hosts::{KnownHost, KnownHosts, key_type};
use crate::error::{HostKeyError, HostKeyStatus};
use crate::lock;

/// Families of host keys by their names in key files, each with its signature algorithms, best first, in OpenSSH's order.
/// RSA keys have three signature algorithms (RFC 8332).
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

/// The family of each configured fingerprint whose key was seen in this process.
static SEEN_FAMILIES: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());

const fn ecdsa(curve: EcdsaCurve) -> Algorithm {
    Algorithm::Ecdsa { curve }
}

const fn rsa(hash: Option<HashAlg>) -> Algorithm {
    Algorithm::Rsa { hash }
}

/// The keys that are trusted.
pub(super) enum TrustedKeys<'a> {
    /// The key with this fingerprint.
    Fingerprint(&'a str),
    /// The keys in a file with this text.
    KnownHosts { path: &'a PathBuf, text: String },
}

impl<'a> TrustedKeys<'a> {
    pub(super) fn load(destination: &'a Destination) -> Result<Self, Box<HostKeyError>> {
        Self::from_file(destination, |path| std::fs::read(path))
    }

    /// Reads the trusted keys with `read`, unless a fingerprint is configured.
    pub(super) fn from_file(
        destination: &'a Destination,
        read: impl FnOnce(&PathBuf) -> io::Result<Vec<u8>>,
    ) -> Result<Self, Box<HostKeyError>> {
        let path = match &destination.host_key {
            HostKeyPolicy::Fingerprint(fingerprint) => return Ok(Self::Fingerprint(fingerprint)),
            HostKeyPolicy::KnownHosts(path) => path,
        };
        let unreadable = |source| HostKeyError::Unreadable {
            destination: destination.name.clone(),
            path: path.clone(),
            source,
        };
        let bytes = read(path).map_err(unreadable)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self::KnownHosts { path, text })
    }

    /// Whether the type of the trusted key is known. A fingerprint does not show it until the key was seen.
    pub(super) fn knows_key_type(&self) -> bool {
        match self {
            Self::Fingerprint(configured) => lock(&SEEN_FAMILIES).contains_key(*configured),
            Self::KnownHosts { .. } => true,
        }
    }

    /// The key types to request from the server, one connection after the other until a key is trusted. A server may have
    /// keys of several types. It must be asked for the type of the known key first, or else its key would seem changed.
    pub(super) fn key_type_offers(&self, destination: &Destination) -> Vec<Vec<Algorithm>> {
        let algorithms_of = |wanted: &dyn Fn(&str) -> bool| -> Vec<Algorithm> {
            let families = FAMILIES.iter().filter(|(family, _)| wanted(family));
            families.flat_map(|(_, algorithms)| algorithms.to_vec()).collect()
        };
        match self {
            Self::Fingerprint(configured) => {
                let seen = lock(&SEEN_FAMILIES).get(*configured).copied();
                match seen {
                    // Servers count connections without a login. The second offer, for a server that has no key of this type
                    // any more, is for the error message.
                    Some(seen) => vec![
                        algorithms_of(&|family| family == seen),
                        algorithms_of(&|family| family != seen),
                    ],
                    None => FAMILIES
                        .iter()
                        .map(|(_, algorithms)| algorithms.to_vec())
                        .collect(),
                }
            }
            Self::KnownHosts { text, .. } => {
                let known = KnownHosts::parse(text);
                let keys = known.trusted(&host_of(destination));
                let is_known = |family: &str| keys.iter().any(|key| key_type(key) == family);
                // The second offer, for any key, is for the error message.
                let mut offers = vec![algorithms_of(&is_known), algorithms_of(&|_| true)];
                offers.retain(|offer| !offer.is_empty());
                offers
            }
        }
    }

    /// Compares the server's key, in wire form, with the known ones.
    pub(super) fn status(&self, destination: &Destination, key: &[u8]) -> HostKeyStatus {
        let text = match self {
            Self::Fingerprint(configured) if fingerprint(key) == **configured => {
                if let Some((family, _)) = FAMILIES.iter().find(|(family, _)| *family == key_type(key)) {
                    lock(&SEEN_FAMILIES).insert((*configured).to_owned(), family);
                }
                return HostKeyStatus::Trusted;
            }
            Self::Fingerprint(configured) => {
                return HostKeyStatus::NotConfigured {
                    configured: (*configured).to_owned(),
                };
            }
            Self::KnownHosts { text, .. } => text,
        };
        let (known, host) = (KnownHosts::parse(text), host_of(destination));
        if known.is_revoked(key) {
            return HostKeyStatus::Revoked;
        }
        if known.trusted(&host).contains(&key) {
            return HostKeyStatus::Trusted;
        }
        let stays = |old: &&[u8]| key_type(old) != key_type(key) || known.is_fixed(&host, old);
        let (staying, replaced): (Vec<_>, Vec<_>) = known.expected(&host).into_iter().partition(stays);
        if staying.is_empty() && replaced.is_empty() {
            return HostKeyStatus::New;
        }
        let described = |keys: Vec<&[u8]>| keys.into_iter().map(describe).collect();
        HostKeyStatus::Changed {
            staying: described(staying),
            replaced: described(replaced),
        }
    }

    /// Refuses a key that is not trusted.
    pub(super) fn check(&self, destination: &Destination, key: &[u8]) -> Result<(), Box<HostKeyError>> {
        let status = self.status(destination, key);
        let host = match status {
            HostKeyStatus::Trusted => return Ok(()),
            HostKeyStatus::New | HostKeyStatus::Changed { .. } => host_of(destination).name().to_owned(),
            HostKeyStatus::Revoked | HostKeyStatus::NotConfigured { .. } => destination.host.clone(),
        };
        let path = match self {
            Self::Fingerprint(_) => PathBuf::new(),
            Self::KnownHosts { path, .. } => (*path).clone(),
        };
        Err(Box::new(HostKeyError::NotTrusted {
            destination: destination.name.clone(),
            host,
            shown: describe(key),
            path,
            status,
        }))
    }
}

/// What is wrong with the destination's file of known keys, which can be opened: a line that cannot be read, while no other
/// one has a key of the host.
pub(crate) fn known_hosts_finding(destination: &Destination) -> Option<String> {
    let trusted = TrustedKeys::load(destination).ok()?;
    let TrustedKeys::KnownHosts { path, text } = &trusted else {
        return None;
    };
    let (known, host) = (KnownHosts::parse(text), host_of(destination));
    let line = known
        .first_unreadable()
        .filter(|_| known.trusted(&host).is_empty())?;
    let (path, host) = (path.display(), host.name());
    Some(format!(
        "known_hosts {path}:{line}: this is no host key that can be read, and no other line has one of {host}; a line is like \
         `{host} ssh-ed25519 AAAA…`; `logferry trust {}` shows the host key and writes it there",
        destination.name
    ))
}

/// The destination as a host in a file of known keys.
pub(super) fn host_of(destination: &Destination) -> KnownHost {
    KnownHost::new(&destination.host, destination.port)
}

/// The fingerprint as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

pub(super) fn describe(key: &[u8]) -> String {
    format!("{} {}", key_type(key), fingerprint(key))
}
