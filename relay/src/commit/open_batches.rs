//! The open batches, their files, and the batch that a line is appended to.
//!
//! Invariants:
//! - A batch's row holds its contents before the round that is being staged. `staged` is the contents of its file if every
//!   append succeeded. While no round is being written, the row's contents are durable.
//! - While a batch ends inside a line, only the stream of that line may append to it. If that stream went on elsewhere,
//!   nobody may. Whether it does is read from its bytes.
//! - Nothing is appended to a full batch. The line goes into the window's next part.

mod files;

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use logferry_config::NameTemplate;
use logferry_durable::Disk;
use logferry_ledger::{
    Batch, BatchContents, BatchId, BatchKey, BatchState, Ledger, LedgerError, NewBatch, PARTS_MAX, Window,
    is_last_part,
};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_spool::Spool;
use logferry_time_windows::batch_name;
use memchr::{memchr, memrchr};

use crate::chunk::{Moment, ReceivedChunk, WindowTarget};
use crate::commit::seal_rule::BatchActivity;
use crate::commit::spool_recovery::CommitError;
use crate::commit::stream_state::StreamKey;

use self::files::FileLimit;

/// Most open batches of a source. One chunk may exceed it: a chunk is taken whole or not at all.
pub(crate) const OPEN_BATCHES_MAX: usize = 1000;

/// The limit for which lines of a source wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchLimit {
    /// The source has [`OPEN_BATCHES_MAX`] open batches.
    Open,
    /// The window has [`PARTS_MAX`] parts.
    Parts,
}

impl BatchLimit {
    /// The message for the sender and for operators.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Open => format!(
                "the source has {OPEN_BATCHES_MAX} open batches, because the times of its lines are far apart; lines of \
                 further windows wait until some of these are sealed"
            ),
            Self::Parts => format!(
                "a window of the source has {PARTS_MAX} parts, so its lines wait; if the times in its lines are wrong, set \
                 `relay.batch.timestamp: arrival`"
            ),
        }
    }
}

#[derive(Debug)]
struct OpenBatch<F> {
    /// The ledger's row, with the contents before the present round.
    batch: Batch,
    staged: BatchContents,
    file: Option<F>,
    last_append: Instant,
    opened: Instant,
    /// How many parts of its window were sealed before without being full.
    late_parts: u32,
    /// Whether its last byte is inside a line.
    ends_inside_line: bool,
    /// The stream whose line is incomplete at the end of the batch.
    open_line: Option<StreamKey>,
    /// Whether it takes no more lines: it has reached its size, or its window has a later part.
    is_full: bool,
}

impl<F> OpenBatch<F> {
    fn is_dirty(&self) -> bool {
        self.staged != self.batch.contents
    }

    fn accepts_line_of(&self, stream: &StreamKey) -> bool {
        !self.is_full && (!self.ends_inside_line || self.open_line.as_ref() == Some(stream))
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendedLines<'a> {
    /// The bytes: whole lines, except that the last may be incomplete.
    pub bytes: &'a [u8],
    /// Number of line ends in them.
    pub lines: u64,
    /// Their CRC-32C, if it is known already.
    pub crc32c: Option<u32>,
    pub arrived: Moment,
}

#[derive(Debug)]
pub(crate) struct OpenBatches<D: Disk> {
    group: GroupName,
    template: NameTemplate,
    max_bytes: u64,
    batches: HashMap<BatchId, OpenBatch<D::File>>,
    /// The current part of each window, which lines are appended to.
    current: HashMap<BatchKey, BatchId>,
    files: FileLimit<D::File>,
    /// Whether no other group waits for the disk, so that it may write lines before the sync of their round. The outcome does not
    /// depend on it.
    pub(crate) is_alone: bool,
}

/// Spool, ledger, and the stream whose lines are appended.
pub(crate) struct AppendContext<'a, D> {
    pub spool: &'a Spool<D>,
    pub ledger: &'a mut Ledger,
    pub stream: &'a StreamKey,
}

impl<D: Disk> OpenBatches<D> {
    pub(crate) fn new(group: GroupName, template: NameTemplate, max_bytes: u64) -> Self {
        Self {
            group,
            template,
            max_bytes,
            batches: HashMap::new(),
            current: HashMap::new(),
            files: FileLimit::default(),
            is_alone: false,
        }
    }

    /// Adds a batch that is open in the ledger and whose file has been cut back to it.
    pub(crate) fn restore(
        &mut self,
        batch: Batch,
        ends_inside_line: bool,
        open_line: Option<StreamKey>,
        ledger: &Ledger,
        at: Moment,
    ) -> Result<(), LedgerError> {
        let late_parts = ledger.sealed_parts_below(&batch, self.max_bytes / 2)?;
        // The parts of a window are numbered in the order of their ids. Only the newest takes lines.
        let newest = self.current.entry(batch.key()).or_insert(batch.id);
        let earlier = batch.id.min(*newest);
        *newest = batch.id.max(*newest);
        let is_newest = *newest == batch.id;
        if let Some(earlier) = self.batches.get_mut(&earlier) {
            earlier.is_full = true;
        }
        let open = OpenBatch {
            staged: batch.contents,
            file: None,
            last_append: at.steady,
            opened: at.steady,
            late_parts,
            ends_inside_line,
            open_line,
            is_full: batch.contents.bytes >= self.max_bytes || !is_newest,
            batch,
        };
        self.batches.insert(open.batch.id, open);
        Ok(())
    }

