//! What is lost: bytes of a log that were gone from the disk before they could be sent.
//!
//! A loss is only ever said when it is proven, and this is what proves it:
//! - The file was seen with more bytes than the relay has of its stream. A size counts as seen only when the file was
//!   found to hold the same stream before and after it was taken: a file that is cut and written anew between two
//!   looks has the size of something else.
//! - No file of the log holds the stream any more, and none that cannot be read might.
//!
//! A file that was read as far as it was seen, but was gone after a restart before it was known to be at its end, is
//! said to be unfinished: more may have been written to it.
//!
//! Nothing can be said of a file that came and went while the sender was down.

use logferry_protocol::heartbeat::{HostTime, ReportedGap};
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{Head, Offset, StreamId};

use crate::checkpoint::UnsentFile;
use crate::clock::Now;
use crate::files::compressed::LogText;
use crate::files::discovery::FileRole;
use crate::files::{self, FileHandle};
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::{StreamPhase, TrackedStream};
use crate::tail::log::TailedLog;
use crate::tail::log::resolve::{ResolveAnswers, holds};
use crate::tail::tracked_file::{FileState, TrackedFile};

/// A file that is gone, and of which nothing is known to be acknowledged.
#[derive(Debug)]
pub(crate) struct MissingFile {
    file: UnsentFile,
    /// The streams that the relay knows to begin like it, once it was asked.
    known: Option<Vec<KnownStream>>,
}

impl MissingFile {
    pub(crate) fn new(file: UnsentFile) -> Self {
        Self { file, known: None }
    }

    /// The head to ask the relay about.
    pub(crate) fn ask(&self) -> Option<Head> {
        self.known.is_none().then_some(self.file.head)
    }

    /// What is lost of it, as far as that can be proven. A file there is holds its first `elsewhere` bytes.
    fn gap(&self, known: &[KnownStream], elsewhere: Offset, now: Now) -> Option<ReportedGap> {
        // The name that it was given, or would have been given, when it was first sent.
        let stream = StreamId::derive(self.file.file, self.file.head, 0);
        let from = match known.iter().find(|known| known.stream == stream) {
            Some(known) => known.committed,
            None if known.is_empty() => Offset::ZERO,
            None => {
                tracing::warn!(
                    log = %self.file.log, path = self.file.path,
                    "a log is gone, and it cannot be told whether it was one that the relay has"
                );
                return None;
            }
        };
        let from = from.max(elsewhere);
        (self.file.size > from).then(|| ReportedGap {
            stream,
            log: self.file.log.clone(),
            path: self.file.path.clone(),
            from,
            until: Some(self.file.size),
            noticed_at: HostTime::from(now.wall),
        })
    }
}

impl OrphanStream {
    /// What is lost, now that no file holds the stream any more. A file there is holds its first `elsewhere` bytes.
    fn gap(&self, log: &LogName, elsewhere: Offset, now: Now) -> Option<ReportedGap> {
        let acked = self.stream.acked.offset;
        // A copy of a stream that the relay has nothing of became a stream of its own.
        let from = if acked == Offset::ZERO { elsewhere } else { acked };
        let until = (self.extent > from).then_some(self.extent);
        let is_unfinished = self.is_remembered && self.stream.phase != StreamPhase::Finished;
        (until.is_some() || is_unfinished).then(|| ReportedGap {
            stream: self.stream.id,
            log: log.clone(),
            path: self.path.clone(),
            from,
            until,
            noticed_at: HostTime::from(now.wall),
        })
    }

    /// For the checkpoint: as a file of which the relay has nothing.
    fn unsent(&self, log: &LogName) -> UnsentFile {
        UnsentFile {
            log: log.clone(),
            path: self.path.clone(),
            file: self.file,
            head: self.stream.head,
            size: self.extent,
        }
    }
}

impl<H: FileHandle> TrackedFile<H> {
    /// Takes the file's size as seen, if the file still holds what it was taken for.
    fn prove_size(&mut self) {
        let (size, Some(handle)) = (self.size(), &self.handle) else {
            return;
        };
        if size <= self.extent {
            return;
        }
        let is_same = match &self.state {
            FileState::Unidentified(head) => begins_with(handle, *head),
            FileState::Stream(stream)
                if matches!(stream.phase, StreamPhase::Reading | StreamPhase::InDoubt) =>
            {
                begins_with(handle, stream.head) && holds(handle, stream.read).unwrap_or(false)
            }
            _ => false,
        };
        if is_same {
            self.extent = size;
        }
    }

    /// Whether the file is seen to have more than at the last call, and more than the relay has.
    fn has_news(&mut self) -> bool {
        let before = std::mem::replace(&mut self.extent_noted, self.extent);
        let acked = match &self.state {
            FileState::Stream(stream) => stream.acked.offset,
            _ => Offset::ZERO,
        };
        self.extent > acked && self.extent != before
    }

    /// What a finished stream lacks: its file is a copy that does not hold all that the original was seen to hold.
    pub(crate) fn shortfall(&mut self, log: &LogName, now: Now) -> Option<ReportedGap> {
        let FileState::Stream(TrackedStream {
            id,
            acked,
            phase: StreamPhase::Finished,
            ..
        }) = &self.state
        else {
            return None;
        };
        let (from, until) = (acked.offset, self.extent);
        self.extent = from;
        (until > from).then(|| ReportedGap {
            stream: *id,
            log: log.clone(),
            path: self.path.display().to_string(),
            from,
            until: Some(until),
            noticed_at: HostTime::from(now.wall),
        })
    }

