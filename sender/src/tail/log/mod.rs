//! One configured log: its files in order, which stream each is, and which losses are found.
//!
//! Scans, measures and the relay's answers come in; questions for the relay and the next file to read go out. Time is an
//! argument, and files are only read through handles. The proof of losses (`losses`) may be changed here
//! without looking elsewhere.
//!
//! Invariants:
//! - The files of one rotation chain (a live path and its rotated files) are in order of age, the live file last. A file
//!   is read only when all older files of its chain are read and acknowledged. So lines stay in order over rotations. The
//!   exception is a backlog of many old files (`backlog`), which is read beside the others.
//! - A file is read only after the relay was asked which streams have its head.
//! - A stream whose file has changed is an orphan until a file is found that holds it (a copy), or the loss of its
//!   unread bytes is reported.

pub(crate) mod backlog;
mod beside;
pub(crate) mod first_start;
pub(crate) mod handover;
mod known_lines;
pub(crate) mod losses;
pub(crate) mod next_read;
mod report;
pub(crate) mod resolve;
mod saved;
mod unseen;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use logferry_config as config;
use logferry_protocol::chunk::ChunkHeader;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{FileKey, Offset, StreamId};

use crate::checkpoint::{
    Checkpoint, CheckpointStream, FormerName, ShippedArchive, SkippedStart, UnopenedFile,
};
use crate::chunks::chunker::Chunker;
use crate::clock::Now;
use crate::error::RequestError;
use crate::files::discovery::{FileRole, FoundFile, LogPatterns};
use crate::files::{FileHandle, FileSystem};
use crate::messages::ChunkSeq;
use crate::relay_backoff::RelayBackoff;
use crate::streams::orphan::OrphanStream;
use crate::streams::read::{ChunkDraft, ChunkRead};
use crate::streams::tracked_stream::{ShippedAmount, StreamPhase, TrackedStream};
use crate::tail::chunk_size::ChunkSize;
use crate::tail::log::beside::{HeldFiles, LiveFile};
use crate::tail::log::known_lines::Comparison;
use crate::tail::log::losses::{FoundLoss, MissingFile};
use crate::tail::tracked_file::close_policy::WriterSearch;
use crate::tail::tracked_file::handle_budget::HandleBudget;
use crate::tail::tracked_file::{
    ChainId, CompressedState, FileOrigin, FileState, HeldReason, LeftOut, SizeChange, TrackedFile,
};

/// Most searches of the folders in one scan. If names change faster, the next scan comes soon anyway.
const SEARCHES_MAX: usize = 4;

pub(crate) struct TailedLog<H> {
    pub(super) name: LogName,
    pub(super) former_names: Vec<FormerName>,
    pub(super) patterns: LogPatterns,
    chunker: Chunker,
    /// Where reading starts in a file found now. As configured only until the log was searched, in the first start with it.
    start: config::StartPosition,
    retry: config::Backoff,
    chains: Vec<RotationChain>,
    /// By live paths: a glob can find thousands.
    chain_ids: HashMap<PathBuf, ChainId>,
    names: Vec<(PathBuf, FileKey)>,
    /// Files beside the live ones that look like rotated files, but are not.
    pub(super) neighbours: BTreeSet<PathBuf>,
    pub(super) files: Vec<TrackedFile<H>>,
    pub(super) orphans: Vec<OrphanStream>,
    missing: Vec<MissingFile>,
    /// Of the checkpoint, until the first search.
    unopened: Option<Vec<UnopenedFile>>,
    /// Streams whose files are gone or were rewritten.
    former: Vec<CheckpointStream>,
    /// Most marks of a stream.
    marks_max: usize,
    /// The marks of `start: end` whose files are not identified.
    unassigned: Vec<SkippedStart>,
    pub(super) lost: Vec<FoundLoss>,
    /// Compressed files that the checkpoint says were shipped, with their streams.
    shipped: Vec<ShippedArchive>,
    held_files: HeldFiles,
    /// Whether the last search found the same as the one before it.
    is_search_certain: bool,
    /// How many archives of the backlog wait to be examined.
    waiting: usize,
    /// A file has changed its contents: a copy of them may be in the folder.
    pub(super) wants_scan: bool,
    pub(super) save: CheckpointNeed,
    /// The relay has less of a stream than it had acknowledged: it was emptied or restored from a backup.
    pub(super) relay_forgot: bool,
}

