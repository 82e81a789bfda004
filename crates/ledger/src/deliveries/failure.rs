//! The kinds of delivery failures, with the names that `status`, logs and metrics use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection: name, port, network.
    Unreachable,
    /// The destination rejected the login.
    Auth,
    /// The host key of the destination is not the expected one.
    HostKey,
    /// The destination denies a permission needed for delivery.
    Permission,
    /// The folder does not exist.
    NoFolder,
    /// Its disk or quota is full.
    NoSpace,
    /// Another file has the batch's name.
    NameTaken,
    /// No byte was transferred for a long time.
    Stalled,
    /// The destination violates the SSH or SFTP protocol.
    Protocol,
    /// The connection broke.
    ConnectionLost,
    /// The destination refused a request without a reason.
    Refused,
    /// The file there differs from the uploaded one.
    Spoiled,
    /// The batch's own file on this host is missing, altered or unreadable.
    LocalFile,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Unreachable,
        Self::Auth,
        Self::HostKey,
        Self::Permission,
        Self::NoFolder,
        Self::NoSpace,
        Self::NameTaken,
        Self::Stalled,
        Self::Protocol,
        Self::ConnectionLost,
        Self::Refused,
        Self::Spoiled,
        Self::LocalFile,
    ];

    /// The kind's name in the ledger, in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Auth => "auth",
            Self::HostKey => "host_key",
            Self::Permission => "permission",
            Self::NoFolder => "no_folder",
            Self::NoSpace => "no_space",
            Self::NameTaken => "name_taken",
            Self::Stalled => "stalled",
            Self::Protocol => "protocol",
            Self::ConnectionLost => "connection_lost",
            Self::Refused => "refused",
            Self::Spoiled => "spoiled",
            Self::LocalFile => "local_file",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in FailureKind::ALL {
            let name = serde_json::Value::from(kind.as_str());
            assert_eq!(serde_json::to_value(kind).ok().as_ref(), Some(&name));
            assert_eq!(serde_json::from_value(name).ok(), Some(kind));
        }
        assert!(serde_json::from_str::<FailureKind>("\"bored\"").is_err());
    }
}
