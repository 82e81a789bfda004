//! Why a host key is not trusted.

use std::path::PathBuf;

use logferry_protocol::names::DestinationName;

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
    /// No key of this host is known.
    #[error(
        "the host key of {host} is not known: the server shows {shown}, and {} has no key of this host; if the server's \
         operator confirms that fingerprint, run `logferry trust {destination}`", .path.display()
    )]
    Unknown {
        /// The destination.
        destination: DestinationName,
        /// The server, with its port if that is not 22.
        host: String,
        /// Type and fingerprint of the key that the server shows.
        shown: String,
        /// The file of known keys.
        path: PathBuf,
    },
    /// Another key of this host is known.
    #[error(
        "the host key of {host} has changed: the server shows {shown}, known is {known}; either the key was replaced, or \
         another host answers in its place: ask the server's operator, and only then run `logferry trust {destination}`, \
         which replaces the key in {}", .path.display()
    )]
    Changed {
        /// The destination.
        destination: DestinationName,
        /// The server, with its port if that is not 22.
        host: String,
        /// Type and fingerprint of the key that the server shows.
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
        /// Type and fingerprint of the key that the server shows.
        shown: String,
        /// The file of known keys.
        path: PathBuf,
    },
    /// The key is not the one that the configuration names.
    #[error(
        "the host key of {host} is not the configured one: the server shows {shown}, `host_key` is {configured}; either the \
         key was replaced, or another host answers in its place: ask the server's operator, and only then change \
         `host_key`"
    )]
    NotConfigured {
        /// The server.
        host: String,
        /// Type and fingerprint of the key that the server shows.
        shown: String,
        /// The fingerprint in the configuration.
        configured: String,
    },
}
