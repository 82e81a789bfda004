//! Files that appear beside a log while the sender runs, and that rotation did not make: a rotated log that was edited, an
//! old log that was copied there by hand. They are held: named to people, and not shipped.
//!
//! Invariant: what a rotation makes is never held. A rotation renames the live file, or copies it and then cuts it. So a
//! file counts as beside the log only if, after it was found, the live path still led to the file it led to in the search
//! before, and that file still held the stream that is being shipped from it. What was made of the live file before that
//! has the bytes of a known stream, and is recognised by them.
//!
//! What appeared while the sender was down is shipped: nobody saw whether it was rotated.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use logferry_protocol::resolve::{KnownStream, StreamPosition};
use logferry_protocol::stream::{FileKey, Head, Offset};

use crate::checkpoint::HeldBeside;
use crate::clock::Now;
use crate::files::FileHandle;
use crate::files::discovery::{FileRole, FoundFile};
use crate::tail::log::resolve::ResolveAnswers;
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{ChainId, CompressedState, FileOrigin, FileState, HeldReason, TrackedFile};

/// How often the relay is asked again about held files: `logferry backfill` may have shipped them.
const ASK_INTERVAL: Duration = Duration::from_mins(1);
/// A held file that still grows after this time is a log that some program writes.
const WRITTEN_SPAN: Duration = Duration::from_mins(2);
/// Most held files of a log that are remembered. Each has some hundred bytes in the checkpoint.
const HELD_MAX: usize = 4096;

/// The live file of a chain, over the searches.
#[derive(Debug, Default)]
pub(super) struct LiveFile {
    last: Option<FileKey>,
    /// It was found at the live path in the last two searches, and no empty rotated file was lost in the last one.
    stayed: Option<FileKey>,
}

impl LiveFile {
    fn found(&mut self, key: Option<FileKey>) {
        self.stayed = key.filter(|_| self.last == key);
        self.last = key;
    }
}

impl<H: FileHandle> TailedLog<H> {
    /// Notes what the live paths lead to, if the search is certain.
    pub(super) fn note_live_files(&mut self, found: &[FoundFile]) {
        let is_certain = self.is_search_certain;
        for file in found {
            self.chain(&file.live_path);
        }
        let live = found.iter().filter(|file| file.role == FileRole::Live);
        let live: HashMap<&Path, FileKey> = live.map(|file| (&*file.live_path, file.stat.key)).collect();
        let late = self.chains_of_lost_empty_files(found);
        for (index, chain) in self.chains.iter_mut().enumerate() {
            let key = live.get(&*chain.live_path).copied();
            chain.live_file.found(key.filter(|_| is_certain));
            if late.contains(&ChainId(index)) {
                chain.live_file.stayed = None;
            }
        }
    }

    /// The chains in which an empty rotated file is not found any more. It may have got late lines, and what was made of it has
    /// lines that no other file has.
    fn chains_of_lost_empty_files(&self, found: &[FoundFile]) -> BTreeSet<ChainId> {
        let is_empty = |file: &&TrackedFile<H>| {
            file.role == FileRole::Rotated && !file.is_beside() && matches!(file.state, FileState::TooShort)
        };
        let mut empty = self.files.iter().filter(is_empty).peekable();
        // Each search would make it, and few logs have such files.
        let found: HashSet<FileKey> = match empty.peek() {
            Some(_) => found.iter().map(|file| file.stat.key).collect(),
            None => return BTreeSet::new(),
        };
        let lost = empty.filter(|file| !found.contains(&file.stat.key));
        lost.map(|file| file.chain).collect()
    }

    /// Of a rotated file that was found in this search, or has other contents now: that of the number `known`.
    pub(super) fn origin(&self, role: FileRole, chain: ChainId, known: Option<usize>) -> FileOrigin {
        if role == FileRole::Rotated && self.has_live_stayed(chain) && self.are_others_known(chain, known) {
            FileOrigin::Beside
        } else {
            FileOrigin::Rotation
        }
    }

