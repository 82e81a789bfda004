//! Losses: bytes of a log that were gone from the disk before they could be sent.
//!
//! A loss is reported only when it is proven, by both of these:
//! - The file was seen with more bytes than the relay has of its stream. A size counts as seen only when the file was
//!   found to hold the same stream before and after the size was read. Otherwise a file that was truncated and written
//!   again between two looks would have the size of other contents.
//! - No file of the log holds the stream any more, and no unreadable file might hold it.
//!
//! A file that could not be opened is reported as unfinished once it is gone: its lines may be in another file, or it may only be
//! out of sight, as its folder is closed or not mounted. So that is no proof of a loss.
//!
//! A file may be read as far as it was seen, but be gone after a restart before it was known to be at its end. It is
//! reported as unfinished, because more may have been written to it.

use logferry_protocol::heartbeat::{HeldFile, HostTime, ReportedGap};
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{KnownStream, StreamPosition};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};

use crate::checkpoint::{UnopenedFile, UnsentFile};
use crate::clock::Now;
use crate::files::compressed::LogText;
use crate::files::discovery::{FileRole, FoundFile};
use crate::files::{self, FileHandle};
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::StreamPhase;
use crate::tail::log::known_lines::remember;
use crate::tail::log::resolve::ResolveAnswers;
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{CompressedState, FileState, LeftOut, TrackedFile};

/// A loss that was found, to be reported.
#[derive(Debug)]
pub(crate) struct FoundLoss {
    pub(crate) gap: ReportedGap,
    /// Of a file that was seen and never read: its size.
    pub(crate) never_read: Option<Offset>,
}

impl From<ReportedGap> for FoundLoss {
    fn from(gap: ReportedGap) -> Self {
        Self {
            gap,
            never_read: None,
        }
    }
}

/// A file that is gone, and of which no byte is known to be acknowledged.
#[derive(Debug)]
pub(crate) struct MissingFile {
    pub(super) file: UnsentFile,
    known: Option<Vec<KnownStream>>,
}

impl MissingFile {
    pub(crate) fn new(file: UnsentFile) -> Self {
        Self { file, known: None }
    }

    pub(crate) fn ask(&self) -> Option<Head> {
        self.known.is_none().then_some(self.file.head)
    }

    /// The relay has forgotten something: its answer may be older than that.
    pub(super) fn ask_again(&mut self) {
        self.known = None;
    }

    /// The end of what was seen of it. Other files may begin with the same line.
    fn end(&self) -> Option<StreamPosition> {
        let tail = self.file.tail?;
        let offset = self.file.size;
        Some(StreamPosition { offset, tail })
    }

    /// The id that the stream got, or would have got, when it was first sent.
    pub(super) fn stream(&self) -> StreamId {
        StreamId::derive(self.file.file, self.file.head, 0)
    }

    /// The proven loss. Another file holds the first `held` bytes.
    fn gap(&self, known: &[KnownStream], held: Offset, now: Now) -> Option<ReportedGap> {
        let stream = self.stream();
        let committed = match known.iter().find(|known| known.stream == stream) {
            Some(known) => known.committed,
            None if known.is_empty() => Offset::ZERO,
            None => {
                tracing::warn!(
                    log = %self.file.log, path = self.file.path,
                    "a log file is gone; the relay has streams with the same beginning, so it is not known whether lines \
                     are lost"
                );
                return None;
            }
        };
        let from = committed.max(held);
        let UnsentFile { log, path, size, .. } = &self.file;
        (*size > from).then(|| gap(stream, log, path, from, Some(*size), now))
    }
}

fn gap(
    stream: StreamId,
    log: &LogName,
    path: &str,
    from: Offset,
    until: Option<Offset>,
    now: Now,
) -> ReportedGap {
    ReportedGap {
        stream,
        log: log.clone(),
        path: path.to_owned(),
        from,
        until,
        noticed_at: HostTime::from(now.wall),
    }
}

/// Whether a file's bytes are known: what is known of them says which are lost.
fn is_known(orphans: &[OrphanStream], missing: &[MissingFile], file: FileKey) -> bool {
    orphans.iter().any(|orphan| orphan.file == file)
        || missing.iter().any(|missing| missing.file.file == file)
}

/// The loss of a file that was never read, of which so many bytes were seen. Its stream is a name for it: its beginning is not known.
fn never_read(log: &LogName, path: &str, file: FileKey, seen: Offset, now: Now) -> FoundLoss {
    let stream = StreamId::derive(file, Head(Tail::of(path.as_bytes()).0), 0);
    FoundLoss {
        // The audit knows such a file by that it is missing from its first byte on.
        gap: gap(stream, log, path, Offset::ZERO, None, now),
        never_read: Some(seen),
    }
}

