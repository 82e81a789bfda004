//! Which files of a log may be read next, what the relay is to be asked, and what has to be done besides. No I/O.
//!
//! The files of one rotation chain and one [`ReadQueue`](crate::tail::tracked_file::ReadQueue) are a sequence: they are read
//! in their order, and none before all older ones are read and acknowledged. Sequences do not wait for each other.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use logferry_protocol::stream::Head;

use crate::clock::Now;
use crate::files::FileHandle;
use crate::messages::ChunkSeq;
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::StreamPhase;
use crate::tail::log::losses::MissingFile;
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{ChainId, FileState, TrackedFile};

/// What decides, besides the file itself, when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadLimits {
    /// A live file with so many unread bytes is read at once.
    pub(crate) chunk_bytes: usize,
    /// A live file with less is read when its first unread byte is so old.
    pub(crate) max_delay: Duration,
}

/// A file that is due to be read. The sequence that was read longest ago goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DueRead {
    last_read: ChunkSeq,
    pub(crate) file: usize,
}

/// A file with the sequence that it stands in. The order is that of reading within a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SequencedFile {
    chain: usize,
    queue: usize,
    file: usize,
}

impl SequencedFile {
    fn new<H: FileHandle>(index: usize, file: &TrackedFile<H>) -> Self {
        let ChainId(chain) = file.chain;
        Self {
            chain,
            queue: file.queue.index(),
            file: index,
        }
    }

    pub(crate) fn is_followed_by(self, other: Self) -> bool {
        (self.chain, self.queue) == (other.chain, other.queue)
    }
}

/// Which file of a sequence is due, and when the next one will be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SequenceState {
    pub(crate) due: Option<DueRead>,
    pub(crate) later: Option<Instant>,
}

/// What has to be done for a log besides reading its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogNeeds {
    pub(crate) save: CheckpointNeed,
    pub(crate) scan: bool,
    /// Archives of the backlog wait to be examined.
    pub(crate) examination: bool,
    /// Losses were found, and are not reported yet.
    pub(crate) report: bool,
}

impl LogNeeds {
    pub(crate) const NONE: Self = Self {
        save: CheckpointNeed::None,
        scan: false,
        examination: false,
        report: false,
    };

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            save: self.save.max(other.save),
            scan: self.scan || other.scan,
            examination: self.examination || other.examination,
            report: self.report || other.report,
        }
    }
}

/// What of a log is more than the state of one of its files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogOutline {
    needs: LogNeeds,
    orphans: usize,
    missing: usize,
}

impl<H: FileHandle> TailedLog<H> {
    pub(crate) fn needs(&self) -> LogNeeds {
        LogNeeds {
            save: self.save,
            scan: self.wants_scan,
            examination: self.waiting > 0,
            report: !self.lost.is_empty(),
        }
    }

    /// If it is the same before and after a file is read or acknowledged, only this file has changed.
    pub(crate) fn outline(&self) -> LogOutline {
        LogOutline {
            needs: self.needs(),
            orphans: self.orphans.len(),
            missing: self.missing.len(),
        }
    }

    pub(crate) fn sequenced_files(&self) -> impl Iterator<Item = SequencedFile> + '_ {
        let files = self.files.iter().enumerate();
        files.map(|(index, file)| SequencedFile::new(index, file))
    }

    pub(crate) fn sequenced(&self, index: usize) -> Option<SequencedFile> {
        let file = self.files.get(index)?;
        Some(SequencedFile::new(index, file))
    }

    pub(crate) fn is_in_doubt(&self, index: usize) -> bool {
        let file = self.files.get(index);
        file.is_some_and(|file| file.stream_in(StreamPhase::InDoubt).is_some())
    }

    /// The state of the sequence that these files are.
    pub(crate) fn sequence_state(
        &self,
        files: impl Iterator<Item = SequencedFile>,
        limits: ReadLimits,
        now: Now,
    ) -> SequenceState {
        let mut state = SequenceState::default();
        for SequencedFile { chain, queue, file } in files {
            let index = file;
            let Some(file) = self.files.get(index) else { break };
            match file.due(limits.chunk_bytes, limits.max_delay) {
                Some(due) if due <= now.instant => {
                    let last_read = self
                        .chains
                        .get(chain)
                        .map_or(ChunkSeq(0), |chain| chain.last_read[queue]);
                    state.due.get_or_insert(DueRead {
                        last_read,
                        file: index,
                    });
                }
                due => state.later = earliest(state.later, due),
            }
            if file.blocks() {
                break;
            }
        }
        state
    }

    /// When the relay is to be asked; `None` if something has to happen first.
    pub(crate) fn asks_at(&self, now: Now) -> Option<Instant> {
        let is_asked = self.orphans.iter().any(OrphanStream::is_to_be_asked)
            || self.missing.iter().any(|missing| missing.ask().is_some())
            || self.held_heads().next().is_some();
        let of_files = self.file_questions(now).map(|(_, at)| at);
        of_files.chain(is_asked.then_some(now.instant)).min()
    }

    /// The heads to ask the relay about: of files whose stream is not known, and of streams whose position is not.
    pub(crate) fn questions(&mut self, now: Now) -> Vec<Head> {
        let due = self.file_questions(now).filter(|&(_, at)| at <= now.instant);
        let of_files: Vec<_> = due.map(|(head, _)| head).collect();
        let of_held: Vec<_> = self.held_heads().collect();
        let of_orphans = self.orphans.iter_mut().filter_map(OrphanStream::ask);
        let of_missing = self.missing.iter().filter_map(MissingFile::ask);
        let mut seen = HashSet::new();
        let mut heads: Vec<Head> = of_orphans
            .chain(of_files)
            .chain(of_missing)
            .chain(of_held)
            .collect();
        heads.retain(|head| seen.insert(*head));
        for stream in self.files.iter_mut().filter_map(TrackedFile::stream_mut) {
            stream.is_asked = stream.is_in_doubt() && seen.contains(&stream.head);
        }
        heads
    }

    fn file_questions(&self, now: Now) -> impl Iterator<Item = (Head, Instant)> + '_ {
        // While the position of an orphan is not known, no file can be identified: it might hold the orphan.
        let can_identify = !self.orphans.iter().any(OrphanStream::is_waiting);
        self.files.iter().filter_map(move |file| match &file.state {
            FileState::Unidentified(head) if can_identify => Some((*head, now.instant)),
            FileState::Stream(stream) if stream.is_in_doubt() => {
                let waits = file.retry.waits_until(now.instant);
                Some((stream.head, waits.unwrap_or(now.instant)))
            }
            _ => None,
        })
    }
}

pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}