    fn has_live_stayed(&self, chain: ChainId) -> bool {
        let Some(stayed) = self.chains.get(chain.0).and_then(|chain| chain.live_file.stayed) else {
            return false;
        };
        let is_live = |file: &&TrackedFile<H>| file.role == FileRole::Live && stayed == file.stat.key;
        let Some(live) = self.files.iter().find(is_live) else {
            return false;
        };
        let (Some(stream), Some(text)) = (live.stream(), &live.handle) else {
            return false;
        };
        stream.acked.offset > Offset::ZERO
            && text.begins_with(stream.head)
            && text.holds(stream.read).unwrap_or(false)
    }

    /// Whether nothing could be a copy of bytes that only the copy holds: all files of the chain but this one are identified.
    fn are_others_known(&self, chain: ChainId, this: Option<usize>) -> bool {
        let is_known = |file: &TrackedFile<H>| match &file.state {
            FileState::Stream(stream) => stream.acked.offset > Offset::ZERO,
            // It is closed once it turns out to be empty.
            FileState::TooShort => file.is_closed() || file.size() == Offset::ZERO,
            FileState::Copy { .. }
            | FileState::Held(_)
            | FileState::Compressed(CompressedState::Shipped { .. }) => true,
            FileState::Unopened | FileState::Unidentified(_) | FileState::Compressed(_) => false,
        };
        let mut others = self.files.iter().enumerate().filter_map(|(index, file)| {
            (Some(index) != this && file.chain == chain && !file.is_beside()).then_some(file)
        });
        let is_unsent = self
            .orphans
            .iter()
            .any(|orphan| orphan.stream.acked.offset == Offset::ZERO);
        self.missing.is_empty() && !is_unsent && others.all(is_known)
    }

    /// Holds a file again that was held before the restart, and has not changed since.
    pub(super) fn hold_again(&self, file: &mut TrackedFile<H>) -> bool {
        let mut held = self.held_files.contents.iter();
        let was_held = file.role == FileRole::Rotated && held.any(|held| held.saved.stat == file.stat);
        if was_held {
            file.origin = FileOrigin::Beside;
            file.hold(HeldReason::Beside);
        }
        was_held
    }

    /// Decides whether a file that is no known stream is held: it appeared beside the log, or has the contents of a file that
    /// is or was held, such as after its compression.
    pub(super) fn is_to_be_held(&mut self, index: usize, beginning: &[u8], now: Now) -> bool {
        let Some(file) = self.files.get(index).filter(|file| file.role != FileRole::Live) else {
            return false;
        };
        let Some(text) = &file.handle else { return false };
        let holds = |held: &&HeldContents| {
            let end = held.saved.end;
            held.saved.head.matches(beginning) && text.holds(end).unwrap_or(false)
        };
        let held = self.held_files.contents.iter().find(holds);
        let is_same = held.is_some_and(|held| held.saved.end.offset == file.size());
        // A program that writes to a file of such a name goes on writing; an editor or a copy does not.
        let is_written = |held: &HeldContents| {
            held.saved.stat.key == file.stat.key && now.instant >= held.since + WRITTEN_SPAN
        };
        if !is_same && held.is_some_and(is_written) {
            tracing::info!(path = %file.path.display(), "the file beside the log is written to; it is shipped as a log");
            return false;
        }
        is_same || file.is_beside()
    }

