//! Getting to know a destination's host key, for `logferry trust`. No credential is sent.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use logferry_config::{Destination, HostKeyPolicy};
use logferry_durable::{Disk, DiskError, RealDisk};
use tokio_util::sync::CancellationToken;

use super::handshake::{Handshake, has_no_such_key};
use super::host_key::{TrustedKeys, describe, fingerprint, host_of};
use super::known_hosts::{KnownHosts, key_type};
use crate::error::{DeliveryError, HostKeyError};

/// A host key that a destination shows, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyScan {
    /// The key, in wire form (RFC 4253, section 6.6).
    key: Vec<u8>,
    /// What is known.
    pub status: HostKeyStatus,
}

/// What is known of a host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyStatus {
    /// It is trusted already.
    Trusted,
    /// The host has no key yet.
    New,
    /// The host has other keys.
    Changed {
        /// Those that would stay beside the new one: of other types, or known by a pattern.
        staying: Vec<String>,
        /// Those that the new one would replace.
        replaced: Vec<String>,
    },
    /// It is marked as revoked, and must never be trusted.
    Revoked,
    /// The configuration names another fingerprint.
    NotConfigured {
        /// The fingerprint in the configuration.
        configured: String,
    },
}

/// A host key could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreHostKeyError {
    /// The file of known keys cannot be read, or its rights cannot be set.
    #[error("cannot read {} and set its rights", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot store the host key")]
    Disk(#[from] DiskError),
}

impl HostKeyScan {
    /// The key's type, such as `ssh-ed25519`.
    pub fn key_type(&self) -> &str {
        key_type(&self.key)
    }

    /// The key's fingerprint, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// Connects to a destination and looks at its host key: one that is known, if it has one of those.
    ///
    /// Blocks for up to a minute or two when the destination does not answer.
    pub fn run(destination: &Destination) -> Result<Self, DeliveryError> {
        let trust = match &destination.host_key {
            HostKeyPolicy::Fingerprint(configured) => TrustedKeys::Fingerprint(configured),
            HostKeyPolicy::KnownHosts(path) => {
                let file = read(path).map_err(|source| HostKeyError::Unreadable {
                    destination: destination.name.clone(),
                    path: path.clone(),
                    source,
                })?;
                let text = String::from_utf8_lossy(&file).into_owned();
                TrustedKeys::KnownHosts { path, text }
            }
        };
        let (mut first, mut refused) = (None, None);
        for key_types in trust.key_type_offers(destination) {
            match Handshake::start(destination, key_types, &CancellationToken::new()) {
                Ok(Handshake { host_key: key, .. }) => {
                    let status = status(&trust, destination, &key);
                    let it = Self { key, status };
                    if it.status == HostKeyStatus::Trusted {
                        return Ok(it);
                    }
                    first.get_or_insert(it);
                }
                // It has no key of these types, but may have another.
                Err(DeliveryError::Handshake { address, source }) if has_no_such_key(&source) => {
                    refused.get_or_insert(DeliveryError::Handshake { address, source });
                }
                Err(error) => return Err(error),
            }
        }
        match (first, refused) {
            (Some(it), _) => Ok(it),
            (None, Some(refused)) => Err(refused),
            (None, None) => unreachable!("something was offered"),
        }
    }

    /// Keeps the key in the destination's file of known keys, which is replaced as a whole and keeps its rights. The
    /// file's other lines stay as they are.
    pub fn store(&self, destination: &Destination, path: &Path) -> Result<(), StoreHostKeyError> {
        let at = |source| StoreHostKeyError::File {
            path: path.to_owned(),
            source,
        };
        // What stands behind a link is to be changed, not the link.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let file = read(path).map_err(at)?;
        let rights = path.metadata().map(|metadata| metadata.permissions());
        // Nothing in it is secret, and the forwarder's user has to read it.
        let rights = rights.unwrap_or_else(|_| Permissions::from_mode(0o644));
        let text = String::from_utf8_lossy(&file);
        let learned = KnownHosts::parse(&text).with_key(&file, &host_of(destination), &self.key);
        if let Some(folder) = path.parent() {
            RealDisk.create_dir_all(folder)?;
        }
        RealDisk.replace(path, &learned)?;
        std::fs::set_permissions(path, rights).map_err(at)
    }
}

/// A file's bytes; none if there is no file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

fn status(trust: &TrustedKeys<'_>, destination: &Destination, key: &[u8]) -> HostKeyStatus {
    let text = match trust {
        TrustedKeys::Fingerprint(configured) if fingerprint(key) == **configured => {
            return HostKeyStatus::Trusted;
        }
        TrustedKeys::Fingerprint(configured) => {
            return HostKeyStatus::NotConfigured {
                configured: (*configured).to_owned(),
            };
        }
        TrustedKeys::KnownHosts { text, .. } => text,
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
