//! The sender's account of itself for its own host: every file, how far it is, and the last error.

use logferry_protocol::heartbeat::HostTime;
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Offset;
use logferry_text::error_chain;

use crate::clock::Now;
use crate::error::RequestError;
use crate::files::discovery::FileRole;
use crate::files::{FileHandle, FileSystem};
use crate::sender_state::{LOGS_MAX, LogFileProgress, LogFileState, SenderState};
use crate::streams::tracked_stream::StreamPhase;
use crate::tail::Tailer;
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{CompressedState, FileState, TrackedFile};

/// What the relay's answers say of the way to it.
#[derive(Debug)]
pub(super) struct RelayContact {
    relay: String,
    source: Option<SourceId>,
    failing: Option<(HostTime, String)>,
}

impl RelayContact {
    pub(super) fn new(relay: String) -> Self {
        Self {
            relay,
            source: None,
            failing: None,
        }
    }

    pub(super) fn answered(&mut self, source: Option<SourceId>) {
        self.failing = None;
        self.source = source.or_else(|| self.source.take());
    }

    pub(super) fn failed(&mut self, error: &RequestError, now: Now) {
        let since = self.failing.take().map(|(since, _)| since);
        let since = since.unwrap_or_else(|| HostTime::from(now.wall));
        self.failing = Some((since, error_chain(error)));
    }
}

impl<F: FileSystem> Tailer<F> {
    pub(crate) fn state(&self, now: Now) -> SenderState {
        let mut logs: Vec<_> = self.logs.iter().flat_map(|log| log.file_states(now)).collect();
        let files = logs.len() as u64;
        let lag_bytes = logs.iter().map(|log| log.lag_bytes).sum();
        logs.sort_by_key(|log| log.state);
        logs.truncate(LOGS_MAX);
        let failing = self.contact.failing.as_ref();
        SenderState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            is_stopped: self.stopping_since.is_some(),
            started_at: self.heartbeat.started,
            written_at: HostTime::from(now.wall),
            relay: self.contact.relay.clone(),
            source: self.contact.source.clone(),
            last_error: failing.map(|(_, error)| error.clone()),
            failing_since: failing.map(|(since, _)| *since),
            checkpoint_failing_since: self.heartbeat.unsaved_since,
            logs,
            files,
            lag_bytes,
            log_problems: self.problems.told().cloned().collect(),
            held: self.logs.iter().flat_map(|log| log.held(now)).collect(),
        }
    }
}

impl<H: FileHandle> TailedLog<H> {
    /// The files that are present and not finished, or that somebody has to look at.
    fn file_states(&self, now: Now) -> impl Iterator<Item = LogFileState> + '_ {
        self.files.iter().filter_map(move |file| {
            let (state, offset) = progress(file, now)?;
            let lag = |offset: Offset| file.size().since(offset);
            Some(LogFileState {
                name: self.name.clone(),
                path: file.path.display().to_string(),
                offset,
                size: file.size(),
                lag_bytes: match state {
                    LogFileProgress::Held => Some(0),
                    _ => offset.map(lag),
                },
                state,
            })
        })
    }
}

/// How far a file is; `None` if there is nothing more to do with it.
fn progress<H: FileHandle>(file: &TrackedFile<H>, now: Now) -> Option<(LogFileProgress, Option<Offset>)> {
    if file.held_reason(now).is_some() {
        return Some((LogFileProgress::Held, None));
    }
    match &file.state {
        FileState::Unopened if file.is_waiting => Some((LogFileProgress::Unresolved, None)),
        FileState::Unopened | FileState::Compressed(CompressedState::Damaged) => {
            (file.role != FileRole::Gone).then_some((LogFileProgress::Unreadable, None))
        }
        FileState::Unidentified(_) => Some((LogFileProgress::Unresolved, None)),
        FileState::TooShort => Some((LogFileProgress::Current, Some(file.size()))),
        FileState::Copy { .. } | FileState::Compressed(_) | FileState::Held(_) => None,
        FileState::Stream(stream) if stream.phase == StreamPhase::Finished => None,
        FileState::Stream(stream) => {
            let acked = stream.acked.offset;
            let state = if acked < file.size() {
                LogFileProgress::Behind
            } else {
                LogFileProgress::Current
            };
            Some((state, Some(acked)))
        }
    }
}
