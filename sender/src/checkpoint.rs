//! The checkpoint: the acknowledged offset of each stream, on the sender's disk.
//!
//! It is only a hint: the relay's offsets count. It distinguishes old streams from new files if the relay has forgotten
//! them, and it shows that this is not the very first start, to which `start: end` applies.
//!
//! `<state_dir>/checkpoint` is one line of JSON with a version, and a second line with its CRC-32C:
//!
//! ```text
//! {"version":1,"streams":[...],"archives":[...],"unsent":[...],"gaps":[...],"skipped":[...], …}
//! crc32c 1a2b3c4d
//! ```
//!
//! A file that is empty, torn or of another version is refused as a whole.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use logferry_durable::Disk;
use logferry_protocol::heartbeat::ReportedGap;
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{KnownStream, LedgerId, StreamPosition};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};
use serde::{Deserialize, Serialize};

use crate::chunks::line_marks::LineMarks;
use crate::files::FileStat;

/// Its name in the state folder.
pub(crate) const FILE_NAME: &str = "checkpoint";
const VERSION: u32 = 1;

/// The acknowledged offsets of all streams, the shipped compressed files, and the state for finding losses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) streams: Vec<CheckpointStream>,
    #[serde(default)]
    pub(crate) archives: Vec<ShippedArchive>,
    #[serde(default)]
    pub(crate) unsent: Vec<UnsentFile>,
    #[serde(default)]
    pub(crate) gaps: Vec<ReportedGap>,
    #[serde(default)]
    pub(crate) skipped: Vec<SkippedStart>,
    #[serde(default)]
    pub(crate) former_names: Vec<FormerName>,
    #[serde(default)]
    pub(crate) held: Vec<HeldBeside>,
    /// Streams whose files are gone or were rewritten, and whose lines may come back.
    #[serde(default)]
    pub(crate) former: Vec<CheckpointStream>,
    /// Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unopened: Vec<UnopenedFile>,
    /// The logs whose files were seen: `start: end` leaves out nothing of them any more. Earlier versions did not write it, and
    /// had seen all logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen_logs: Option<Vec<SeenLog>>,
    /// The relay's ledger that has all this. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<LedgerId>,
    /// When that ledger was restored from a backup last, or 0. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ledger_restored: Option<i64>,
    /// When the sender stopped, in seconds since 1970, with an answer to all that it had posted. It is the last checkpoint then, and
    /// the next sender replaces it before it sends. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointStream {
    pub(crate) log: LogName,
    /// The last path of its file, for people who read the checkpoint.
    pub(crate) path: String,
    /// The stream, committed as far as it is acknowledged.
    pub(crate) stream: KnownStream,
    pub(crate) finished: bool,
    /// The largest size that its file was seen to have. The first version did not write it.
    #[serde(default)]
    pub(crate) seen: Offset,
    #[serde(default, skip_serializing_if = "LineMarks::is_empty")]
    pub(crate) marks: LineMarks,
    /// What the stream has left out of its file, and leaves out again if the relay has forgotten the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<SkippedStart>,
}

/// A file of which no byte is acknowledged yet. If it is gone at the next start, it is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnsentFile {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) file: FileKey,
    pub(crate) head: Head,
    pub(crate) size: Offset,
    /// The bytes before `size`, if they could be read; earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail: Option<Tail>,
}

/// A file that was seen and could not be opened. If it is gone at the next start, it is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnopenedFile {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) file: FileKey,
    pub(crate) size: Offset,
}

/// A log that was searched for files, by its name and its path in the configuration: one of them may be a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenLog {
    pub(crate) name: LogName,
    pub(crate) path: String,
}

/// A name that a log had before: the relay has streams of the log under that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormerName {
    /// `path` of the log in the configuration, by which it is recognised.
    pub(crate) path: String,
    pub(crate) name: LogName,
}

/// What `start: end` leaves out of a file, until the relay knows it: the bytes that the first start saw. Or the bytes that another
/// shipper has shipped before this sender took over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedStart {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) file: FileKey,
    /// `None` if the file had no whole line.
    pub(crate) head: Option<Head>,
    pub(crate) end: Offset,
    /// The bytes before `end`; `None` if the file could not be read.
    pub(crate) tail: Option<Tail>,
    /// The relay knew no stream of the log: it was a first start.
    pub(crate) confirmed: bool,
    /// Whether `end` counts as it stands, also inside a line: another shipper has shipped the bytes before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exact: bool,
    /// Whether the relay had the lines from another file. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) known: bool,
}