impl OrphanStream {
    /// The proven loss, now that no file holds the stream any more. `held`: how many of its first bytes another file may hold, if
    /// that file has not got other bytes before the given end.
    fn gap(
        &self,
        log: &LogName,
        held: impl Fn(Head, Option<StreamPosition>) -> Offset,
        now: Now,
    ) -> Option<ReportedGap> {
        let (own, acked) = (self.stream.head, self.stream.acked);
        let from = if acked.offset == Offset::ZERO {
            // If the relay has nothing of the stream, a copy became a stream of its own.
            held(own, None)
        } else if self.is_unknown {
            // It has forgotten what it had acknowledged. It was never to get what was left out, and no file is known to hold more
            // than the acknowledged bytes: many files begin with the same line.
            let left_out = self.mark.as_ref().map_or(Offset::ZERO, |mark| mark.end);
            held(own, Some(acked)).max(left_out).min(acked.offset)
        } else {
            acked.offset
        };
        let until = (self.extent > from).then_some(self.extent);
        let is_unfinished = self.is_from_checkpoint && self.stream.phase != StreamPhase::Finished;
        (until.is_some() || is_unfinished).then(|| gap(self.stream.id, log, &self.path, from, until, now))
    }

    fn as_unsent(&self, log: &LogName) -> UnsentFile {
        UnsentFile {
            log: log.clone(),
            path: self.path.clone(),
            file: self.file,
            head: self.stream.head,
            size: self.extent,
            tail: None,
        }
    }
}

impl<H: FileHandle> TrackedFile<H> {
    /// Counts the file's size as seen, if the file still holds the same contents.
    fn prove_size(&mut self) {
        let (size, Some(handle)) = (self.size(), &self.handle) else {
            return;
        };
        if size <= self.extent {
            return;
        }
        let is_same = match &self.state {
            FileState::Unidentified(head) => handle.begins_with(*head),
            FileState::Stream(stream)
                if matches!(stream.phase, StreamPhase::Reading | StreamPhase::InDoubt) =>
            {
                handle.begins_with(stream.head) && handle.holds(stream.read).unwrap_or(false)
            }
            _ => false,
        };
        if is_same {
            self.extent = size;
        }
    }

    /// The loss at the end of a finished stream: its file is a copy that lacks bytes that the original was seen to hold.
    pub(crate) fn shortfall(&mut self, log: &LogName, now: Now) -> Option<ReportedGap> {
        let stream = self.stream_in(StreamPhase::Finished)?;
        let (id, acked) = (stream.id, stream.acked.offset);
        let until = std::mem::replace(&mut self.extent, acked);
        let path = self.path.display().to_string();
        (until > acked).then(|| gap(id, log, &path, acked, Some(until), now))
    }

    /// The report of a file that is gone, and could not be opened before. `None` if it was empty, or may be no log.
    pub(super) fn unopened_loss(&self, log: &LogName, now: Now) -> Option<FoundLoss> {
        let is_expected = matches!(self.state, FileState::Unopened) && !self.is_beside();
        let left_out = self.left_out.as_ref().map(LeftOut::end).unwrap_or_default();
        if !is_expected || self.stat.size <= left_out {
            return None;
        }
        let (path, stat) = (self.path.display().to_string(), self.stat);
        Some(never_read(log, &path, stat.key, stat.size, now))
    }

    /// Notes what was found of a file that is not open. If it is shorter, the bytes before are gone: the file was cut, or is
    /// another one of that number.
    pub(super) fn find_unopened(&mut self, found: &FoundFile, log: &LogName, now: Now) -> Option<FoundLoss> {
        if self.handle.is_some() || !matches!(self.state, FileState::Unopened) {
            return None;
        }
        let is_cut = found.stat.size < self.stat.size;
        let loss = if is_cut {
            self.unopened_loss(log, now)
        } else {
            None
        };
        self.stat = found.stat;
        loss
    }

    /// The file for the checkpoint, if it could not be opened.
    fn as_unopened(&self, log: &LogName) -> Option<UnopenedFile> {
        let is_unopened = !self.is_waiting && matches!(self.state, FileState::Unopened);
        let is_expected = is_unopened && self.left_out.is_none() && !self.is_beside();
        is_expected.then(|| UnopenedFile {
            log: log.clone(),
            path: self.path.display().to_string(),
            file: self.stat.key,
            size: self.stat.size,
        })
    }

    /// The file as one of which the relay has nothing yet, if that is so and all of it is to be shipped.
    fn as_unsent(&self, log: &LogName) -> Option<UnsentFile> {
        let head = match &self.state {
            FileState::Unidentified(head) => *head,
            FileState::Stream(stream) if stream.acked.offset == Offset::ZERO => stream.head,
            _ => return None,
        };
        // What appeared beside the log may be held.
        let is_expected = self.left_out.is_none() && !self.is_beside();
        is_expected.then(|| UnsentFile {
            log: log.clone(),
            path: self.path.display().to_string(),
            file: self.stat.key,
            head,
            size: self.extent,
            tail: self.tail_at_extent(head),
        })
    }

