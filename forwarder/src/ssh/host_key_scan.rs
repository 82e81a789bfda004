//! Gets a destination's host key, for `logferry trust`. No credential is sent.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use logferry_config::Destination;
use logferry_durable::{Disk, DiskError, RealDisk};
use tokio_util::sync::CancellationToken;

use super::handshake::{Handshake, has_no_such_key};
use super::host_key::{TrustedKeys, fingerprint, host_of};
use super::known_hosts::{KnownHosts, key_type};
use crate::error::{DeliveryError, HostKeyStatus};

/// A destination's host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyScan {
    /// The key, in wire form (RFC 4253, section 6.6).
    key: Vec<u8>,
    /// How it compares with the known keys.
    pub status: HostKeyStatus,
}

/// A host key could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreHostKeyError {
    /// The file of known keys cannot be read, or its permissions cannot be set.
    #[error("cannot read {} or set its permissions", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file of known keys cannot be written.
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

    /// Connects to a destination and gets its host key; a trusted one, if it has one of those.
    ///
    /// Blocks for up to a minute or two if the destination does not answer.
    pub fn run(destination: &Destination) -> Result<Self, DeliveryError> {
        let trusted = TrustedKeys::from_file(destination, |path| read(path))?;
        let (mut first, mut refused) = (None, None);
        for key_types in trusted.key_type_offers(destination) {
            match Handshake::start(destination, key_types, &CancellationToken::new()) {
                Ok(Handshake { host_key: key, .. }) => {
                    let status = trusted.status(destination, &key);
                    let scan = Self { key, status };
                    if scan.status == HostKeyStatus::Trusted {
                        return Ok(scan);
                    }
                    first.get_or_insert(scan);
                }
                // The server has no key of these types, but may have another one.
                Err(DeliveryError::Handshake(address, source)) if has_no_such_key(&source) => {
                    refused.get_or_insert(DeliveryError::Handshake(address, source));
                }
                Err(error) => return Err(error),
            }
        }
        match (first, refused) {
            (Some(scan), _) => Ok(scan),
            (None, Some(refused)) => Err(refused),
            (None, None) => unreachable!("there is at least one offer"),
        }
    }

    /// Stores the key in the file of known keys, which is replaced as a whole and keeps its permissions. The other lines of
    /// the file are not changed.
    pub fn store(&self, destination: &Destination, path: &Path) -> Result<(), StoreHostKeyError> {
        let at = |source| StoreHostKeyError::File {
            path: path.to_owned(),
            source,
        };
        // A link stays a link; its target is replaced.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let file = read(path).map_err(at)?;
        let permissions = path.metadata().map(|metadata| metadata.permissions());
        // The file has no secrets, and the forwarder's user must be able to read it.
        let permissions = permissions.unwrap_or_else(|_| Permissions::from_mode(0o644));
        let text = String::from_utf8_lossy(&file);
        let learned = KnownHosts::parse(&text).with_key(&file, &host_of(destination), &self.key);
        if let Some(folder) = path.parent() {
            RealDisk.create_dir_all(folder)?;
        }
        RealDisk.replace(path, &learned)?;
        std::fs::set_permissions(path, permissions).map_err(at)
    }
}

/// A file's bytes; none if the file does not exist.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}