/// Whether the checkpoint has to be saved because of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CheckpointNeed {
    None,
    Soon,
    /// It says where the ends of `start: end` are.
    BeforeSending,
}

#[derive(Debug)]
struct RotationChain {
    live_path: PathBuf,
    /// The number of the last chunk that was read from a file of this chain, and from one of its backlog.
    last_read: [ChunkSeq; 2],
    live_file: LiveFile,
}

impl<H: FileHandle> TailedLog<H> {
    /// A log with its part of the checkpoint; `None` is the very first start.
    pub(crate) fn new(
        sender: &config::SenderSettings,
        log: &config::LogSettings,
        checkpoint: Option<&Checkpoint>,
    ) -> Self {
        let empty = Checkpoint::default();
        let saved = checkpoint.unwrap_or(&empty);
        let orphans = saved.streams.iter().cloned();
        let orphans = orphans.map(|stream| OrphanStream::from_checkpoint(stream, saved.stopped_at));
        Self {
            name: log.name.clone(),
            former_names: saved.former_names.clone(),
            patterns: LogPatterns::of_log(log),
            chunker: Chunker::of_log(&sender.chunk, log),
            start: first_start::start_of(log, checkpoint),
            retry: sender.retry,
            chains: Vec::new(),
            chain_ids: HashMap::new(),
            names: Vec::new(),
            neighbours: BTreeSet::new(),
            files: Vec::new(),
            orphans: orphans.collect(),
            missing: saved.unsent.iter().cloned().map(MissingFile::new).collect(),
            unopened: Some(saved.unopened.clone()),
            former: saved.former.clone(),
            marks_max: 0,
            unassigned: saved.skipped.clone(),
            lost: Vec::new(),
            shipped: saved.archives.clone(),
            held_files: HeldFiles::from_checkpoint(&saved.held),
            is_search_certain: false,
            waiting: 0,
            wants_scan: false,
            save: CheckpointNeed::None,
            relay_forgot: false,
        }
    }

    /// Takes the files that were found for this log, oldest first.
    pub(crate) fn take_found<F: FileSystem<FileHandle = H>>(
        &mut self,
        file_system: &F,
        found: Vec<FoundFile>,
        budget: &mut HandleBudget,
        now: Now,
    ) {
        self.wants_scan = false;
        self.note_live_files(&found);
        let seen: HashSet<FileKey> = found.iter().map(|file| file.stat.key).collect();
        let files = self.files.iter().enumerate();
        let mut known: HashMap<FileKey, usize> = files.map(|(index, file)| (file.stat.key, index)).collect();
        for found in found {
            let chain = self.chain(&found.live_path);
            self.add_found(file_system, found, &mut known, chain, budget, now);
        }
        self.sort_out_backlog();
        let is_gone = |file: &&mut TrackedFile<H>| !seen.contains(&file.stat.key);
        for file in self.files.iter_mut().filter(is_gone) {
            file.set_role(FileRole::Gone, now);
        }
        self.find_lost_unopened(now);
        self.drop_over(now);
        self.drop_chains();
        self.recheck_copies();
        self.orphans.iter_mut().for_each(OrphanStream::scanned);
        self.mark_ends();
    }