    /// The bytes before the extent, if they can be read at once.
    fn tail_at_extent(&self, head: Head) -> Option<Tail> {
        let is_plain = |text: &&LogText<H>| !text.is_compressed() && text.begins_with(head);
        let text = self.handle.as_ref().filter(is_plain)?;
        let before = files::ending_at(text, self.extent).ok()??;
        Some(Tail::of(&before))
    }

    /// Whether it may hold the bytes before `end`: it does, or is shorter, or cannot be read now.
    fn may_hold(&self, end: StreamPosition) -> bool {
        let Some(text) = self.handle.as_ref().filter(|_| self.size() >= end.offset) else {
            return true;
        };
        let holds = text.holds(end).unwrap_or(true);
        text.release_decoder();
        holds
    }

    /// The file's size if it has this head: then it may be the missing file, or a copy of it.
    pub(super) fn size_if_alike(&self, head: Head) -> Option<Offset> {
        let (own, size) = self.beginning_and_size()?;
        (own == head).then_some(size)
    }

    /// Beginning and size of what is, or was, read from the file.
    pub(crate) fn beginning_and_size(&self) -> Option<(Head, Offset)> {
        match &self.state {
            FileState::Unidentified(head) | FileState::Copy { head, .. } => Some((*head, self.size())),
            FileState::Stream(stream) => Some((stream.head, self.size().max(stream.acked.offset))),
            FileState::Compressed(CompressedState::Shipped { text, .. }) => *text,
            FileState::Unopened | FileState::TooShort | FileState::Compressed(_) | FileState::Held(_) => None,
        }
    }

    /// Whether the relay does not know yet which bytes `start: end` leaves out.
    pub(crate) fn is_skipping(&self) -> bool {
        self.left_out.is_some() && self.acked() == Offset::ZERO
    }
}

impl<H: FileHandle> TailedLog<H> {
    /// Counts the sizes of all files as seen, where that is proven. Returns whether the checkpoint has to be saved.
    pub(crate) fn prove_sizes(&mut self, now: Now) -> bool {
        let mut news = false;
        for file in &mut self.files {
            file.mark_age(now);
            file.prove_size();
            let before = std::mem::replace(&mut file.extent_noted, file.extent);
            news |= file.extent > file.acked() && file.extent != before;
        }
        news
    }

    /// The contents of this file are gone. If they have no stream yet that could be searched, the file is missing.
    pub(super) fn miss_unidentified(&mut self, index: usize) {
        let file = &self.files[index];
        if matches!(file.state, FileState::Unidentified(_)) {
            let unsent = file.as_unsent(&self.name);
            self.missing.extend(unsent.map(MissingFile::new));
        }
    }

