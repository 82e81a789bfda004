//! What the relay's answers decide: where streams go on, and which stream each file is.

use std::io;
use std::time::Duration;

use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{Head, Offset, StreamId};

use crate::clock::Now;
use crate::files::compressed::LogText;
use crate::files::discovery::FileRole;
use crate::files::{self, FileHandle};
use crate::streams::identity::FileContents;
use crate::streams::identity::{self, UnidentifiedFile};
use crate::streams::orphan::OrphanStream;
use crate::streams::read::contents;
use crate::streams::tracked_stream::{ShippedAmount, StreamPhase, StreamPosition, TrackedStream};
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{FileState, TrackedFile};

/// A copy may look older than the live file by so much, which is written to while it is copied.
const COPY_AGE: Duration = Duration::from_secs(1);

/// The relay's answers for one log: the streams that begin with each head asked for.
pub(crate) type ResolveAnswers = [(Head, Vec<KnownStream>)];

fn find(answers: &ResolveAnswers, id: StreamId) -> Option<&KnownStream> {
    answers
        .iter()
        .flat_map(|(_, streams)| streams)
        .find(|stream| stream.stream == id)
}

fn is_answered(answers: &ResolveAnswers, head: Head) -> bool {
    answers.iter().any(|(asked, _)| *asked == head)
}

fn committed(stream: &KnownStream) -> StreamPosition {
    StreamPosition {
        offset: stream.committed,
        tail: stream.tail,
    }
}

impl<H: FileHandle> TailedLog<H> {
    /// Takes the relay's answers. Returns what they show to be durable that was in doubt.
    pub(crate) fn resolved(&mut self, answers: &ResolveAnswers, now: Now) -> ShippedAmount {
        let mut settled = self.settle_doubts(answers, now);
        self.verify_followed(answers);
        self.hear_of_missing(answers);
        for orphan in &mut self.orphans {
            if is_answered(answers, orphan.stream.head) {
                settled = settled.plus(orphan.answered(find(answers, orphan.stream.id)));
            }
        }
        // Otherwise the answers are from before a file was lost, and are asked for again.
        if self.orphans.iter().all(OrphanStream::is_certain) {
            self.name_files(answers, now);
            self.find_losses(now);
        }
        settled
    }

