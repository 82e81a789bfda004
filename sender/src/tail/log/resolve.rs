//! Takes the relay's answers: where streams continue, and which stream each file is.

mod copies;

use std::collections::BTreeSet;

use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

use crate::clock::Now;
use crate::files::discovery::FileRole;
use crate::files::{self, FileHandle};
use crate::streams::identity::{self, UnidentifiedFile};
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::{
    ShippedAmount, StreamPhase, StreamPosition, TrackedStream, committed, stream_start,
};
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{ChainId, FileState, HeldReason, LeftOut, TrackedFile};

/// The relay's answer for one head of a log.
#[derive(Debug)]
pub(crate) struct ResolvedHead {
    pub(crate) head: Head,
    /// The files that the relay was asked about. Only of these it has named the streams under other logs' names.
    pub(crate) files: BTreeSet<FileKey>,
    pub(crate) streams: Vec<KnownStream>,
    /// Streams with this head that were shipped under the name of another log.
    pub(crate) of_other_logs: Vec<KnownStream>,
}

/// The relay's answers for one log.
pub(crate) type ResolveAnswers = [ResolvedHead];

fn find(answers: &ResolveAnswers, id: StreamId) -> Option<&KnownStream> {
    let mut streams = answers
        .iter()
        .flat_map(|answer| answer.streams.iter().chain(&answer.of_other_logs));
    streams.find(|stream| stream.stream == id)
}

fn is_answered(answers: &ResolveAnswers, head: Head) -> bool {
    answers.iter().any(|answer| answer.head == head)
}

/// Whether the file was in the question. One that was found since then may be a known stream or a copy, but a new stream begins
/// after the next question: its inode may have been another log's, and the relay has not said which streams that had.
fn was_asked(answers: &ResolveAnswers, head: Head, file: FileKey) -> bool {
    let mut of_head = answers.iter().filter(|answer| answer.head == head);
    of_head.any(|answer| answer.files.contains(&file))
}

fn warn_of_forgotten(stream: &TrackedStream, committed: Offset) {
    tracing::warn!(
        stream = %stream.id, acked = %stream.acked.offset, %committed,
        "the relay has less of a stream than it had acknowledged; the missing bytes are shipped again"
    );
}

struct Candidate {
    index: usize,
    head: Head,
    beginning: Vec<u8>,
}

impl<H: FileHandle> TailedLog<H> {
    /// Takes the relay's answers. Returns how much they prove to be durable.
    pub(crate) fn resolved(&mut self, answers: &ResolveAnswers, now: Now) -> ShippedAmount {
        let mut amount = self.resume_streams(answers, now);
        self.verify_followed(answers);
        self.resolve_missing(answers);
        self.resolve_held(answers);
        for orphan in &mut self.orphans {
            if is_answered(answers, orphan.stream.head) {
                let known = find(answers, orphan.stream.id);
                if orphan.is_forgotten(known) {
                    warn_of_forgotten(
                        &orphan.stream,
                        known.map_or(Offset::ZERO, |known| known.committed),
                    );
                    self.relay_forgot = true;
                }
                amount = amount.plus(orphan.answered(known));
            }
        }
        // Otherwise the answers are older than the loss of a file, and the relay is asked again.
        if self.orphans.iter().all(OrphanStream::is_resolved) {
            self.identify_files(answers, now);
            self.drop_continued();
            self.leave_out_lost(now);
            self.find_losses(now);
        }
        amount
    }

    fn resume_streams(&mut self, answers: &ResolveAnswers, now: Now) -> ShippedAmount {
        let mut amount = ShippedAmount::default();
        for index in 0..self.files.len() {
            let file = &mut self.files[index];
            let (FileState::Stream(stream), Some(handle)) = (&mut file.state, &file.handle) else {
                continue;
            };
            if !stream.is_in_doubt() || !stream.is_asked || !is_answered(answers, stream.head) {
                continue;
            }
            let known = find(answers, stream.id);
            let is_parted = known.is_some_and(|known| identity::is_parted(known, stream.acked.offset));
            let position = known.map_or_else(stream_start, committed);
            if position.offset < stream.acked.offset {
                warn_of_forgotten(stream, position.offset);
                self.relay_forgot = true;
            }
            if !is_parted && handle.holds(position).unwrap_or(false) {
                amount = amount.plus(stream.resume(position));
                file.unread_since = now.instant;
                if position.offset > Offset::ZERO {
                    file.left_out_acked();
                }
            } else {
                self.contents_changed(index);
            }
        }
        amount
    }

