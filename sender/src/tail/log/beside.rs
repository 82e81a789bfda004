//! Files that appear beside a log while the sender runs, and that rotation did not make: a rotated log that was edited, an
//! old log that was copied there by hand. They are held: named to people, and not shipped.
//!
//! Invariant: what a rotation makes is never held. A rotation renames the live file, or copies it and then cuts it. So a
//! file counts as beside the log only if, after it was found, the live path still led to the file it led to in the search
//! before, and that file still held the stream that is being shipped from it. What was made of the live file before that
//! has the bytes of a known stream, and is recognised by them.
//!
//! What appeared while the sender was down is shipped: nobody saw whether it was rotated.

use std::time::Duration;

use logferry_protocol::stream::{FileKey, Offset};

use crate::checkpoint::HeldBeside;
use crate::clock::Now;
use crate::files::discovery::{FileRole, FoundFile};
use crate::files::{FileHandle, FileSystem};
use crate::tail::log::losses::begins_with;
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{ChainId, CompressedState, FileOrigin, FileState, HeldReason, TrackedFile};

/// How often the relay is asked again about held files: `logferry backfill` may have shipped them.
const ASK_INTERVAL: Duration = Duration::from_mins(1);

/// The live file of a chain, over the searches.
#[derive(Debug, Default)]
pub(super) struct LiveFile {
    last: Option<FileKey>,
    /// It was found at the live path in the last two searches.
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
        for chain in &mut self.chains {
            let is_its = |file: &&FoundFile| file.role == FileRole::Live && file.live_path == chain.live_path;
            let key = found.iter().find(is_its).map(|file| file.stat.key);
            chain.live_file.found(key.filter(|_| is_certain));
        }
    }

    /// Of a rotated file that was found in this search, or has other contents now.
    pub(super) fn origin(&self, role: FileRole, chain: ChainId) -> FileOrigin {
        if role == FileRole::Rotated && self.has_live_stayed(chain) && self.are_others_known(chain) {
            FileOrigin::Beside
        } else {
            FileOrigin::Rotation
        }
    }

    fn has_live_stayed(&self, chain: ChainId) -> bool {
        let stayed = self.chains.get(chain.0).and_then(|chain| chain.live_file.stayed);
        let is_live = |file: &&TrackedFile<H>| file.role == FileRole::Live && stayed == Some(file.stat.key);
        let Some(live) = self.files.iter().find(is_live) else {
            return false;
        };
        let (Some(stream), Some(text)) = (live.stream(), &live.handle) else {
            return false;
        };
        stream.acked.offset > Offset::ZERO
            && begins_with(text, stream.head)
            && text.holds(stream.read).unwrap_or(false)
    }

    /// Whether nothing could be a copy of bytes that only the copy holds: all files of the chain are identified.
    fn are_others_known(&self, chain: ChainId) -> bool {
        let is_known = |file: &TrackedFile<H>| match &file.state {
            FileState::Stream(stream) => stream.acked.offset > Offset::ZERO,
            // It is closed once it turns out to be empty.
            FileState::TooShort => file.is_closed() || file.size() == Offset::ZERO,
            FileState::Copy { .. } | FileState::Held(_) | FileState::Compressed(CompressedState::Shipped) => {
                true
            }
            FileState::Unopened | FileState::Unidentified(_) | FileState::Compressed(_) => false,
        };
        let mut others = self
            .files
            .iter()
            .filter(|file| file.chain == chain && !file.is_beside());
        let is_unsent = self
            .orphans
            .iter()
            .any(|orphan| orphan.stream.acked.offset == Offset::ZERO);
        self.missing.is_empty() && !is_unsent && others.all(is_known)
    }

    /// Holds a file again that was held before the restart, and has not changed since.
    pub(super) fn hold_again(&self, file: &mut TrackedFile<H>) -> bool {
        let was_held = file.role == FileRole::Rotated && self.held_before.contains(&file.stat);
        if was_held {
            file.origin = FileOrigin::Beside;
            file.hold(HeldReason::Beside);
        }
        was_held
    }

    /// Looks again, now and then, whether the relay knows the held files.
    pub(crate) fn recheck_held<F: FileSystem<FileHandle = H>>(&mut self, files: &F, now: Now) {
        if self.next_recheck.is_some_and(|next| now.instant < next) {
            return;
        }
        self.next_recheck = Some(now.instant + ASK_INTERVAL);
        for file in &mut self.files {
            if !matches!(file.state, FileState::Held(HeldReason::Beside)) {
                continue;
            }
            let held = file.stat;
            let is_open = file.open(files).is_ok() && !matches!(file.state, FileState::Unopened);
            if !is_open || file.stat != held {
                // The next search decides what it is now.
                file.stat = held;
                file.hold(HeldReason::Beside);
            }
        }
    }

    /// The held files for the checkpoint: the next start would take them for rotated logs.
    pub(crate) fn held_beside(&self) -> impl Iterator<Item = HeldBeside> + '_ {
        let held = self
            .files
            .iter()
            .filter(|file| file.is_beside() && is_held_or_asked(file));
        held.map(|file| HeldBeside {
            log: self.name.clone(),
            path: file.path.display().to_string(),
            stat: file.stat,
        })
    }

    pub(super) fn hold_beside(&mut self, index: usize) {
        self.files[index].hold(HeldReason::Beside);
        self.save = self.save.max(CheckpointNeed::Soon);
    }
}

fn is_held_or_asked<H: FileHandle>(file: &TrackedFile<H>) -> bool {
    matches!(
        file.state,
        FileState::Held(HeldReason::Beside)
            | FileState::Unidentified(_)
            | FileState::TooShort
            | FileState::Unopened
    ) && file.role == FileRole::Rotated
}