    /// Streams in doubt go on from where the relay says.
    fn settle_doubts(&mut self, answers: &ResolveAnswers, now: Now) -> ShippedAmount {
        let mut all = ShippedAmount::default();
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            let (FileState::Stream(stream), Some(handle)) = (&mut entry.state, &entry.handle) else {
                continue;
            };
            if !stream.is_in_doubt() || !is_answered(answers, stream.head) {
                continue;
            }
            let position = find(answers, stream.id).map_or_else(StreamPosition::start, committed);
            if position.offset < stream.acked.offset {
                tracing::warn!(
                    stream = %stream.id, acked = %stream.acked.offset, committed = %position.offset,
                    "the relay has less of a stream than it had acknowledged, the rest is shipped again"
                );
                self.relay_forgot = true;
            }
            if holds(handle, position).unwrap_or(false) {
                let settled = stream.resume(position);
                entry.unread_since = now.instant;
                all = all.plus(settled);
            } else {
                self.lose(index);
            }
        }
        all
    }

    /// Before a file may be taken for a copy of a followed stream, that stream must still be in its own file.
    fn verify_followed(&mut self, answers: &ResolveAnswers) {
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let (FileState::Stream(stream), Some(handle)) = (&entry.state, &entry.handle) else {
                continue;
            };
            let settled = matches!(stream.phase, StreamPhase::Reading | StreamPhase::Closing);
            if settled && is_answered(answers, stream.head) && !holds(handle, stream.read).unwrap_or(true) {
                self.lose(index);
            }
        }
    }

    /// Decides which streams the files are that were asked for.
    fn name_files(&mut self, answers: &ResolveAnswers, now: Now) {
        let (unknown, beginnings) = self.unknown_files(answers);
        let free = self.free_streams(answers);
        let claims = {
            let opened: Vec<_> = unknown
                .iter()
                .filter_map(|&index| self.entries[index].handle.as_ref().map(contents))
                .collect();
            let files: Vec<UnidentifiedFile<'_>> = unknown
                .iter()
                .zip(&beginnings)
                .zip(&opened)
                .map(|((&index, beginning), contents)| UnidentifiedFile {
                    key: self.entries[index].stat.key,
                    beginning,
                    contents,
                })
                .collect();
            identity::match_streams(&files, &free)
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => {
                for index in unknown {
                    self.entries[index].broken(&error);
                }
                return;
            }
        };
        for (&index, claim) in unknown.iter().zip(&claims) {
            if let Some(stream) = claim.and_then(|claim| free.get(claim)) {
                self.adopt(index, stream, find(answers, stream.stream).is_some(), now);
            }
        }
        let relay_knows_none = answers.iter().all(|(_, streams)| streams.is_empty());
        // What is a copy shows only beside its original: the live files, which come last, go first, and compressed
        // files after all others.
        for compressed in [false, true] {
            for ((&index, claim), beginning) in unknown.iter().zip(&claims).zip(&beginnings).rev() {
                if claim.is_none() && self.entries[index].is_compressed() == compressed {
                    self.name_unclaimed(index, beginning, answers, relay_knows_none, now);
                }
            }
        }
    }

    /// The open files whose heads are answered, with their beginnings. A file that has changed since is examined anew.
    fn unknown_files(&mut self, answers: &ResolveAnswers) -> (Vec<usize>, Vec<Vec<u8>>) {
        let (mut unknown, mut beginnings, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let (FileState::Unidentified(head), Some(handle)) = (&entry.state, &entry.handle) else {
                continue;
            };
            if !is_answered(answers, *head) {
                continue;
            }
            match files::beginning(handle) {
                Ok(beginning) if head.matches(&beginning) => {
                    unknown.push(index);
                    beginnings.push(beginning);
                }
                _ => changed.push(index),
            }
        }
        for index in changed {
            self.lose(index);
        }
        (unknown, beginnings)
    }

    /// The streams that no followed file is. Where relay and memory both know one, the relay's word counts.
    fn free_streams(&self, answers: &ResolveAnswers) -> Vec<KnownStream> {
        let mut free: Vec<KnownStream> = Vec::new();
        let orphans = self.orphans.iter().map(OrphanStream::known);
        for stream in answers
            .iter()
            .flat_map(|(_, streams)| streams)
            .cloned()
            .chain(orphans)
        {
            let listed = free.iter().any(|other| other.stream == stream.stream);
            if !listed && !self.is_followed(stream.stream) {
                free.push(stream);
            }
        }
        free
    }

    /// The file is this stream.
    fn adopt(&mut self, index: usize, known: &KnownStream, relay_knows: bool, now: Now) {
        let orphan = self
            .orphans
            .iter()
            .position(|orphan| orphan.stream.id == known.stream);
        let orphan = orphan.map(|orphan| self.orphans.swap_remove(orphan));
        let phase = orphan.as_ref().map(|orphan| orphan.stream.phase);
        let at = if relay_knows {
            committed(known)
        } else {
            StreamPosition::start()
        };
        let mut stream = TrackedStream::new(known.stream, known.head, at);
        let entry = &mut self.entries[index];
        if let Some(orphan) = orphan.filter(|orphan| orphan.stream.acked.offset > Offset::ZERO) {
            // A copy may lack the end. Where nothing is acknowledged it may be another file that only begins alike.
            entry.extent = entry.extent.max(orphan.extent);
        }
        if phase == Some(StreamPhase::Finished) && entry.role != FileRole::Live && at.offset == entry.size() {
            stream.phase = StreamPhase::Finished;
        }
        tracing::info!(
            path = %entry.path.display(), stream = %stream.id, offset = %at.offset,
            "a known stream goes on"
        );
        entry.follow(stream, now);
        entry.close_if_finished();
        entry.skip_to = None;
    }

    /// The file is none of the known streams: a copy of the live file, or new.
    fn name_unclaimed(
        &mut self,
        index: usize,
        beginning: &[u8],
        answers: &ResolveAnswers,
        relay_knows_none: bool,
        now: Now,
    ) {
        let FileState::Unidentified(head) = self.entries[index].state else {
            return;
        };
        match self.copied(index, beginning) {
            Ok(Some(of)) => {
                let entry = &mut self.entries[index];
                tracing::info!(
                    path = %entry.path.display(), stream = %of,
                    "a copy of another file is not shipped a second time"
                );
                entry.state = FileState::Copy { head, of };
                return;
            }
            Ok(None) => {}
            Err(error) => return self.entries[index].broken(&error),
        }
        let known = |id| {
            let orphaned = self.orphans.iter().any(|orphan| orphan.stream.id == id);
            orphaned || self.is_followed(id) || find(answers, id).is_some()
        };
        let id = identity::new_stream_id(self.entries[index].stat.key, head, known);
        let entry = &mut self.entries[index];
        if !relay_knows_none {
            entry.skip_to = None;
        }
        tracing::info!(path = %entry.path.display(), stream = %id, "a new stream begins");
        entry.follow(TrackedStream::new(id, head, StreamPosition::start()), now);
    }

    /// The stream that this rotated file is a copy of: its live file's, or where one of two is compressed, any other's.
    fn copied(&self, index: usize, beginning: &[u8]) -> io::Result<Option<StreamId>> {
        let entry = &self.entries[index];
        if entry.role == FileRole::Live {
            return Ok(None);
        }
        for original in self.entries.iter().filter(|other| other.chain == entry.chain) {
            let FileState::Stream(stream) = &original.state else {
                continue;
            };
            let may = if original.role == FileRole::Live {
                // As long as nothing of the live file is shipped, an older file that holds the same is no copy of it,
                // but the same lines again.
                let age = original.stat.modified.duration_since(entry.stat.modified);
                let is_older = age.is_ok_and(|age| age > COPY_AGE);
                stream.acked.offset > Offset::ZERO || !is_older
            } else {
                entry.is_compressed() || original.is_compressed()
            };
            if may && entry.is_copy(beginning, original, stream)? {
                return Ok(Some(stream.id));
            }
        }
        Ok(None)
    }

    /// A copy is looked at again and again: it, or its original, may have become a file of its own.
    pub(super) fn recheck_copy(&mut self, index: usize) {
        let entry = &self.entries[index];
        let (FileState::Copy { head, of }, Some(handle)) = (&entry.state, &entry.handle) else {
            return;
        };
        let (head, of) = (*head, *of);
        let original = self.entries.iter().find_map(|other| match &other.state {
            FileState::Stream(stream) if stream.id == of => Some((other, stream)),
            _ => None,
        });
        let orphaned = self.orphans.iter().any(|orphan| orphan.stream.id == of);
        if original.is_none() && !orphaned && entry.is_compressed() {
            // The original is left only when it is finished.
            self.entries[index].set_shipped();
            self.wants_checkpoint = true;
            return;
        }
        // An original that was read to its end and left, or is gone since, cannot change any more.
        let still = original
            .filter(|(original, _)| original.handle.is_some())
            .is_none_or(|(original, stream)| {
                let beginning = files::beginning(handle);
                beginning
                    .and_then(|beginning| entry.is_copy(&beginning, original, stream))
                    .unwrap_or(true)
            });
        if !still || orphaned {
            self.entries[index].state = FileState::Unidentified(head);
        }
    }
}

impl<H: FileHandle> TrackedFile<H> {
    /// Whether this file, which begins with `beginning`, holds nothing but what `original` holds, which is `stream`.
    fn is_copy(&self, beginning: &[u8], original: &Self, stream: &TrackedStream) -> io::Result<bool> {
        let Some(file) = &self.handle else {
            return Ok(false);
        };
        if let Some(original) = &original.handle {
            let (file, original) = (contents(file), contents(original));
            return identity::is_copy(&file, self.size(), beginning, &original, stream.head);
        }
        // The original is finished and closed: what is acknowledged is all it held.
        let alike = stream.head.matches(beginning) && self.size() == stream.acked.offset;
        Ok(alike && holds(file, stream.acked)?)
    }

    fn follow(&mut self, stream: TrackedStream, now: Now) {
        self.unread_since = self.unread_since.min(now.instant);
        self.state = FileState::Stream(stream);
    }
}

/// Whether the file has these bytes before this position.
pub(super) fn holds<H: FileHandle>(handle: &LogText<H>, position: StreamPosition) -> io::Result<bool> {
    let ending = contents(handle).ending_at(position.offset)?;
    Ok(ending.is_some_and(|ending| position.tail.matches(&ending)))
}