    /// Before a file may be taken for a copy of a followed stream, or for a new one, that stream must still be in its own file: it
    /// may have been rewritten, and copied then.
    fn verify_followed(&mut self, answers: &ResolveAnswers) {
        let is_candidate = |file: &&TrackedFile<H>| matches!(file.state, FileState::Unidentified(head) if is_answered(answers, head));
        let chains: BTreeSet<ChainId> = self
            .files
            .iter()
            .filter(is_candidate)
            .map(|file| file.chain)
            .collect();
        for index in 0..self.files.len() {
            let file = &self.files[index];
            let (FileState::Stream(stream), Some(handle)) = (&file.state, &file.handle) else {
                continue;
            };
            let is_followed = stream.phase != StreamPhase::Finished;
            let is_asked = is_answered(answers, stream.head) || chains.contains(&file.chain);
            let is_held = || handle.holds(stream.read).unwrap_or(true) && file.holds_left_out();
            if is_followed && is_asked && !is_held() {
                self.contents_changed(index);
            }
        }
    }

    fn identify_files(&mut self, answers: &ResolveAnswers, now: Now) {
        let candidates = self.candidates(answers);
        let mut free = self.free_streams(answers);
        free.retain(|known| !self.is_in_archive(known, &candidates));
        let result = {
            let files = candidates.iter().filter_map(|candidate| {
                let file = &self.files[candidate.index];
                Some(UnidentifiedFile {
                    key: file.stat.key,
                    beginning: &candidate.beginning,
                    contents: file.handle.as_ref()?,
                })
            });
            identity::match_streams(&files.collect::<Vec<_>>(), &free)
        };
        let matches = match result {
            Ok(matches) => matches,
            Err(error) => {
                for candidate in candidates {
                    self.files[candidate.index].read_failed(&error);
                }
                return;
            }
        };
        let relay_knows_none = answers.iter().all(|answer| answer.streams.is_empty());
        if !candidates.is_empty() {
            self.confirm_marks(relay_knows_none);
        }
        let indices: Vec<usize> = candidates.iter().map(|candidate| candidate.index).collect();
        self.assign_marks(&indices);
        let (mut streams, mut unmatched) = (Vec::new(), Vec::new());
        for (candidate, stream) in candidates.into_iter().zip(matches) {
            let known = stream.and_then(|stream| free.get(stream));
            match known.or_else(|| self.find_renamed(&candidate, answers)) {
                Some(stream) => streams.push((candidate.index, stream)),
                None => unmatched.push(candidate),
            }
        }
        for (index, stream) in streams {
            let start = find(answers, stream.stream).map_or_else(stream_start, committed);
            self.continue_stream(index, stream, start, now);
        }
        // A copy can only be recognised beside its original. So the live files are identified first, then the rotated ones from
        // the oldest on, and compressed files after all others.
        unmatched.sort_by_key(|candidate| {
            let file = &self.files[candidate.index];
            (file.is_compressed(), file.role != FileRole::Live)
        });
        for candidate in &unmatched {
            self.identify_unmatched(candidate, answers, now);
        }
    }

    /// The open files whose heads are answered. A file that has changed since is examined again; the compressed ones of its
    /// chain, which may hold what it holds now, wait for the next answer.
    fn candidates(&mut self, answers: &ResolveAnswers) -> Vec<Candidate> {
        let (mut candidates, mut changed) = (Vec::new(), Vec::new());
        for (index, file) in self.files.iter().enumerate() {
            let (&FileState::Unidentified(head), Some(handle)) = (&file.state, &file.handle) else {
                continue;
            };
            if !is_answered(answers, head) {
                continue;
            }
            match files::beginning(handle) {
                Ok(beginning) if head.matches(&beginning) => candidates.push(Candidate {
                    index,
                    head,
                    beginning,
                }),
                _ => changed.push(index),
            }
        }
        for index in changed {
            let chain = self.files[index].chain;
            candidates.retain(|candidate| {
                let file = &self.files[candidate.index];
                file.chain != chain || !file.is_compressed()
            });
            self.contents_changed(index);
        }
        candidates
    }