    /// Holds the file, and remembers what it holds.
    pub(super) fn hold_beside(&mut self, index: usize, head: Head, now: Now) {
        let Some(file) = self.files.get_mut(index) else {
            return;
        };
        let (size, stat) = (file.size(), file.stat);
        if let Ok(Some(tail)) = file.tail_at(size) {
            let of_file = |held: &HeldContents| held.saved.stat.key == stat.key && held.saved.head == head;
            let before = self
                .held_files
                .contents
                .extract_if(.., |held| of_file(held))
                .last();
            let is_continued = before.as_ref().is_some_and(|before| {
                let mut text = file.handle.iter();
                text.all(|text| text.holds(before.saved.end).unwrap_or(false))
            });
            let since = before
                .filter(|_| is_continued)
                .map_or(now.instant, |before| before.since);
            let saved = HeldBeside {
                log: self.name.clone(),
                path: file.path.display().to_string(),
                stat,
                head,
                end: StreamPosition { offset: size, tail },
            };
            self.held_files.contents.insert(0, HeldContents { saved, since });
            if let Some(forgotten) = self.held_files.contents.get(HELD_MAX) {
                let path = &forgotten.saved.path;
                tracing::warn!(
                    log = %self.name, path,
                    "more than {HELD_MAX} files beside this log are held; after the next start {path} is shipped as a log, unless it \
                     was moved out of the folder"
                );
            }
            self.held_files.contents.truncate(HELD_MAX);
        }
        file.hold(HeldReason::Beside);
        self.save = self.save.max(CheckpointNeed::Soon);
    }

    /// Once in a while the relay is asked whether it knows the held files.
    pub(crate) fn recheck_held(&mut self, now: Now) {
        if self
            .held_files
            .next_question
            .is_none_or(|next| now.instant >= next)
        {
            self.held_files.next_question = Some(now.instant + ASK_INTERVAL);
            self.held_files.is_asked = true;
        }
    }

    /// The heads of the held files, if it is time to ask about them.
    pub(super) fn held_heads(&self) -> impl Iterator<Item = Head> + '_ {
        let held = self
            .held_files
            .contents
            .iter()
            .filter(|_| self.held_files.is_asked);
        held.filter(|held| self.held_file(held).is_some())
            .map(|held| held.saved.head)
    }

    fn held_file(&self, held: &HeldContents) -> Option<usize> {
        let is_it = |file: &TrackedFile<H>| {
            matches!(file.state, FileState::Held(HeldReason::Beside)) && file.stat == held.saved.stat
        };
        self.files.iter().position(is_it)
    }

    /// Takes the relay's answers about held files. One that the relay has is opened again: it is a known stream now.
    pub(super) fn resolve_held(&mut self, answers: &ResolveAnswers) {
        self.held_files.is_asked = false;
        let known = answers.iter().flat_map(|answer| &answer.streams);
        let known: Vec<_> = known.filter(|known| !known.by_other).collect();
        for held in &self.held_files.contents {
            let is_it = |known: &&&KnownStream| {
                known.head == held.saved.head
                    && (known.committed, known.tail) == (held.saved.end.offset, held.saved.end.tail)
            };
            let Some(index) = known.iter().find(is_it).and_then(|_| self.held_file(held)) else {
                continue;
            };
            if let Some(file) = self.files.get_mut(index) {
                file.state = FileState::Unopened;
                self.wants_scan = true;
            }
        }
    }

    /// The held files for the checkpoint: the next start would take them for rotated logs.
    pub(crate) fn held_beside(&self) -> impl Iterator<Item = HeldBeside> + '_ {
        self.held_files.contents.iter().map(|held| held.saved.clone())
    }
}

/// What a file held when it was held, present or not.
#[derive(Debug)]
struct HeldContents {
    saved: HeldBeside,
    /// Since then it holds these bytes, or the first of them.
    since: Instant,
}

/// The files that are or were held, and when the relay is asked about them.
#[derive(Debug, Default)]
pub(super) struct HeldFiles {
    /// The last one first.
    contents: Vec<HeldContents>,
    next_question: Option<Instant>,
    /// It is time to ask.
    is_asked: bool,
}

impl HeldFiles {
    pub(super) fn from_checkpoint(saved: &[HeldBeside]) -> Self {
        let since = Instant::now();
        let contents = saved.iter().cloned().map(|saved| HeldContents { saved, since });
        Self {
            contents: contents.collect(),
            ..Self::default()
        }
    }
}