    /// Forgets all batches. Ledger and files are unchanged.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.current.clear();
        self.files.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn key(&self, source: &SourceId, log: &LogName, window: Window) -> BatchKey {
        let log = self.template.uses_log().then(|| log.clone());
        BatchKey {
            source: source.clone(),
            log,
            window_start: window.start,
        }
    }

    /// The keys of a chunk's runs that have a window, in order.
    pub(crate) fn keys<B>(&self, chunk: &ReceivedChunk<B>) -> Vec<BatchKey> {
        let key = |target| match target {
            WindowTarget::Window(window) => Some(self.key(&chunk.source, &chunk.header.log, window)),
            WindowTarget::Previous => None,
        };
        chunk
            .split
            .runs
            .iter()
            .filter_map(|run| key(run.target))
            .collect()
    }

    /// Appends lines to the current part of their window, and opens parts as needed. Returns the batch of the last line.
    pub(crate) fn add(
        &mut self,
        key: &BatchKey,
        window: Window,
        lines: AppendedLines<'_>,
        context: &mut AppendContext<'_, D>,
    ) -> Result<BatchId, CommitError> {
        let mut rest = lines;
        loop {
            let id = self.part_for(key, window, lines.arrived, context)?;
            let fitting = self.fitting_bytes(id, rest.bytes);
            if fitting == rest.bytes.len() {
                self.append(id, rest, context.spool)?;
                if let Some(open) = self.batches.get_mut(&id) {
                    open.is_full |= open.staged.bytes >= self.max_bytes;
                }
                return Ok(id);
            }
            let (now, later) = rest.bytes.split_at(fitting);
            let count = u64::try_from(memchr::memchr_iter(b'\n', now).count()).unwrap_or(u64::MAX);
            let part = |bytes, lines| AppendedLines {
                bytes,
                lines,
                crc32c: None,
                ..rest
            };
            self.append(id, part(now, count), context.spool)?;
            if let Some(open) = self.batches.get_mut(&id) {
                open.is_full = true;
            }
            rest = part(later, rest.lines.saturating_sub(count));
        }
    }

    /// The limit that keeps a line of `stream` out of its window, if any.
    pub(crate) fn limit_at(
        &self,
        key: &BatchKey,
        window: Window,
        stream: &StreamKey,
        ledger: &Ledger,
    ) -> Result<Option<BatchLimit>, LedgerError> {
        if self.usable_part(key, stream).is_some() {
            return Ok(None);
        }
        if self.open_of(&key.source) >= OPEN_BATCHES_MAX {
            return Ok(Some(BatchLimit::Open));
        }
        let name = batch_name(&self.template, window, &key.source, &self.group, key.log.as_ref());
        Ok(ledger.has_all_parts(&name)?.then_some(BatchLimit::Parts))
    }

    /// Whether a window has an open part.
    pub(crate) fn has_part(&self, key: &BatchKey) -> bool {
        self.current.contains_key(key)
    }

    /// Number of open batches of a source.
    pub(crate) fn open_of(&self, source: &SourceId) -> usize {
        let is_of_source = |open: &&OpenBatch<D::File>| open.batch.source == *source;
        self.batches.values().filter(is_of_source).count()
    }

