//! What of a log the sender has not seen: files that cannot be read, paths without a file, files that are not resolved.

use logferry_protocol::heartbeat::{LogProblem, LogProblemKind};

use crate::files::discovery::FileRole;
use crate::files::path_check::PathFinding;
use crate::files::{FileHandle, FileSystem};
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{CompressedState, FileState, TrackedFile};

const DAMAGED: &str =
    "is compressed and damaged, nothing is shipped from it; replace it with an intact copy, or delete it";

impl<H: FileHandle> TailedLog<H> {
    /// The present files that cannot be opened or decompressed.
    fn unread_files(&self) -> impl Iterator<Item = &TrackedFile<H>> {
        let is_unread = |file: &&TrackedFile<H>| {
            let is_damaged = matches!(file.state, FileState::Compressed(CompressedState::Damaged));
            let is_unopened = matches!(file.state, FileState::Unopened) && !file.is_waiting;
            file.role != FileRole::Gone && (is_damaged || is_unopened)
        };
        self.files.iter().filter(is_unread)
    }

    pub(crate) fn unreadable(&self) -> impl Iterator<Item = String> + '_ {
        self.unread_files().map(|file| file.path.display().to_string())
    }

    /// What keeps this process from the log now.
    pub(crate) fn problems<F: FileSystem<FileHandle = H>>(&self, files: &F) -> Vec<LogProblem> {
        let mut findings = files.check_pattern(self.patterns.live());
        // A log that was rotated and has no live file yet has the right path.
        findings.retain(|finding| finding.kind != LogProblemKind::NoMatch || self.files.is_empty());
        let findings = findings.into_iter().map(|finding| self.problem(finding));
        findings.chain(self.unread_problems(files)).collect()
    }

    /// Why files of it cannot be read now.
    pub(crate) fn unread_problems<F: FileSystem<FileHandle = H>>(
        &self,
        files: &F,
    ) -> impl Iterator<Item = LogProblem> {
        let findings = self.unread_files().filter_map(|file| match file.state {
            FileState::Unopened => files.check_file(&file.path),
            _ => Some(PathFinding {
                path: file.path.clone(),
                kind: LogProblemKind::Unreadable,
                reason: DAMAGED.to_owned(),
            }),
        });
        findings.map(|finding| self.problem(finding))
    }

    fn problem(&self, finding: PathFinding) -> LogProblem {
        LogProblem {
            log: self.name.clone(),
            path: finding.path.display().to_string(),
            kind: finding.kind,
            reason: finding.reason,
            since: None,
        }
    }

    /// Of how many files it is not known yet how much the relay has.
    pub(crate) fn unresolved(&self) -> u64 {
        let is_unresolved =
            |file: &&TrackedFile<H>| file.is_waiting || matches!(file.state, FileState::Unidentified(_));
        let files = self.files.iter().filter(is_unresolved).count();
        let orphans = self.orphans.iter().filter(|orphan| !orphan.is_resolved());
        (files + orphans.count()) as u64
    }
}