    /// The streams that no followed file is. If relay and memory both know one, the relay's offset counts.
    fn free_streams(&self, answers: &ResolveAnswers) -> Vec<KnownStream> {
        let mut free: Vec<KnownStream> = Vec::new();
        let of_relay = answers.iter().flat_map(|answer| &answer.streams);
        // Its first chunk arrived under the log's former name, and the sender never heard of it.
        let is_missing = |known: &&KnownStream| {
            let mut missing = self.missing.iter();
            missing.any(|missing| missing.stream() == known.stream)
        };
        let renamed = answers.iter().flat_map(|answer| &answer.of_other_logs);
        let of_relay = of_relay.chain(renamed.filter(is_missing)).cloned();
        let of_orphans = self
            .orphans
            .iter()
            .map(|orphan| orphan.stream.as_known(orphan.file));
        for known in of_relay.chain(of_orphans) {
            let is_listed = free.iter().any(|other| other.stream == known.stream);
            if !is_listed && self.is_free(&known) {
                free.push(known);
            }
        }
        free
    }

    /// Whether no followed file is the stream, and no file that another sender parted from.
    fn is_free(&self, known: &KnownStream) -> bool {
        // The file of a parted stream goes on where its own bytes end, and not in a stream of the other sender.
        let mut parted = self.orphans.iter().filter(|orphan| orphan.is_parted);
        let is_foreign = |orphan: &OrphanStream| {
            orphan.stream.id == known.stream || known.by_other && orphan.stream.head == known.head
        };
        !parted.any(is_foreign) && self.file_of(known.stream).is_none()
    }

