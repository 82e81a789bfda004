//! Why a host key is not trusted.

use std::path::PathBuf;

use logferry_protocol::names::DestinationName;

/// A server's host key is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file of known keys cannot be read.
    #[error(
        "cannot read {}, so no host key is trusted: have one stored there with `logferry trust {destination}`",
        .path.display()
    )]
    Unreadable {
        /// The destination.
        destination: DestinationName,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No key of this host is known.
    #[error(
        "the host key of {host} is not known: it shows {shown}, and {} has none of it; if its operator confirms that \
         fingerprint, run `logferry trust {destination}`", .path.display()
    )]
    Unknown {
        /// The destination.
        destination: DestinationName,
        /// The server, with its port if that is not 22.
        host: String,
        /// Type and fingerprint of the key it shows.
        shown: String,
        /// The file of known keys.
        path: PathBuf,
    },
    /// Another key of this host is known.
    #[error(
        "the host key of {host} is not the known one: it shows {shown}, known is {known}; either it was replaced, or \
         somebody stands between: ask its operator, and only then run `logferry trust {destination}`, which replaces it \
         in {}", .path.display()
    )]
    Changed {
        /// The destination.
        destination: DestinationName,
        /// The server, with its port if that is not 22.
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
