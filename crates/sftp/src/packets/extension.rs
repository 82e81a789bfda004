//! The extensions that this client can use.

/// An extension: from OpenSSH's PROTOCOL file, section 4, unless another source is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// A rename that replaces a file of the new name.
    PosixRename,
    /// Syncs a written file.
    Fsync,
    /// Reports the server's limits.
    Limits,
    /// Reports free space.
    Statvfs,
    /// Makes a second name for a file.
    Hardlink,
    /// Hashes of files, made by the server (draft-ietf-secsh-filexfer-extensions-00, section 3).
    CheckFile,
}

impl Extension {
    pub(super) const ALL: [Self; 6] = [
        Self::PosixRename,
        Self::Fsync,
        Self::Limits,
        Self::Statvfs,
        Self::Hardlink,
        Self::CheckFile,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::PosixRename => "posix-rename@openssh.com",
            Self::Fsync => "fsync@openssh.com",
            Self::Limits => "limits@openssh.com",
            Self::Statvfs => "statvfs@openssh.com",
            Self::Hardlink => "hardlink@openssh.com",
            Self::CheckFile => "check-file",
        }
    }

    /// Whether this client knows the wire format of that revision.
    pub(super) fn knows(self, revision: &[u8]) -> bool {
        match self {
            Self::Statvfs => revision == b"2",
            // This extension has no revisions; servers send different values.
            Self::CheckFile => true,
            _ => revision == b"1",
        }
    }
}
