//! One configured log: its files in order, and which stream each is.
//!
//! Events come in (a scan, a measure, the relay's answers), decisions go out (what to ask, what to read next). Time is
//! an argument; files are only looked into through handles.
//!
//! Invariants:
//! - The files of one live path (a chain) are in order of age, the live one last; a file is read only when all older
//!   files of its chain are read and acknowledged. So lines stay in order across rotations.
//! - A file is read only after the relay was asked which streams begin like it.
//! - A stream whose file has changed under it is an orphan until a file is found that holds it (a copy), or the loss
//!   of its unread bytes is reported.

pub(crate) mod losses;
pub(crate) mod progress;
pub(crate) mod resolve;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use logferry_config as config;
use logferry_protocol::heartbeat::ReportedGap;
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::AcknowledgedStream;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

use crate::checkpoint::{Checkpoint, CheckpointStream, ShippedArchive};
use crate::chunks::chunker::{Chunker, LineLimits};
use crate::chunks::exclusion::ExclusionRules;
use crate::clock::Now;
use crate::error::RequestError;
use crate::files::discovery::{FileRole, FoundFile, LogPatterns};
use crate::files::{FileHandle, FileStat, FileSystem};
use crate::messages::ChunkSeq;
use crate::relay_backoff::RelayBackoff;
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::{InFlightChunk, ShippedAmount, StreamPhase};
use crate::tail::log::losses::MissingFile;
use crate::tail::tracked_file::{ChainId, CompressedState, FileState, ReadOutcome, SizeChange, TrackedFile};

/// Most looks at the folders in one scan; names that move on faster than that are looked at again soon anyway.
const LOOKS_MAX: usize = 4;

/// A configured log.
#[derive(Debug)]
pub(crate) struct TailedLog<H> {
    pub(super) name: LogName,
    pub(super) patterns: LogPatterns,
    pub(super) chunker: Chunker,
    /// Where a file begins that is found now: as configured only where neither a checkpoint nor a scan was before.
    start: config::StartPosition,
    retry: config::Backoff,
    chains: Vec<RotationChain>,
    /// Which file had which name at the last look.
    names: Vec<(PathBuf, FileKey)>,
    pub(super) entries: Vec<TrackedFile<H>>,
    pub(super) orphans: Vec<OrphanStream>,
    /// FileSystem that are gone, and of which nothing is known to be acknowledged.
    pub(super) missing: Vec<MissingFile>,
    /// What was found to be lost and is not yet told.
    pub(super) lost: Vec<ReportedGap>,
    /// Compressed files that the checkpoint says were shipped.
    shipped: Vec<FileStat>,
    /// A file has changed its contents: a copy of them may be in the folder.
    pub(super) wants_scan: bool,
    /// A compressed file turned out to be shipped.
    pub(super) wants_checkpoint: bool,
    /// The relay was emptied or restored from a backup: it has less of a stream than it had acknowledged.
    pub(super) relay_forgot: bool,
}

#[derive(Debug)]
struct RotationChain {
    live_path: PathBuf,
    /// When a file of this chain was last read from, as a count of reads.
    served: u64,
}

/// Something to read. The least recently served goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DueRead {
    served: u64,
    entry: usize,
}

