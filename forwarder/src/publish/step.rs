//! The words of [`super::publish_steps`]: its steps, its states, how it may publish, and how an attempt begins and ends.

/// The next step at the destination. It applies to the temporary name
/// [`temporary`](super::publish_steps::PublishSteps::temporary).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishStep {
    /// Get the status of the final name.
    Look,
    /// Compare the file under the final name with ours, byte for byte.
    Compare {
        /// Whether it is known to exist.
        there: bool,
    },
    /// Get the status of the temporary name.
    LookTemporary,
    /// Read back the file under the temporary name, as far as it equals the beginning of ours.
    VerifyBeginning {
        /// At most this many bytes.
        len: u64,
    },
    /// Upload to the temporary name.
    Upload {
        /// The bytes that are there and verified. If 0, the file must be a new one.
        from: u64,
    },
    /// Get the status of the folder that the file goes into: a server that shows it answers for the names in it.
    LookFolder,
    /// Have the server hash the temporary file.
    Hash,
    /// Compare the temporary file with ours, byte for byte.
    ReadBack,
    /// Note in the ledger that the file may be published from now on.
    Note,
    /// Rename the temporary name to the final one, or link the final one to it.
    Publish(PublishMethod),
    /// Note in the ledger that the attempt gives up: a temporary name that is gone is no sign of a publication any more.
    GiveUp(PublishOutcome),
    /// Remove the temporary name if it exists.
    RemoveTemporary(PublishOutcome),
    /// Note in the ledger that all of this attempt's removals are answered; then the attempt ends.
    Removed(PublishOutcome),
    /// The attempt is over.
    End(PublishOutcome),
}

/// How a file gets its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishMethod {
    /// By a rename: the server refuses to replace a file, or supports nothing better.
    Rename,
    /// By a link, which cannot replace, and the removal of the temporary name.
    Link,
    /// By `posix-rename@openssh.com`, which replaces, where the server refuses to do it otherwise: its file system may have
    /// no links. Only right after the server has said that the name is free.
    PosixRename,
}

/// How an attempt ended, unless a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
    /// The file was published: by this attempt, or by an earlier one that continued with the files after it.
    Published,
    /// The file was there.
    FoundThere,
    /// The file had been published and was removed before an attempt could see it.
    TakenAway,
    /// A different file has its name.
    NameTaken,
    /// A file has its name and cannot be read.
    Unreadable,
    /// The name is free, but the server refused the rename.
    RenameRefused,
    /// The upload failed; the connection works.
    NotUploaded,
    /// The temporary file differs from the uploaded bytes, or cannot be verified.
    NotVerified,
}

impl PublishOutcome {
    /// Whether the file has been published.
    pub(crate) fn is_published(self) -> bool {
        matches!(self, Self::Published | Self::FoundThere | Self::TakenAway)
    }
}

/// What the ledger says of earlier attempts at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlierAttempts {
    /// Nothing.
    None,
    /// One may have published it, from this temporary name.
    Noted(u8),
    /// One gave up. Its requests to remove the temporary names up to this one, and renames from them, may still be carried
    /// out.
    GaveUp(u8),
}

/// The state of the temporary file in this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadState {
    /// Nothing was written.
    Fresh,
    /// No file could be created under the temporary name.
    NotCreated,
    /// The temporary file is complete.
    Uploaded,
    /// The server refused the rename.
    Refused,
    /// The server refused the rename because the file does not exist.
    Gone,
}

/// The note in the ledger that the file may have been published. No temporary file is removed before the ledger says that the
/// attempt gives up, unless the file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoteState {
    /// There is none.
    None,
    /// An earlier attempt made it, about this temporary name.
    Before,
    /// This attempt made it, about this temporary name.
    Now,
    /// It is about an earlier temporary name, whose file is still there.
    OtherName,
}
