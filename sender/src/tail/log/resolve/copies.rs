//! Which files are copies of others: their lines are not shipped again.
//!
//! Invariant: what may be a file of its own is no copy. Lines without times may be the same in two logs by chance.

use std::io;
use std::time::Duration;

use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{Offset, StreamId};

use super::{Candidate, ResolveAnswers};
use crate::files::discovery::FileRole;
use crate::files::{self, FileHandle, without_compression};
use crate::streams::identity;
use crate::streams::timed_line::is_timed;
use crate::streams::tracked_stream::{TrackedStream, committed};
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{CompressedState, FileState, TrackedFile};

/// A copy may look older than the live file by this time, because the live file is written to while it is copied.
const COPY_AGE: Duration = Duration::from_secs(1);

impl<H: FileHandle> TailedLog<H> {
    /// The stream that this rotated file is a copy of: its live file's, or any other's of its chain. Rotated files without
    /// times in their lines may have the same contents by chance, unless the file appeared beside the log, or is compressed of
    /// one that is gone or has its name otherwise.
    pub(super) fn find_original(
        &self,
        candidate: &Candidate,
        answers: &ResolveAnswers,
    ) -> io::Result<Option<StreamId>> {
        let file = &self.files[candidate.index];
        if file.role == FileRole::Live {
            return Ok(None);
        }
        let is_certain = file.is_beside() || is_timed(&candidate.beginning);
        for original in self.files.iter().filter(|other| other.chain == file.chain) {
            let Some(stream) = original.stream() else { continue };
            let is_possible = if original.role == FileRole::Live {
                // While nothing of the live file is acknowledged, an older file with the same bytes is not a copy of it:
                // the same lines were written again.
                let age = original.stat.modified.duration_since(file.stat.modified);
                let is_older = age.is_ok_and(|age| age > COPY_AGE);
                stream.acked.offset > Offset::ZERO || !is_older
            } else {
                let is_compressed = file.is_compressed() || original.is_compressed();
                is_certain || is_compressed && file.may_be_compressed_of(original)
            };
            if is_possible && file.is_copy(&candidate.beginning, original, stream)? {
                return Ok(Some(stream.id));
            }
        }
        // The original may be closed, or compressed and done. The relay knows what it held.
        let is_whole = |known: &&KnownStream| {
            let is_alike = !known.by_other && known.head.matches(&candidate.beginning);
            let mut text = file
                .handle
                .iter()
                .filter(|_| is_alike && known.committed == file.size());
            text.any(|text| text.holds(committed(known)).unwrap_or(false))
        };
        let mut known = answers.iter().flat_map(|answer| &answer.streams);
        Ok(known
            .find(|known| {
                let is_possible = is_certain || file.is_compressed() && self.is_unclaimed(known.stream);
                is_possible && is_whole(known)
            })
            .map(|known| known.stream))
    }

    /// Whether a shipped archive holds the stream, and no candidate may be that archive's log. Another file without times is a log
    /// of its own, however alike it is.
    pub(super) fn is_in_archive(&self, known: &KnownStream, candidates: &[Candidate]) -> bool {
        let alike = candidates
            .iter()
            .filter(|candidate| known.head.matches(&candidate.beginning));
        let alike: Vec<_> = alike.collect();
        let is_its = |archive: &TrackedFile<H>| {
            let mut files = alike.iter().map(|it| &self.files[it.index]);
            matches!(archive.state, FileState::Compressed(CompressedState::Shipped { of: Some(of), .. }) if of == known.stream)
                && !files.any(|file| file.may_be_compressed_of(archive))
        };
        !alike.iter().any(|candidate| is_timed(&candidate.beginning))
            && self.files.iter().any(|file| file.is_present() && is_its(file))
    }

    /// Whether no file of the folder is known to hold what the stream held.
    fn is_unclaimed(&self, id: StreamId) -> bool {
        let mut files = self.files.iter().filter(|file| file.is_present());
        !files.any(|file| match &file.state {
            FileState::Stream(stream) => stream.id == id,
            FileState::Copy { of, .. }
            | FileState::Compressed(CompressedState::Shipped { of: Some(of), .. }) => *of == id,
            _ => false,
        })
    }

    pub(in crate::tail::log) fn recheck_copies(&mut self) {
        for index in 0..self.files.len() {
            self.recheck_copy(index);
        }
    }

    /// A copy that grows is compared again; with the relay's streams, if its original is closed or gone.
    pub(in crate::tail::log) fn recheck_grown_copy(&mut self, index: usize) {
        if let FileState::Copy { head, of } = self.files[index].state
            && self
                .file_of(of)
                .is_none_or(|(original, _)| original.handle.is_none())
        {
            self.files[index].state = FileState::Unidentified(head);
        }
        self.recheck_copy(index);
    }

    /// Looks again whether a copy still is one: it, or its original, may have become a file of its own.
    pub(in crate::tail::log) fn recheck_copy(&mut self, index: usize) {
        let file = &self.files[index];
        let (&FileState::Copy { head, of }, Some(handle)) = (&file.state, &file.handle) else {
            return;
        };
        let original = self.file_of(of);
        let is_orphan = self.orphans.iter().any(|orphan| orphan.stream.id == of);
        if original.is_none() && !is_orphan && file.is_compressed() {
            // The original was closed, which happens only once it is finished.
            self.files[index].set_shipped(Some(of));
            self.save = self.save.max(CheckpointNeed::Soon);
            return;
        }
        // An original that was closed, or is gone since, cannot change any more.
        let is_copy = original
            .filter(|(original, _)| original.handle.is_some())
            .is_none_or(|(original, stream)| {
                let is_copy = |beginning: Vec<u8>| file.is_copy(&beginning, original, stream);
                files::beginning(handle).and_then(is_copy).unwrap_or(true)
            });
        if !is_copy || is_orphan {
            self.files[index].state = FileState::Unidentified(head);
        }
    }
}

impl<H: FileHandle> TrackedFile<H> {
    /// Whether a compressor may have made one of the two files, which hold the same, of the other: one is gone, or they have one
    /// name without what compressors append.
    fn may_be_compressed_of(&self, other: &Self) -> bool {
        !self.is_present() || !other.is_present() || self.plain_name() == other.plain_name()
    }

    /// Its name without what compressors append.
    fn plain_name(&self) -> Option<&str> {
        self.path.file_name()?.to_str().map(without_compression)
    }

    /// Whether this file, which starts with `beginning`, holds only bytes of `original`, whose stream is `stream`.
    fn is_copy(&self, beginning: &[u8], original: &Self, stream: &TrackedStream) -> io::Result<bool> {
        let Some(file) = &self.handle else {
            return Ok(false);
        };
        if let Some(original) = &original.handle {
            return identity::is_copy(file, self.size(), beginning, original, stream.head);
        }
        // The original is finished and closed: its acknowledged bytes are all it held.
        let is_alike = stream.head.matches(beginning) && self.size() == stream.acked.offset;
        Ok(is_alike && file.holds(stream.acked)?)
    }
}
