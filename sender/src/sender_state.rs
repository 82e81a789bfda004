//! The sender's own account of itself in its state folder, for `logferry status` on its host.
//!
//! `<state_dir>/status.json` is written at the start, every ten seconds, soon after a failure begins or ends, and at a stop.
//! Nothing depends on it: a file that is torn or of another version is no account.

use logferry_protocol::heartbeat::{HeldFile, HostTime, LogProblem};
use logferry_protocol::names::{LogName, SourceId};
use logferry_protocol::stream::Offset;
use serde::{Deserialize, Serialize};

/// What a sender knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderState {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Whether it has stopped, and this is its last word.
    pub is_stopped: bool,
    /// When it was started.
    pub started_at: HostTime,
    /// When this was written.
    pub written_at: HostTime,
    /// The relay's configured addresses.
    pub relay: String,
    /// The source that the relay takes it for; `None` until the relay has answered.
    pub source: Option<SourceId>,
    /// Why the last chunk failed, or the last request of another kind to the relay; `None` if neither did.
    pub last_error: Option<String>,
    /// Since when requests fail.
    pub failing_since: Option<HostTime>,
    /// Since when its checkpoint cannot be saved; `None` if it can.
    pub checkpoint_failing_since: Option<HostTime>,
    /// Its files, at most ten thousand, those that are behind first.
    pub logs: Vec<LogFileState>,
    /// How many files it follows.
    pub files: u64,
    /// Bytes of all its files that the relay does not have; `None` if that is not known.
    pub lag_bytes: Option<u64>,
    /// What keeps it from logs.
    pub log_problems: Vec<LogProblem>,
    /// Files that it sees and does not ship.
    pub held: Vec<HeldFile>,
}

/// Most files in one account.
pub(crate) const LOGS_MAX: usize = 10_000;

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFileState {
    /// The log.
    pub name: LogName,
    /// Where it is.
    pub path: String,
    /// How far the relay has it; `None` if that is not known yet.
    pub offset: Option<Offset>,
    /// Its size.
    pub size: Offset,
    /// Bytes that the relay does not have; `None` if that is not known yet.
    pub lag_bytes: Option<u64>,
    /// Its state.
    pub state: LogFileProgress,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFileProgress {
    /// It cannot be read.
    Unreadable,
    /// The relay was not asked yet how much of it it has.
    Unresolved,
    /// It is not shipped; a person has to look at it.
    Held,
    /// It has bytes that the relay does not have.
    Behind,
    /// The relay has all of it.
    Current,
}

impl LogFileProgress {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unresolved => "unresolved",
            Self::Held => "held",
            Self::Behind => "behind",
            Self::Current => "current",
        }
    }
}