    /// The stream that this file was shipped in under the name of another log. More than the first line has to be the same:
    /// many logs begin with the same line, and inodes are used again.
    fn find_renamed<'a>(
        &self,
        candidate: &Candidate,
        answers: &'a ResolveAnswers,
    ) -> Option<&'a KnownStream> {
        let file = &self.files[candidate.index];
        let text = file.handle.as_ref()?;
        let is_it = |known: &&KnownStream| {
            known.file == file.stat.key
                && known.committed.get() > candidate.head.0.len() as u64
                && known.head.matches(&candidate.beginning)
                && self.is_free(known)
                && text.holds(committed(known)).unwrap_or(false)
        };
        let others = answers.iter().flat_map(|answer| &answer.of_other_logs);
        others.filter(is_it).max_by_key(|known| known.committed)
    }

    fn continue_stream(&mut self, index: usize, known: &KnownStream, start: StreamPosition, now: Now) {
        let is_it = |orphan: &OrphanStream| orphan.stream.id == known.stream;
        let orphan = self.orphans.iter().position(is_it);
        let orphan = orphan.map(|orphan| self.orphans.swap_remove(orphan));
        let is_finished = |orphan: &OrphanStream| orphan.stream.phase == StreamPhase::Finished;
        let was_finished = orphan.as_ref().is_some_and(is_finished);
        let mut stream = TrackedStream::new(known.stream, known.head, start);
        let file = &mut self.files[index];
        stream.marks = orphan
            .as_ref()
            .map(|orphan| orphan.stream.marks.clone())
            .unwrap_or_default();
        file.catch_up_marks(&mut stream, self.marks_max);
        if let Some(orphan) = orphan.filter(|orphan| orphan.stream.acked.offset > Offset::ZERO) {
            // A copy may lack the end. If nothing is acknowledged, it may be another file with the same beginning.
            file.extent = file.extent.max(orphan.extent);
            file.left_out = file.left_out.take().or(orphan.mark.map(LeftOut::Marked));
        }
        if was_finished && file.role != FileRole::Live && start.offset == file.size() {
            stream.phase = StreamPhase::Finished;
        }
        tracing::info!(
            path = %file.path.display(), stream = %stream.id, offset = %start.offset,
            "a known stream continues"
        );
        file.follow(stream, now);
        if start.offset > Offset::ZERO {
            file.left_out_acked();
        }
        file.close_if_finished();
    }

    /// The file is none of the known streams: it is a copy, or new.
    fn identify_unmatched(&mut self, candidate: &Candidate, answers: &ResolveAnswers, now: Now) {
        let &Candidate { index, head, .. } = candidate;
        let original = self.find_original(candidate, answers);
        let parted = matches!(original, Ok(None))
            .then(|| self.find_parted(candidate))
            .flatten();
        let is_known = |id| {
            let is_orphan = self.orphans.iter().any(|orphan| orphan.stream.id == id);
            is_orphan || self.file_of(id).is_some() || find(answers, id).is_some()
        };
        let id = identity::new_stream_id(self.files[index].stat.key, head, is_known);
        let is_text = self.files[index].is_text(&candidate.beginning);
        if is_text && matches!(original, Ok(None)) && self.is_to_be_held(index, &candidate.beginning, now) {
            self.hold_beside(index, head, now);
            return;
        }
        let file = &mut self.files[index];
        match original {
            Ok(Some(of)) => {
                tracing::info!(
                    path = %file.path.display(), stream = %of,
                    "the log is a copy of another file, its lines are not shipped again"
                );
                file.state = FileState::Copy { head, of };
                let mark = file.take_mark();
                self.unassigned.extend(mark);
            }
            Ok(None) if !file.is_text(&candidate.beginning) => file.hold(HeldReason::NotText),
            Ok(None) if parted.is_none() && !was_asked(answers, head, file.stat.key) => {}
            Ok(None) => {
                if let Some(parted) = parted {
                    let (of, from) = (parted.stream.id, parted.stream.acked.offset);
                    tracing::warn!(
                        path = %file.path.display(), stream = %id, %of, %from,
                        "another sender has written to the stream of this log, which is a copy of that sender's log or its \
                         original; the lines from here on are shipped in a stream of their own"
                    );
                    file.left_out = Some(LeftOut::Parted(Box::new(parted)));
                } else {
                    tracing::info!(path = %file.path.display(), stream = %id, "a new stream begins");
                }
                file.follow(TrackedStream::new(id, head, stream_start()), now);
            }
            Err(error) => file.read_failed(&error),
        }
    }

    /// Drops the parted streams whose bytes are the first ones of a followed file: it goes on in a stream of its own, which
    /// the relay knew before this sender did.
    fn drop_continued(&mut self) {
        let files = &self.files;
        let continues = |file: &TrackedFile<H>, orphan: &OrphanStream| {
            let acked = orphan.stream.acked;
            let is_alike =
                |own: &TrackedStream| own.head == orphan.stream.head && own.acked.offset >= acked.offset;
            let mut handle = file.handle.iter();
            file.stream().is_some_and(is_alike) && handle.all(|text| text.holds(acked).unwrap_or(true))
        };
        self.orphans
            .retain(|orphan| !orphan.is_parted || !files.iter().any(|file| continues(file, orphan)));
    }

    /// Takes the stream that another sender went on with, and whose bytes up to there are the first bytes of this file.
    ///
    /// The file's own stream begins with an empty chunk over those bytes, as with `start: end`.
    fn find_parted(&mut self, candidate: &Candidate) -> Option<OrphanStream> {
        let handle = self.files[candidate.index].handle.as_ref()?;
        let is_its = |orphan: &OrphanStream| {
            orphan.is_parted
                && orphan.stream.acked.offset > Offset::ZERO
                && orphan.stream.head.matches(&candidate.beginning)
                && handle.holds(orphan.stream.acked).unwrap_or(false)
        };
        let its = self
            .orphans
            .iter()
            .enumerate()
            .filter(|(_, orphan)| is_its(orphan));
        let (last, _) = its.max_by_key(|(_, orphan)| orphan.stream.acked.offset)?;
        Some(self.orphans.swap_remove(last))
    }
}

impl<H: FileHandle> TrackedFile<H> {
    /// A live log may have a hole of NUL bytes after its first line, which a power failure leaves.
    fn is_text(&self, beginning: &[u8]) -> bool {
        let is_end = |&byte: &u8| byte == b'\n';
        let first_line = beginning.split_inclusive(is_end).next().unwrap_or_default();
        files::is_text(if self.role == FileRole::Live {
            first_line
        } else {
            beginning
        })
    }

    fn follow(&mut self, stream: TrackedStream, now: Now) {
        self.unread_since = self.unread_since.min(now.instant);
        self.state = FileState::Stream(stream);
    }
}