    /// Searches until two searches in a row find the same. During a rotation names change while they are listed, so one
    /// search may miss a file, and the lines of a younger file would come before its lines.
    pub(crate) fn search<F: FileSystem<FileHandle = H>>(&mut self, file_system: &F) -> Vec<FoundFile> {
        let mut found = self.patterns.scan(file_system);
        for _ in 1..SEARCHES_MAX {
            let names = found.files.iter().map(|file| (file.path.clone(), file.stat.key));
            let names = names.collect();
            self.is_search_certain = self.names == names;
            if self.is_search_certain {
                break;
            }
            self.names = names;
            found = self.patterns.scan(file_system);
        }
        self.neighbours = found.neighbours;
        found.files
    }

    fn add_found<F: FileSystem<FileHandle = H>>(
        &mut self,
        file_system: &F,
        found: FoundFile,
        known: &mut HashMap<FileKey, usize>,
        chain: ChainId,
        budget: &mut HandleBudget,
        now: Now,
    ) {
        let index = known.get(&found.stat.key).copied();
        // Not for each file of each search: it looks at all files of the log.
        let is_new = index.is_none_or(|index| {
            let file = &self.files[index];
            file.is_closed() && file.stat != found.stat
        });
        let mut origin = if is_new {
            self.origin(found.role, chain, index)
        } else {
            FileOrigin::Rotation
        };
        if let Some(index) = index {
            let file = &mut self.files[index];
            if !file.is_closed() || file.is_as_found(&found, now) || matches!(file.state, FileState::Held(_))
            {
                file.chain = chain;
                return self.see_again(file_system, index, found, origin, budget, now);
            }
            // It was closed and has changed. It may be another file with the same inode, so it is taken as a new one. But an
            // empty file that was rotated may get late lines.
            if matches!(file.state, FileState::TooShort) && file.origin == FileOrigin::Rotation {
                origin = FileOrigin::Rotation;
            }
            self.orphans.extend(file.take_orphan());
        }
        let mut file = TrackedFile::new(found, chain, RelayBackoff::new(self.retry), now);
        file.origin = origin;
        let shipped = self.shipped.iter().find(|known| known.stat == file.stat);
        if let Some(known) = shipped {
            file.set_shipped(known.stream);
            file.left_out = known.skipped.clone().map(LeftOut::Marked);
        } else if self.hold_again(&mut file) {
            tracing::debug!(path = %file.path.display(), "the file is held as before");
        } else if let Err(error) = file.open_within(file_system, budget, TrackedFile::open_found) {
            self.save = self.save.max(CheckpointNeed::Soon);
            // It is told with the other problems of logs.
            tracing::debug!(path = %file.path.display(), %error, "the log cannot be opened; tried again with each scan");
        }
        if let Some(index) = index {
            self.files[index] = file;
        } else {
            known.insert(file.stat.key, self.files.len());
            self.files.push(file);
        }
    }

    /// A file was found that was not closed since the last search, or that is as it was.
    fn see_again<F: FileSystem<FileHandle = H>>(
        &mut self,
        file_system: &F,
        index: usize,
        found: FoundFile,
        origin: FileOrigin,
        budget: &mut HandleBudget,
        now: Now,
    ) {
        self.note_unopened(index, &found, now);
        let file = &mut self.files[index];
        let is_held = matches!(file.state, FileState::Held(_));
        let is_put_in_place =
            found.role == FileRole::Live && matches!(file.state, FileState::Held(HeldReason::Beside));
        let is_other = is_held && (!file.is_as_found(&found, now) || is_put_in_place);
        file.path = found.path;
        file.set_role(found.role, now);
        if file.role == FileRole::Live && file.is_postponed() {
            file.is_waiting = false;
        }
        let is_unopened = matches!(file.state, FileState::Unopened) && !file.is_waiting;
        if is_other {
            file.origin = origin;
        }
        if (is_unopened || is_other)
            && let Err(error) = file.open_within(file_system, budget, TrackedFile::open)
        {
            tracing::debug!(path = %file.path.display(), %error, "the log still cannot be opened");
        }
    }

