//! How a server's host key compares with the known ones, and why one is not trusted.

use std::path::{Path, PathBuf};

use logferry_protocol::names::DestinationName;

/// How a host key compares with the known ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyStatus {
    /// The key is trusted.
    Trusted,
    /// No key of the host is known.
    New,
    /// Other keys of the host are known, each with type and fingerprint.
    Changed {
        /// Those that stay when the new key is stored: of other types, or known by a pattern.
        staying: Vec<String>,
        /// Those that the new key replaces.
        replaced: Vec<String>,
    },
    /// The key is marked as revoked and must never be trusted.
    Revoked,
    /// The configuration names a different fingerprint.
    NotConfigured {
        /// The fingerprint in the configuration.
        configured: String,
    },
}

/// A server's host key is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file of known keys cannot be read.
    #[error(
        "cannot read {}, so no host key is trusted: store one there with `logferry trust {destination}`",
        .path.display()
    )]
    Unreadable {
        /// The destination.
        destination: DestinationName,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The key is not a known one.
    #[error("{}", .status.refusal(.destination, .host, .shown, .path))]
    NotTrusted {
        /// The destination.
        destination: DestinationName,
        /// The server; for a key that is new or has changed, with its port if that is not 22.
        host: String,
        /// Type and fingerprint of the key that the server shows.
        shown: String,
        /// The file of known keys.
        path: PathBuf,
        /// How the key compares with the known ones.
        status: HostKeyStatus,
    },
}

impl HostKeyStatus {
    fn refusal(&self, destination: &DestinationName, host: &str, shown: &str, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Trusted => format!("the host key of {host} is trusted: {shown}"),
            Self::New => format!(
                "the host key of {host} is not known: the server shows {shown}, and {path} has no key of this host; if the \
                 server's operator confirms that fingerprint, run `logferry trust {destination}`"
            ),
            Self::Changed { staying, replaced } => format!(
                "the host key of {host} has changed: the server shows {shown}, known is {}; either the key was replaced, or \
                 another host answers in its place: ask the server's operator, and only then run `logferry trust \
                 {destination}`, which replaces the key in {path}",
                [&replaced[..], staying].concat().join(", ")
            ),
            Self::Revoked => format!("the host key of {host} is marked as revoked in {path}: {shown}"),
            Self::NotConfigured { configured } => format!(
                "the host key of {host} is not the configured one: the server shows {shown}, `host_key` is {configured}; \
                 either the key was replaced, or another host answers in its place: ask the server's operator, and only \
                 then change `host_key`"
            ),
        }
    }
}