    /// How many of `bytes` fit into the batch: all, or whole lines up to its size limit, but at least one line if the
    /// batch is empty.
    fn fitting_bytes(&self, id: BatchId, bytes: &[u8]) -> usize {
        let open = self.batches.get(&id);
        if open.is_some_and(|open| is_last_part(open.batch.part)) {
            // The last part takes the rest of the chunk.
            return bytes.len();
        }
        let used = open.map_or(0, |open| open.staged.bytes);
        let room = usize::try_from(self.max_bytes.saturating_sub(used)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes.len();
        }
        match memrchr(b'\n', &bytes[..room]) {
            Some(newline) => newline + 1,
            None if used > 0 => 0,
            None => memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1),
        }
    }

    /// Opens a part of each of these windows that has none, in one transaction: after an outage hundreds of windows begin
    /// in one round, and each would need a transaction of its own.
    ///
    /// Returns them. One that gets no line must be discarded: it would give its name to later lines of the window.
    pub(crate) fn open_missing<'a>(
        &mut self,
        wanted: impl Iterator<Item = (&'a BatchKey, Window)>,
        spool: &Spool<D>,
        ledger: &mut Ledger,
        now: Moment,
    ) -> Result<Vec<BatchId>, CommitError> {
        let mut new = BTreeMap::new();
        for (key, window) in wanted {
            if !self.current.contains_key(key) {
                new.entry(key).or_insert(window);
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        self.open(&new, spool, ledger, now)
    }

    /// The part of a window that the stream may append to now.
    fn part_for(
        &mut self,
        key: &BatchKey,
        window: Window,
        now: Moment,
        context: &mut AppendContext<'_, D>,
    ) -> Result<BatchId, CommitError> {
        if let Some(id) = self.usable_part(key, context.stream) {
            return Ok(id);
        }
        let new = BTreeMap::from([(key, window)]);
        self.open(&new, context.spool, context.ledger, now)?;
        Ok(self.current[key])
    }

    /// The current part of a window, if it takes a line of the stream. An earlier part takes none, as the lines of a stream
    /// keep their order.
    fn usable_part(&self, key: &BatchKey, stream: &StreamKey) -> Option<BatchId> {
        let current = self.current.get(key)?;
        let open = self.batches.get(current)?;
        open.accepts_line_of(stream).then_some(*current)
    }

    /// Opens new parts, which become the current parts of their keys.
    fn open(
        &mut self,
        parts: &BTreeMap<&BatchKey, Window>,
        spool: &Spool<D>,
        ledger: &mut Ledger,
        now: Moment,
    ) -> Result<Vec<BatchId>, CommitError> {
        // The folder before the row: whoever finds the row after a crash can create its file. The row before the file: a
        // crash leaves an empty batch, which is discarded later, and never a file that the ledger does not know.
        spool.create_source_folders(BatchState::Open, parts.keys().map(|key| &key.source))?;
        let new: Vec<_> = parts
            .iter()
            .map(|(BatchKey { source, log, .. }, &window)| NewBatch {
                base_name: batch_name(&self.template, window, source, &self.group, log.as_ref()),
                source: source.clone(),
                group: self.group.clone(),
                log: log.clone(),
                window,
            })
            .collect();
        let mut opened = Vec::with_capacity(new.len());
        for batch in ledger.open_all(&new, now.wall)? {
            opened.push(batch.id);
            self.restore(batch, false, None, ledger, now)?;
        }
        self.open_files(&opened, spool)?;
        Ok(opened)
    }

    /// Notes that a batch ends inside a line of `stream`, or at a line end.
    pub(crate) fn set_open_line(&mut self, id: BatchId, stream: Option<StreamKey>) {
        if let Some(open) = self.batches.get_mut(&id) {
            open.open_line = stream;
        }
    }

    /// Notes that a batch takes no more lines but the rest of its last one.
    pub(crate) fn set_full(&mut self, id: BatchId) {
        if let Some(open) = self.batches.get_mut(&id) {
            open.is_full = true;
        }
    }

    /// Whether a batch has no line, durable or staged.
    pub(crate) fn is_unused(&self, id: BatchId) -> bool {
        self.batches.get(&id).is_some_and(|open| open.staged.bytes == 0)
    }

    pub(crate) fn is_open(&self, id: BatchId) -> bool {
        self.batches.contains_key(&id)
    }

    /// Each batch with its activity, for the seal rule.
    pub(crate) fn activity(&self, now: Moment) -> impl Iterator<Item = (&Batch, BatchActivity)> {
        let mut counts: HashMap<&SourceId, usize> = HashMap::new();
        for open in self.batches.values() {
            *counts.entry(&open.batch.source).or_default() += 1;
        }
        self.batches.values().map(move |open| {
            let of_source = counts.get(&open.batch.source).copied().unwrap_or(0);
            let activity = BatchActivity {
                window: open.batch.window,
                quiet: now.since(open.last_append),
                age: now.since(open.opened),
                late_parts: open.late_parts,
                is_full: open.is_full,
                is_crowded: of_source >= OPEN_BATCHES_MAX,
                has_open_line: open.ends_inside_line,
            };
            (&open.batch, activity)
        })
    }

    pub(crate) fn ends_inside_line(&self, id: BatchId) -> bool {
        self.batches.get(&id).is_some_and(|open| open.ends_inside_line)
    }

    /// Removes a batch that is to be sealed: closes its file and returns its row.
    pub(crate) fn remove(&mut self, id: BatchId) -> Option<Batch> {
        let open = self.batches.remove(&id)?;
        self.current.retain(|_, current| *current != id);
        Some(open.batch)
    }

    /// Makes every batch look as if its last append was so much earlier.
    #[cfg(test)]
    pub(crate) fn age_all(&mut self, by: std::time::Duration) {
        for open in self.batches.values_mut() {
            open.last_append = open.last_append.checked_sub(by).unwrap_or(open.last_append);
            open.opened = open.opened.checked_sub(by).unwrap_or(open.opened);
        }
    }
}