    fn chain(&mut self, live_path: &Path) -> ChainId {
        if let Some(known) = self.chain_ids.get(live_path) {
            return *known;
        }
        let new = ChainId(self.chains.len());
        self.chains.push(RotationChain {
            live_path: live_path.to_owned(),
            last_read: [ChunkSeq(0); 2],
            live_file: LiveFile::default(),
        });
        self.chain_ids.insert(live_path.to_owned(), new);
        new
    }

    /// Forgets the chains that have no file: with a glob over dated names a live path is never used again. One that is begins
    /// anew, as after a start.
    fn drop_chains(&mut self) {
        let used: BTreeSet<ChainId> = self.files.iter().map(|file| file.chain).collect();
        if used.len() == self.chains.len() {
            return;
        }
        let ids: BTreeMap<ChainId, ChainId> = used.iter().copied().zip((0..).map(ChainId)).collect();
        for file in &mut self.files {
            file.chain = ids.get(&file.chain).copied().unwrap_or(file.chain);
        }
        let mut old_ids = (0..).map(ChainId);
        self.chains
            .retain(|_| old_ids.next().is_some_and(|id| used.contains(&id)));
        let paths = self.chains.iter().map(|chain| chain.live_path.clone());
        self.chain_ids = paths.zip((0..).map(ChainId)).collect();
    }

    pub(crate) fn measure(&mut self, writers: &WriterSearch<'_>, now: Now) {
        for index in 0..self.files.len() {
            match self.files[index].measure(now) {
                SizeChange::Same => {}
                SizeChange::Shrunk => self.contents_changed(index),
                SizeChange::Grown => self.recheck_grown_copy(index),
            }
            self.files[index].compare_again(now);
            self.files[index].check_close(writers, now);
        }
        self.drop_over(now);
        self.files.sort_by(TrackedFile::oldest_first);
    }

    /// The file does not hold its stream any more. The file is examined again, and the stream is searched elsewhere.
    fn contents_changed(&mut self, index: usize) {
        let file = &self.files[index];
        let origin = self.origin(file.role, file.chain, Some(index));
        self.orphan_stream(index);
        self.files[index].origin = origin;
        self.files[index].examine();
        self.wants_scan = true;
    }

    fn orphan_stream(&mut self, index: usize) {
        self.miss_unidentified(index);
        let file = &mut self.files[index];
        self.orphans.extend(file.take_parted());
        if let Some(orphan) = file.take_orphan() {
            let (stream, acked) = (orphan.stream.id, orphan.stream.acked.offset);
            tracing::info!(path = %file.path.display(), %stream, %acked, "the log was truncated or rewritten");
            self.orphans.push(orphan);
        }
        self.unassigned.extend(file.take_mark());
        file.compared = None;
        // A copy of this file may hold its last bytes.
        self.recheck_copies();
    }

    /// The relay may have lost bytes while nothing was sent: it is asked how much it has of the files that are read to
    /// their ends. The others are sent to it, and it says so itself.
    pub(super) fn doubt_drained(&mut self) {
        let open = self.files.iter_mut().filter(|file| file.handle.is_some());
        for stream in open.filter_map(TrackedFile::stream_mut) {
            let is_idle = stream.phase == StreamPhase::Reading && stream.is_drained();
            if is_idle && stream.acked.offset > Offset::ZERO {
                stream.doubt();
            }
        }
    }

    /// The relay has forgotten acknowledged bytes: it is asked about every file, as at a start.
    pub(super) fn ask_again(&mut self) {
        self.relay_forgot = false;
        // After a crash the archives would count as shipped, once the streams have caught up.
        self.save = CheckpointNeed::BeforeSending;
        self.shipped.clear();
        self.forget_former();
        // An archive that is opened again may hold what they held.
        self.orphans.iter_mut().for_each(OrphanStream::ask_again);
        self.missing.iter_mut().for_each(MissingFile::ask_again);
        for file in &mut self.files {
            let head = match &mut file.state {
                FileState::Stream(stream) if stream.phase != StreamPhase::Finished => {
                    stream.doubt();
                    continue;
                }
                FileState::Stream(TrackedStream { head, .. }) | FileState::Copy { head, .. } => Some(*head),
                FileState::Compressed(CompressedState::Shipped { .. }) => None,
                _ => continue,
            };
            // One that is open may have no name any more by which it could be opened again.
            let open = head.filter(|_| file.handle.is_some());
            file.state = open.map_or(FileState::Unopened, FileState::Unidentified);
        }
        self.wants_scan = true;
    }

