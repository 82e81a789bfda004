//! The results of the steps at the destination, and how the server's answers become results. Pure.

use logferry_sftp::{JobError, JobOutcome, RequestKind, StatusCode};

use crate::error::DeliveryError;

/// The status of a name at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameStatus {
    /// No file has it.
    Absent,
    /// A file has it. Servers need not report the size.
    Present {
        /// In bytes.
        size: Option<u64>,
    },
    /// The server does not say.
    Unknown,
}

/// How a file at the destination compares with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileComparison {
    /// The same bytes.
    Same,
    /// Different, fewer or more bytes.
    Different,
    /// There is no file.
    Absent,
    /// The server does not allow reading it.
    Unreadable,
}

/// How the file under a temporary name begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileStart {
    /// So many bytes from its beginning are ours.
    Same(u64),
    /// There is no file.
    Absent,
    /// The server does not open it: it does not allow reading, or it says of a missing file only that it failed.
    NotOpened,
}

/// The result of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadOutcome {
    /// The server confirmed every byte, and the size is right.
    Whole,
    /// The server confirmed every byte, and does not report the size.
    SizeUnknown,
    /// The upload failed.
    Failed,
    /// The file could not be created; its name may be taken.
    NotCreated,
}

/// The result of a rename or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenameOutcome {
    /// Done.
    Done,
    /// The server says only that it failed: the temporary file may be missing, or the final name be taken.
    Failed,
    /// The server refused, and not because a file is missing.
    Refused,
    /// The server refused because the temporary file does not exist.
    Gone,
}

/// Whether the file could not be created, or not be opened again (`is_resumed`). A new one may exist already: SFTP version 3 has no
/// status code for that. An account that may not create files gets the same answer for each name; one that may not open a file
/// again may create another.
pub(super) fn create_failed(error: &DeliveryError, is_resumed: bool) -> bool {
    use StatusCode::{NoSuchFile, PermissionDenied};
    matches!(
        error,
        DeliveryError::Remote(JobError::Refused { step: RequestKind::Open, status, .. })
            if status.code != NoSuchFile && (is_resumed || status.code != PermissionDenied)
    )
}

/// Whether a failed removal of a temporary name can be ignored: the name is gone, or the file is published and the server
/// lets no client remove anything. Some servers say of a missing file only that they failed: so that is no failure of a name that
/// is not known to exist (`is_known`).
pub(super) fn removal_may_fail(error: &JobError, is_published: bool, is_known: bool) -> bool {
    match error.code() {
        Some(StatusCode::NoSuchFile) => true,
        Some(StatusCode::PermissionDenied | StatusCode::OpUnsupported) => is_published,
        Some(_) => !is_known,
        None => false,
    }
}

/// What the server said of a name.
pub(super) fn name_status(result: Result<JobOutcome, JobError>) -> NameStatus {
    match result {
        Ok(JobOutcome::Found(attributes)) => NameStatus::Present {
            size: attributes.size,
        },
        Ok(_) => NameStatus::Present { size: None },
        Err(error) if error.code() == Some(StatusCode::NoSuchFile) => NameStatus::Absent,
        Err(_) => NameStatus::Unknown,
    }
}