/// A compressed file that was shipped completely, in a stream that earlier versions did not note. If its stat changes, it is read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedArchive {
    pub(crate) log: LogName,
    pub(crate) path: String,
    #[serde(rename = "facts")]
    pub(crate) stat: FileStat,
    pub(crate) stream: Option<StreamId>,
    /// What was left out of it, and is left out again if the relay has forgotten its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<SkippedStart>,
}

/// A file that appeared beside a log, and is not shipped. If its stat changes, it is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldBeside {
    pub(crate) log: LogName,
    pub(crate) path: String,
    pub(crate) stat: FileStat,
    pub(crate) head: Head,
    /// Its size, and the bytes before its end. It may be compressed or moved later.
    pub(crate) end: StreamPosition,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("it does not end in a checksum line")]
    Torn,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Malformed(String),
    #[error(
        "a later version of logferry wrote it, in format {0}, and this one knows {VERSION}; before you go back to that version, \
         move it back"
    )]
    Version(u32),
}

#[derive(Serialize)]
struct VersionedCheckpoint<'a> {
    version: u32,
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
}

#[derive(Deserialize)]
struct VersionField {
    version: u32,
}

impl Checkpoint {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let body = VersionedCheckpoint {
            version: VERSION,
            checkpoint: self,
        };
        let mut bytes = serde_json::to_vec(&body).expect("numbers and strings only, which JSON can hold");
        bytes.push(b'\n');
        let checksum = format!("crc32c {:08x}\n", crc32c::crc32c(&bytes));
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let ended = bytes.strip_suffix(b"\n").ok_or(CheckpointError::Torn)?;
        let body_end = memchr::memrchr(b'\n', ended).ok_or(CheckpointError::Torn)? + 1;
        let (body, checksum) = ended.split_at(body_end);
        let expected = format!("crc32c {:08x}", crc32c::crc32c(body));
        if !checksum.starts_with(b"crc32c ") {
            return Err(CheckpointError::Torn);
        }
        if checksum != expected.as_bytes() {
            return Err(CheckpointError::Checksum);
        }
        let malformed = |error: serde_json::Error| CheckpointError::Malformed(error.to_string());
        let VersionField { version } = serde_json::from_slice(body).map_err(malformed)?;
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        serde_json::from_slice(body).map_err(malformed)
    }
}

#[derive(Debug)]
pub(crate) struct CheckpointStore<D> {
    disk: D,
    path: PathBuf,
    /// Whether the last save failed: a lasting failure is logged once.
    failing: bool,
}

impl<D: Disk> CheckpointStore<D> {
    pub(crate) fn new(disk: D, state_dir: &Path) -> Self {
        Self {
            disk,
            path: state_dir.join(FILE_NAME),
            failing: false,
        }
    }

    /// The checkpoint, or `None` if there is none. An unusable one is moved aside, and the sender asks the relay instead.
    pub(crate) fn load(&self) -> Option<Checkpoint> {
        let bytes = match self.disk.read(&self.path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the checkpoint cannot be read; the sender asks the relay instead"
                );
                return Some(Checkpoint::default());
            }
        };
        match Checkpoint::from_bytes(&bytes) {
            Ok(checkpoint) => Some(checkpoint),
            Err(reason) => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
                let seconds = since_epoch.map_or(0, |since| since.as_secs());
                let aside = self.path.with_file_name(format!("checkpoint.bad-{seconds}"));
                tracing::warn!(
                    path = %self.path.display(), aside = %aside.display(), %reason,
                    "the checkpoint is unusable and was moved aside; the sender asks the relay instead"
                );
                if let Err(error) = self.disk.rename(&self.path, &aside) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the unusable checkpoint cannot be moved aside; the next checkpoint replaces it"
                    );
                }
                // This is not the first start.
                Some(Checkpoint::default())
            }
        }
    }

    /// Replaces the checkpoint. Returns whether that succeeded. If it fails, shipping continues: the relay knows the
    /// offsets too.
    pub(crate) fn save(&mut self, checkpoint: &Checkpoint) -> bool {
        let saved = self.disk.replace(&self.path, &checkpoint.to_bytes());
        let was_failing = std::mem::replace(&mut self.failing, saved.is_err());
        match &saved {
            Ok(()) if was_failing => {
                tracing::info!(path = %self.path.display(), "the checkpoint can be saved again");
            }
            Err(error) if !was_failing => tracing::warn!(
                error = error as &dyn std::error::Error,
                "the checkpoint cannot be saved, shipping goes on; make the state folder writable and free its disk"
            ),
            _ => {}
        }
        saved.is_ok()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests;