impl<H: FileHandle> TailedLog<H> {
    /// A log, with what the checkpoint has of it; `None` is the very first start.
    pub(crate) fn new(
        sender: &config::SenderSettings,
        log: &config::LogSettings,
        checkpoint: Option<&Checkpoint>,
    ) -> Self {
        let limits = LineLimits {
            max_lines: sender.chunk.max_lines,
            max_line: log.max_line,
        };
        let streams = checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.streams);
        let remembered = streams.filter(|stream| stream.log == log.name).cloned();
        let unsent = checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.unsent);
        let missing = unsent.filter(|unsent| unsent.log == log.name).cloned();
        let archives = checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.archives);
        let shipped = archives.filter(|archive| archive.log == log.name);
        Self {
            name: log.name.clone(),
            patterns: LogPatterns::new(&log.path, &log.rotated),
            chunker: Chunker::new(ExclusionRules::new(&log.exclude), limits),
            start: checkpoint.map_or(log.start, |_| config::StartPosition::Beginning),
            retry: sender.retry,
            chains: Vec::new(),
            names: Vec::new(),
            entries: Vec::new(),
            orphans: remembered.map(OrphanStream::remembered).collect(),
            missing: missing.map(MissingFile::new).collect(),
            lost: Vec::new(),
            shipped: shipped.map(|archive| archive.stat).collect(),
            wants_scan: false,
            wants_checkpoint: false,
            relay_forgot: false,
        }
    }

    /// Looks for files, opens new ones, and notes what was renamed or is gone.
    pub(crate) fn scan<F: FileSystem<FileHandle = H>>(&mut self, files: &F, now: Now) {
        self.wants_scan = false;
        self.entries.iter_mut().for_each(|entry| entry.seen = false);
        for found in self.sight(files) {
            let chain = self.chain(&found.live_path);
            self.meet(files, found, chain, now);
        }
        for entry in self.entries.iter_mut().filter(|entry| !entry.seen) {
            entry.set_role(FileRole::Gone, now);
        }
        self.entries.retain(|entry| !entry.is_over());
        for index in 0..self.entries.len() {
            self.recheck_copy(index);
        }
        self.orphans.iter_mut().for_each(OrphanStream::scanned);
        self.start = config::StartPosition::Beginning;
    }

    /// Looks until two looks in a row show the same: in the middle of a rotation names move on under the look, so that
    /// it may miss a file, and the lines of a younger one would come before its own.
    fn sight<F: FileSystem<FileHandle = H>>(&mut self, files: &F) -> Vec<FoundFile> {
        let mut found_files = self.patterns.scan(files);
        for _ in 1..LOOKS_MAX {
            let names = found_files
                .iter()
                .map(|file| (file.path.clone(), file.stat.key))
                .collect();
            if self.names == names {
                break;
            }
            self.names = names;
            found_files = self.patterns.scan(files);
        }
        found_files
    }

    fn meet<F: FileSystem<FileHandle = H>>(&mut self, files: &F, found: FoundFile, chain: ChainId, now: Now) {
        let known = self
            .entries
            .iter()
            .position(|entry| entry.stat.key == found.stat.key);
        if let Some(known) = known {
            let entry = &mut self.entries[known];
            let same = entry.stat == found.stat || entry.is_being_compressed(&found.stat, now);
            if !entry.is_closed() || same {
                entry.meet(files, found, chain, now);
                return;
            }
            // It was closed and has changed: perhaps another file with the same inode. It is met like a new one.
            let mut entry = self.entries.remove(known);
            self.orphans.extend(entry.take_orphan());
        }
        let mut entry = TrackedFile::new(found, chain, RelayBackoff::new(self.retry), now);
        if self.shipped.contains(&entry.stat) {
            entry.set_shipped();
        } else if let Err(error) = entry.open(files) {
            tracing::warn!(path = %entry.path.display(), %error, "a log cannot be opened, it is tried again");
        }
        if self.start == config::StartPosition::End && entry.size() > Offset::ZERO {
            entry.skip_to = Some(entry.size());
        }
        self.entries.push(entry);
    }

    fn chain(&mut self, live_path: &PathBuf) -> ChainId {
        let known = self.chains.iter().position(|chain| chain.live_path == *live_path);
        ChainId(known.unwrap_or_else(|| {
            self.chains.push(RotationChain {
                live_path: live_path.clone(),
                served: 0,
            });
            self.chains.len() - 1
        }))
    }

    /// Looks at the sizes and times of all open files.
    pub(crate) fn measure(&mut self, now: Now) {
        for index in 0..self.entries.len() {
            match self.entries[index].measure(now) {
                SizeChange::Same => {}
                SizeChange::Shrunk => self.lose(index),
                SizeChange::Grown => self.recheck_copy(index),
            }
            self.entries[index].tick(now);
        }
        self.entries.retain(|entry| !entry.is_over());
        self.entries.sort_by(TrackedFile::oldest_first);
    }

    /// The file does not hold its stream any more: it is looked at anew, and the stream is sought elsewhere.
    pub(super) fn lose(&mut self, index: usize) {
        self.orphan(index);
        self.entries[index].examine();
        self.wants_scan = true;
    }

    /// The stream is sought elsewhere from now on.
    fn orphan(&mut self, index: usize) {
        self.miss_unresolved(index);
        let entry = &mut self.entries[index];
        if let Some(orphan) = entry.take_orphan() {
            let (stream, acked) = (orphan.stream.id, orphan.stream.acked.offset);
            tracing::info!(path = %entry.path.display(), %stream, %acked, "the file was truncated or rewritten");
            self.orphans.push(orphan);
        }
        entry.skip_to = None;
        // What was a copy of this file may be all that is left of it.
        for index in 0..self.entries.len() {
            self.recheck_copy(index);
        }
    }

    /// The relay has forgotten what it had acknowledged: it is asked about every file, as at a start.
    pub(super) fn ask_anew(&mut self) {
        self.relay_forgot = false;
        self.shipped.clear();
        for entry in &mut self.entries {
            match &mut entry.state {
                FileState::Stream(stream) if stream.phase == StreamPhase::Finished => {
                    entry.state = FileState::Unopened
                }
                FileState::Stream(stream) => stream.doubt(),
                FileState::Compressed(CompressedState::Shipped) => entry.state = FileState::Unopened,
                _ => {}
            }
        }
        self.wants_scan = true;
    }

    /// What to ask the relay about: files of unknown stream, and streams of unknown position.
    pub(crate) fn questions(&mut self, now: Now) -> Vec<Head> {
        let mut heads: Vec<Head> = Vec::new();
        // As long as it is not known how far an orphan is, no file can be named: it might be the orphan's.
        let nameable = !self.orphans.iter().any(OrphanStream::is_waiting);
        let of_orphans = self.orphans.iter_mut().filter_map(OrphanStream::ask);
        let of_missing = self.missing.iter().filter_map(MissingFile::ask);
        let of_entries = self.entries.iter().filter_map(|entry| match &entry.state {
            FileState::Unidentified(head) if nameable => Some(*head),
            FileState::Stream(stream) if entry.is_to_ask(now) => Some(stream.head),
            _ => None,
        });
        for head in of_orphans.chain(of_entries).chain(of_missing) {
            if !heads.contains(&head) {
                heads.push(head);
            }
        }
        heads
    }

    /// The file to read next, if one is due, and otherwise when one will be.
    pub(crate) fn next(
        &self,
        chunk_bytes: usize,
        max_delay: Duration,
        now: Now,
    ) -> (Option<DueRead>, Option<Instant>) {
        let mut blocked = vec![false; self.chains.len()];
        let (mut ready, mut later) = (None::<DueRead>, None::<Instant>);
        for (index, entry) in self.entries.iter().enumerate() {
            let ChainId(chain) = entry.chain;
            if blocked[chain] {
                continue;
            }
            blocked[chain] = entry.blocks();
            match entry.due(chunk_bytes, max_delay) {
                Some(due) if due <= now.instant => {
                    let this = DueRead {
                        served: self.chains[chain].served,
                        entry: index,
                    };
                    ready = Some(ready.map_or(this, |best| best.min(this)));
                }
                Some(due) => later = Some(later.map_or(due, |first| first.min(due))),
                None => {}
            }
            if let Some(until) = entry.retry.waits_until(now.instant) {
                later = Some(later.map_or(until, |first| first.min(until)));
            }
        }
        (ready, later)
    }

    /// Reads what [`Self::next`] said. `turn` counts reads, for fairness among chains.
    pub(crate) fn build(
        &mut self,
        ready: DueRead,
        turn: u64,
        buffer: &mut [u8],
        chunk_bytes: usize,
    ) -> ReadOutcome {
        let entry = &mut self.entries[ready.entry];
        let ChainId(chain) = entry.chain;
        self.chains[chain].served = turn;
        let built = entry.build(buffer, chunk_bytes, &mut self.chunker);
        match &built {
            ReadOutcome::Changed => self.lose(ready.entry),
            ReadOutcome::Broken(error) => {
                self.orphan(ready.entry);
                self.entries[ready.entry].broken(error);
            }
            ReadOutcome::Chunk(draft) if draft.cut.begins_long_line => {
                let offset = draft.range.start();
                tracing::warn!(
                    path = %entry.path.display(), %offset,
                    "a line longer than max_line is shipped in pieces"
                );
            }
            ReadOutcome::Chunk(_) | ReadOutcome::Nothing => {}
        }
        built
    }

    /// The chunk built from `ready` goes to the wire.
    pub(crate) fn sent(&mut self, ready: DueRead, flight: InFlightChunk) {
        if let FileState::Stream(stream) = &mut self.entries[ready.entry].state {
            stream.sent(flight);
        }
    }

    /// The relay answered for a chunk: it is durable, or the stream is in doubt. `chance` is for the back-off.
    ///
    /// `None` if the chunk is none of this log's, or its file has changed since.
    pub(crate) fn answered(
        &mut self,
        seq: ChunkSeq,
        result: Result<(), &RequestError>,
        now: Now,
        chance: f64,
    ) -> Option<ShippedAmount> {
        let orphan = self.orphans.iter_mut().find(|orphan| orphan.stream.awaits(seq));
        if let Some(OrphanStream { stream, .. }) = orphan {
            return Some(if result.is_ok() {
                stream.stored(seq)
            } else {
                stream.failed(seq)
            });
        }
        let awaiting = |entry: &&mut TrackedFile<H>| matches!(&entry.state, FileState::Stream(stream) if stream.awaits(seq));
        let entry = self.entries.iter_mut().find(awaiting)?;
        let FileState::Stream(stream) = &mut entry.state else {
            return None;
        };
        match result {
            Ok(()) => {
                entry.retry.succeeded();
                let settled = stream.stored(seq);
                self.lost.extend(entry.shortfall(&self.name, now));
                entry.close_if_finished();
                return Some(settled);
            }
            Err(error) if error.concerns_all() => {}
            Err(error) => {
                let (path, acked) = (entry.path.display(), stream.acked.offset);
                let _log = tracing::error_span!("log", %path, %acked).entered();
                entry.retry.failed(error, now.instant, chance);
            }
        }
        Some(stream.failed(seq))
    }

    /// What the checkpoint keeps of this log. A stream of which nothing is acknowledged is not worth it, and would
    /// make the next start look like a second one.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = CheckpointStream> + '_ {
        let followed = self.entries.iter().filter_map(|entry| entry.remember(&self.name));
        let orphaned = self.orphans.iter().map(|orphan| orphan.remember(&self.name));
        followed
            .chain(orphaned)
            .filter(|remembered| remembered.stream.committed > Offset::ZERO)
    }

    /// The streams that begin with `head` and of which something is acknowledged, for a relay that may have forgotten.
    pub(crate) fn acknowledged(&self, head: Head) -> Vec<AcknowledgedStream> {
        let followed = self.entries.iter().filter_map(|entry| match &entry.state {
            FileState::Stream(stream) => Some(stream.acknowledged(entry.stat.key, stream.read.offset)),
            _ => None,
        });
        let orphaned = self.orphans.iter().map(OrphanStream::acknowledged);
        followed
            .chain(orphaned)
            .filter(|known| known.stream.head == head && known.stream.committed > Offset::ZERO)
            .collect()
    }

    /// The compressed files that the checkpoint keeps, so that they are not decompressed at each start.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = ShippedArchive> + '_ {
        self.entries
            .iter()
            .filter_map(|entry| entry.remember_shipped(&self.name))
    }

    /// Bytes on disk that the relay does not have yet.
    pub(crate) fn lag_bytes(&self) -> u64 {
        let lags = self.entries.iter().map(|entry| match &entry.state {
            FileState::Stream(stream) => entry.size().since(stream.acked.offset),
            FileState::Unidentified(_) | FileState::TooShort | FileState::Unopened => entry.size().get(),
            FileState::Copy { .. } | FileState::Compressed(_) => 0,
        });
        lags.sum()
    }

    /// The folders where something may happen to this log.
    pub(crate) fn folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let found = self.entries.iter().filter_map(|entry| entry.path.parent());
        self.patterns.folders().chain(found).map(PathBuf::from)
    }

    /// The live paths seen so far, which may be links to other folders.
    pub(crate) fn live_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.chains.iter().map(|chain| &chain.live_path)
    }

    /// Whether a file is known to be this stream.
    pub(super) fn is_followed(&self, id: StreamId) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(&entry.state, FileState::Stream(stream) if stream.id == id))
    }
}
