//! The sender's account of itself for its own host: every file, how far it is, and the last error.

use std::collections::BTreeSet;

use logferry_protocol::heartbeat::{HostTime, LogProblem, PROBLEMS_MAX};
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
    /// The same of chunks alone: a relay that refuses each of them may answer everything else.
    chunks_failing: Option<(HostTime, String)>,
    /// It has changed since this was last asked.
    pub(super) has_news: bool,
}

impl RelayContact {
    pub(super) fn new(relay: String) -> Self {
        Self {
            relay,
            source: None,
            failing: None,
            chunks_failing: None,
            has_news: false,
        }
    }

    pub(super) fn answered(&mut self, source: Option<SourceId>) {
        let is_known = source
            .as_ref()
            .is_none_or(|source| self.source.as_ref() == Some(source));
        self.has_news |= self.failing.take().is_some() || !is_known;
        self.source = source.or_else(|| self.source.take());
    }

    pub(super) fn failed(&mut self, error: &RequestError, now: Now) {
        self.has_news |= fail(&mut self.failing, error, now);
    }

    /// The relay has a chunk.
    pub(super) fn chunk_stored(&mut self) {
        self.has_news |= self.chunks_failing.take().is_some();
        self.answered(None);
    }

    /// The relay does not have a chunk, which is sent again. Only a chunk that it has ends this.
    pub(super) fn chunk_failed(&mut self, error: &RequestError, now: Now) {
        self.has_news |= fail(&mut self.chunks_failing, error, now);
        self.failed(error, now);
    }

    /// Since when requests fail, or chunks, and the last reason. `waits`: whether the relay does not have all.
    fn failing(&self, waits: bool) -> Option<&(HostTime, String)> {
        let chunks = self.chunks_failing.as_ref().filter(|_| waits);
        chunks.or(self.failing.as_ref())
    }
}

/// Notes a failure; whether it is the first one.
fn fail(failing: &mut Option<(HostTime, String)>, error: &RequestError, now: Now) -> bool {
    let since = failing.take().map(|(since, _)| since);
    let is_first = since.is_none();
    let since = since.unwrap_or_else(|| HostTime::from(now.wall));
    let advice = error.advice().map(|advice| format!("; {advice}"));
    *failing = Some((since, error_chain(error) + &advice.unwrap_or_default()));
    is_first
}

impl<F: FileSystem> Tailer<F> {
    /// Whether something began or ended, since this was last asked, that somebody who reads the account waits for.
    pub(crate) fn take_news(&mut self) -> bool {
        let of_logs = std::mem::take(&mut self.problems.has_news);
        std::mem::take(&mut self.contact.has_news) || of_logs
    }

    pub(crate) fn state(&self, now: Now) -> SenderState {
        let mut logs: Vec<_> = self.logs.iter().flat_map(|log| log.file_states(now)).collect();
        let files = logs.len() as u64;
        let lag_bytes = logs.iter().map(|log| log.lag_bytes).sum::<Option<u64>>();
        logs.sort_by_key(|log| log.state);
        logs.truncate(LOGS_MAX);
        let failing = self.contact.failing(lag_bytes != Some(0));
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
            // Before the folders are searched nothing is known.
            lag_bytes: lag_bytes.filter(|_| self.last_scan.is_some()),
            log_problems: self.present_problems(),
            held: self.logs.iter().flat_map(|log| log.held(now)).collect(),
        }
    }
}

impl<F: FileSystem> Tailer<F> {
    /// What was told, and why files cannot be read since so short a time that it was not told yet.
    fn present_problems(&self) -> Vec<LogProblem> {
        let mut problems: Vec<_> = self.problems.told().cloned().collect();
        let told: BTreeSet<_> = problems.iter().map(|problem| problem.path.clone()).collect();
        let unread = self.logs.iter().flat_map(|log| log.unread_problems(&self.files));
        problems.extend(unread.filter(|problem| !told.contains(&problem.path)));
        problems.truncate(PROBLEMS_MAX);
        problems
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_chunks_are_told_until_one_is_stored_whatever_else_the_relay_answers() {
        let (mut contact, now) = (RelayContact::new("r".to_owned()), Now::read());
        let refused = RequestError::Refused {
            relay: "r".to_owned(),
            status: 503,
            reason: "the disk is full".to_owned(),
            retry_after: None,
        };
        contact.chunk_failed(&refused, now);
        contact.answered(None);
        let told = contact.failing(true).map(|(_, error)| error.as_str());
        let reason = "r refused with status 503: the disk is full; no line is dropped; on the relay's host";
        assert!(told.is_some_and(|told| told.starts_with(reason)), "{told:?}");
        assert_eq!(contact.failing(false), None, "nothing waits any more");
        contact.has_news = false;
        contact.chunk_stored();
        assert_eq!((contact.failing(true), contact.has_news), (None, true));
    }

    #[test]
    fn what_the_relay_says_first_and_each_failure_that_begins_or_ends_is_news() {
        let (mut contact, now) = (RelayContact::new("r".to_owned()), Now::read());
        let source: SourceId = "198.51.100.1".parse().expect("a source");
        let mut news = |change: &dyn Fn(&mut RelayContact)| {
            change(&mut contact);
            std::mem::take(&mut contact.has_news)
        };
        let failed = |contact: &mut RelayContact| contact.failed(&RequestError::Stopping, now);
        assert!(news(&failed), "it begins");
        assert!(!news(&failed), "it goes on");
        assert!(news(&|contact| contact.answered(None)), "it ends");
        assert!(!news(&|contact| contact.answered(None)), "all is as before");
        assert!(news(&|contact| contact.answered(Some(source.clone()))));
        assert!(!news(&|contact| contact.answered(Some(source.clone()))));
    }
}