    /// Reads a file that is due. If there is a chunk, it counts as sent.
    pub(crate) fn read(
        &mut self,
        index: usize,
        seq: ChunkSeq,
        buffer: &mut [u8],
        chunk_size: &ChunkSize,
        now: Now,
    ) -> Option<(ChunkDraft, ChunkHeader)> {
        if self.leave_out_known(index, now) == Comparison::Contained {
            return None;
        }
        let file = &mut self.files[index];
        let (ChainId(chain), queue) = (file.chain, file.queue.index());
        self.chains[chain].last_read[queue] = seq;
        let chunk_bytes = chunk_size.of(file.unread());
        match file.read(buffer, chunk_bytes, &mut self.chunker) {
            Ok(ChunkRead::Chunk(mut draft)) => {
                draft.warn_of_long_lines(&file.path);
                let key = file.stat.key;
                let stream = file.stream_mut()?;
                stream.sent(draft.in_flight(seq));
                let header = draft.header(stream, key, &self.name, &buffer[draft.body()]);
                return Some((draft, header));
            }
            Ok(ChunkRead::Nothing) => {}
            Ok(ChunkRead::Changed) => self.contents_changed(index),
            Err(error) => {
                self.orphan_stream(index);
                self.files[index].read_failed(&error);
            }
        }
        None
    }

    /// The request of a chunk ended: the chunk is durable, or its stream is in doubt. `read_from`: the file that it was read
    /// from, unless files have come or gone since. `jitter` is for the back-off.
    ///
    /// `None` if the chunk is not of this log, or its file has changed since.
    pub(crate) fn chunk_ended(
        &mut self,
        seq: ChunkSeq,
        read_from: Option<usize>,
        result: Result<(), &RequestError>,
        now: Now,
        jitter: f64,
    ) -> Option<ShippedAmount> {
        let mut orphans = self.orphans.iter_mut();
        if let Some(orphan) = orphans.find(|orphan| orphan.stream.awaits(seq)) {
            return Some(orphan.stream.ended(seq, result.is_ok()));
        }
        let known = read_from.filter(|&index| self.awaits(index, seq));
        let index = known.or_else(|| (0..self.files.len()).find(|&index| self.awaits(index, seq)))?;
        let file = self.files.get_mut(index)?;
        let stream = file.stream_mut()?;
        let (amount, acked) = (stream.ended(seq, result.is_ok()), stream.acked.offset);
        stream.marks.keep(self.marks_max);
        match result {
            Ok(()) => {
                file.retry.succeeded();
                file.left_out_acked();
                let shortfall = file.shortfall(&self.name, now);
                self.lost.extend(shortfall.map(FoundLoss::from));
                file.close_if_finished();
            }
            Err(error) if error.concerns_all() => {}
            Err(error) => {
                let path = file.path.display();
                let _log = tracing::error_span!("log", %path, %acked).entered();
                file.retry.failed(error, now.instant, jitter);
            }
        }
        Some(amount)
    }

    /// Whether the end of this chunk is still awaited for a file.
    pub(crate) fn awaits(&self, index: usize, seq: ChunkSeq) -> bool {
        let stream = self.files.get(index).and_then(TrackedFile::stream);
        stream.is_some_and(|stream| stream.awaits(seq))
    }

    fn file_of(&self, id: StreamId) -> Option<(&TrackedFile<H>, &TrackedStream)> {
        let mut streams = self.files.iter().filter_map(|file| Some((file, file.stream()?)));
        streams.find(|(_, stream)| stream.id == id)
    }
}