    /// The file as one of which the relay has nothing yet, if it is and all of it is wanted.
    fn unsent(&self, log: &LogName) -> Option<UnsentFile> {
        let head = match &self.state {
            FileState::Unidentified(head) => *head,
            FileState::Stream(stream) if stream.acked.offset == Offset::ZERO => stream.head,
            _ => return None,
        };
        self.skip_to.is_none().then(|| UnsentFile {
            log: log.clone(),
            path: self.path.display().to_string(),
            file: self.stat.key,
            head,
            size: self.extent,
        })
    }

    /// How much it holds, if it begins like this: then it may be the file that is sought, or a copy of it.
    fn size_if_alike(&self, head: Head) -> Option<Offset> {
        match &self.state {
            FileState::Unidentified(own) | FileState::Copy { head: own, .. } => {
                (*own == head).then(|| self.size())
            }
            FileState::Stream(stream) => (stream.head == head).then(|| self.size().max(stream.acked.offset)),
            FileState::Unopened | FileState::TooShort | FileState::Compressed(_) => None,
        }
    }

    /// `start: end`: what is there already is not wanted, and that is not yet known to the relay.
    pub(crate) fn is_skipping(&self) -> bool {
        let has_begun =
            matches!(&self.state, FileState::Stream(stream) if stream.acked.offset > Offset::ZERO);
        self.skip_to.is_some() && !has_begun
    }
}

impl<H: FileHandle> TailedLog<H> {
    /// Takes the sizes of all files as seen, where that is right. Says whether the checkpoint has to know.
    pub(crate) fn prove_sizes(&mut self, now: Now) -> bool {
        let mut news = false;
        for entry in &mut self.entries {
            entry.mark_age(now);
            entry.prove_size();
            news |= entry.has_news();
        }
        news
    }

    /// Whether the relay has yet to hear what `start: end` leaves out.
    pub(crate) fn is_skipping(&self) -> bool {
        self.entries.iter().any(TrackedFile::is_skipping)
    }

    /// What was in this file is not there any more. If it has no stream yet that could be sought, the file is.
    pub(super) fn miss_unresolved(&mut self, index: usize) {
        let entry = &self.entries[index];
        if matches!(entry.state, FileState::Unidentified(_)) {
            self.missing
                .extend(entry.unsent(&self.name).map(MissingFile::new));
        }
    }

    /// What the checkpoint keeps of files that the relay has nothing of: they are missed if they are gone then.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = UnsentFile> + '_ {
        let followed = self.entries.iter().filter_map(|entry| entry.unsent(&self.name));
        let is_unsent = |orphan: &&OrphanStream| orphan.stream.acked.offset == Offset::ZERO;
        let orphaned = self.orphans.iter().filter(is_unsent);
        followed
            .chain(orphaned.map(|orphan| orphan.unsent(&self.name)))
            .chain(self.missing.iter().map(|missing| missing.file.clone()))
            .filter(|unsent| unsent.size > Offset::ZERO)
    }

    /// Takes the relay's answers for files that are missing.
    pub(super) fn hear_of_missing(&mut self, answers: &ResolveAnswers) {
        for missing in &mut self.missing {
            if let Some((_, known)) = answers.iter().find(|(head, _)| *head == missing.file.head) {
                missing.known = Some(known.clone());
            }
        }
    }

    /// Finds what no file holds any more, once there is no file left that could.
    pub(super) fn find_losses(&mut self, now: Now) {
        if self
            .entries
            .iter()
            .any(|entry| matches!(entry.state, FileState::Unidentified(_)))
        {
            return;
        }
        let unreadable = self
            .entries
            .iter()
            .filter(|entry| matches!(entry.state, FileState::Unopened));
        let unreadable: Vec<_> = unreadable.map(|entry| entry.stat.key).collect();
        let (entries, found) = (&self.entries, &mut self.lost);
        let elsewhere = |head| {
            let sizes = entries.iter().filter_map(|entry| entry.size_if_alike(head));
            sizes.max().unwrap_or(Offset::ZERO)
        };
        self.orphans.retain(|orphan| {
            // A file that cannot be read now may be read later.
            let is_kept = unreadable.contains(&orphan.file);
            if !is_kept {
                found.extend(orphan.gap(&self.name, elsewhere(orphan.stream.head), now));
            }
            is_kept
        });
        self.missing.retain(|missing| {
            let known = missing
                .known
                .as_ref()
                .filter(|_| !unreadable.contains(&missing.file.file));
            let Some(known) = known else { return true };
            found.extend(missing.gap(known, elsewhere(missing.file.head), now));
            false
        });
    }

    /// The paths of files that cannot be read.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = String> + '_ {
        let unreadable = self.entries.iter().filter(|entry| entry.is_unreadable());
        unreadable.map(|entry| entry.path.display().to_string())
    }
}

impl<H> TrackedFile<H> {
    fn is_unreadable(&self) -> bool {
        use crate::tail::tracked_file::CompressedState::Damaged;
        self.role != FileRole::Gone
            && matches!(self.state, FileState::Unopened | FileState::Compressed(Damaged))
    }
}

fn begins_with<H: FileHandle>(handle: &LogText<H>, head: Head) -> bool {
    let beginning = files::beginning(handle);
    beginning.is_ok_and(|beginning| head.matches(&beginning))
}