    /// The files for the checkpoint of which the relay has nothing. If one is gone at the next start, it is missing.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = UnsentFile> + '_ {
        let of_files = self.files.iter().filter_map(|file| file.as_unsent(&self.name));
        let is_unsent = |orphan: &&OrphanStream| orphan.stream.acked.offset == Offset::ZERO;
        let of_orphans = self.orphans.iter().filter(is_unsent);
        of_files
            .chain(of_orphans.map(|orphan| orphan.as_unsent(&self.name)))
            .chain(self.missing.iter().map(|missing| missing.file.clone()))
            .filter(|unsent| unsent.size > Offset::ZERO)
    }

    /// Drops the files that are gone and read to their ends, or could not be opened.
    pub(super) fn drop_over(&mut self, now: Now) {
        for file in self.files.extract_if(.., |file| file.is_over()) {
            let key = file.stat.key;
            if let Some(stream) = file.stream() {
                let path = file.path.display().to_string();
                remember(
                    &mut self.former,
                    stream.to_checkpoint(&self.name, path, key, file.extent),
                    self.marks_max,
                );
            }
            if !is_known(&self.orphans, &self.missing, key) {
                self.lost.extend(file.unopened_loss(&self.name, now));
            }
        }
    }

    /// Notes what was found of a file that may not be open.
    pub(super) fn note_unopened(&mut self, index: usize, found: &FoundFile, now: Now) {
        let Some(file) = self.files.get_mut(index) else {
            return;
        };
        // The checkpoint names it from its first byte on, whatever its size. So a log that grows is not saved at each search.
        let (before, size) = (file.stat.size, found.stat.size);
        let is_news = size < before || (before == Offset::ZERO && size > Offset::ZERO);
        if matches!(file.state, FileState::Unopened) && is_news {
            self.save = self.save.max(CheckpointNeed::Soon);
        }
        self.lost.extend(file.find_unopened(found, &self.name, now));
    }

    /// After the first search that found any file: what of the files that an earlier process could not open is gone. If there is
    /// none, the folder may not be there yet, or be closed to this process.
    pub(super) fn find_lost_unopened(&mut self, now: Now) {
        let is_awaited = self
            .unopened
            .as_ref()
            .is_some_and(|unopened| !unopened.is_empty());
        if is_awaited && self.files.is_empty() {
            return;
        }
        for unopened in self.unopened.take().into_iter().flatten() {
            let UnopenedFile { path, file, size, .. } = &unopened;
            let is_it = |found: &TrackedFile<H>| found.stat.key == *file && found.stat.size >= *size;
            let is_here = self.files.iter().any(is_it);
            if !is_here && *size > Offset::ZERO && !is_known(&self.orphans, &self.missing, *file) {
                self.lost.push(never_read(&self.name, path, *file, *size, now));
            }
        }
    }

    pub(crate) fn unopened(&self) -> impl Iterator<Item = UnopenedFile> + '_ {
        let of_files = self.files.iter().filter_map(|file| file.as_unopened(&self.name));
        of_files.chain(self.unopened.iter().flatten().cloned())
    }

    pub(super) fn resolve_missing(&mut self, answers: &ResolveAnswers) {
        for missing in &mut self.missing {
            if let Some(answer) = answers.iter().find(|answer| answer.head == missing.file.head) {
                let known = answer.streams.iter().chain(&answer.of_other_logs);
                missing.known = Some(known.cloned().collect());
            }
        }
    }

    /// Finds the bytes that no file holds any more, once every file that could hold them is identified.
    pub(super) fn find_losses(&mut self, now: Now) {
        if self.are_files_identified() {
            self.drop_marks();
            self.find_losses_of(|_| true, now);
        }
    }

    /// After a search: what could not be told of bytes of which the relay had nothing, as files waited to be examined. Later the file
    /// that shows where they went may be deleted.
    pub(crate) fn find_unsent_losses(&mut self, now: Now) {
        let is_pending = !self.orphans.is_empty() || !self.missing.is_empty();
        if is_pending && self.orphans.iter().all(OrphanStream::is_resolved) && self.are_files_identified() {
            self.find_losses_of(|orphan| orphan.stream.acked.offset == Offset::ZERO, now);
        }
    }

    fn are_files_identified(&self) -> bool {
        let is_unidentified =
            |file: &TrackedFile<H>| file.is_waiting || matches!(file.state, FileState::Unidentified(_));
        // After the relay has forgotten something, the shipped archives, which may hold it, are opened again first.
        !self.relay_forgot && !self.files.iter().any(is_unidentified)
    }

    fn find_losses_of(&mut self, is_due: impl Fn(&OrphanStream) -> bool, now: Now) {
        let (files, found, former, marks_max) =
            (&self.files, &mut self.lost, &mut self.former, self.marks_max);
        // A file that cannot be read now may be read later.
        let is_unreadable = |key: FileKey| {
            let mut unopened = files
                .iter()
                .filter(|file| matches!(file.state, FileState::Unopened));
            unopened.any(|file| file.stat.key == key)
        };
        let held = |head, end: Option<StreamPosition>| {
            let alike = files
                .iter()
                .filter_map(|file| Some((file, file.size_if_alike(head)?)));
            let may_hold = alike.filter(|(file, _)| end.is_none_or(|end| file.may_hold(end)));
            may_hold.map(|(_, size)| size).max().unwrap_or(Offset::ZERO)
        };
        self.orphans.retain(|orphan| {
            let is_kept = !is_due(orphan) || is_unreadable(orphan.file);
            if !is_kept {
                let gap = orphan.gap(&self.name, held, now);
                found.extend(gap.map(FoundLoss::from));
                let known = &orphan.stream;
                remember(
                    former,
                    known.to_checkpoint(&self.name, orphan.path.clone(), orphan.file, orphan.extent),
                    marks_max,
                );
            }
            is_kept
        });
        self.missing.retain(|missing| {
            let known = missing.known.as_ref();
            let known = known.filter(|_| !is_unreadable(missing.file.file));
            let gap = known.and_then(|known| missing.gap(known, held(missing.file.head, missing.end()), now));
            found.extend(gap.map(FoundLoss::from));
            known.is_none()
        });
    }

    /// The files that can be read and are not shipped.
    pub(crate) fn held(&self, now: Now) -> impl Iterator<Item = HeldFile> + '_ {
        let present = self.files.iter().filter(|file| file.role != FileRole::Gone);
        present.filter_map(move |file| {
            Some(HeldFile {
                path: file.path.display().to_string(),
                reason: file.held_reason(now)?.to_string(),
            })
        })
    }
}
