//! The open batches, their files, and the batch that a line is appended to.
//!
//! Invariants:
//! - A batch's row holds its durable contents. `staged` is the contents of its file if every append succeeded. They are
//!   equal outside a commit.
//! - While a batch ends inside a line, only the stream of that line may append to it.
//! - Nothing is appended to a full batch. The line goes into the window's next part.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use jiff::Timestamp;
use logferry_config::NameTemplate;
use logferry_durable::{Disk, DiskError, DiskFile};
use logferry_ledger::{
    Batch, BatchContents, BatchGrowth, BatchId, BatchKey, BatchState, Ledger, NewBatch, Window,
};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_spool::Spool;
use logferry_time_windows::batch_name;
use memchr::{memchr, memrchr};

use crate::chunk::{ReceivedChunk, WindowTarget};
use crate::commit::seal_rule::BatchActivity;
use crate::commit::spool_recovery::CommitError;
use crate::commit::stream_state::StreamKey;

/// Most files that are open at a time. A busy group writes to a few; others are opened again when needed.
const MAX_OPEN_FILES: usize = 256;

#[derive(Debug)]
struct OpenBatch<F> {
    /// The ledger's row with the durable contents.
    batch: Batch,
    staged: BatchContents,
    file: Option<F>,
    last_append: Instant,
    /// The stream whose line is incomplete at the end of the batch.
    open_line: Option<StreamKey>,
    is_full: bool,
}

impl<F> OpenBatch<F> {
    fn is_dirty(&self) -> bool {
        self.staged != self.batch.contents
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
}

#[derive(Debug)]
pub(crate) struct OpenBatches<D: Disk> {
    group: GroupName,
    template: NameTemplate,
    max_bytes: u64,
    batches: HashMap<BatchId, OpenBatch<D::File>>,
    /// The current part of each window, which lines are appended to.
    current: HashMap<BatchKey, BatchId>,
}

/// Spool, ledger, and the stream whose lines are appended.
pub(crate) struct AppendContext<'a, D> {
    pub spool: &'a Spool<D>,
    pub ledger: &'a mut Ledger,
    pub stream: &'a StreamKey,
    pub now: Timestamp,
}

impl<D: Disk> OpenBatches<D> {
    pub(crate) fn new(group: GroupName, template: NameTemplate, max_bytes: u64) -> Self {
        Self {
            group,
            template,
            max_bytes,
            batches: HashMap::new(),
            current: HashMap::new(),
        }
    }

    /// Adds a batch that is open in the ledger and whose file has been cut back to it.
    pub(crate) fn restore(&mut self, batch: Batch, open_line: Option<StreamKey>) {
        let newest = self.current.entry(batch.key()).or_insert(batch.id);
        // The parts of a window are numbered in the order of their ids.
        *newest = (*newest).max(batch.id);
        let open = OpenBatch {
            staged: batch.contents,
            file: None,
            last_append: Instant::now(),
            open_line,
            is_full: batch.contents.bytes >= self.max_bytes,
            batch,
        };
        self.batches.insert(open.batch.id, open);
    }

    /// Forgets all batches. Ledger and files are unchanged.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.current.clear();
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
            let id = self.part_for(key, window, context)?;
            let fitting = self.fitting_bytes(id, rest.bytes);
            if fitting == rest.bytes.len() {
                self.append(id, rest, context.spool)?;
                return Ok(id);
            }
            let (now, later) = rest.bytes.split_at(fitting);
            let lines = u64::try_from(memchr::memchr_iter(b'\n', now).count()).unwrap_or(u64::MAX);
            let part = |bytes, lines| AppendedLines {
                bytes,
                lines,
                crc32c: None,
            };
            self.append(id, part(now, lines), context.spool)?;
            if let Some(open) = self.batches.get_mut(&id) {
                open.is_full = true;
            }
            rest = part(later, rest.lines.saturating_sub(lines));
        }
    }

    /// How many of `bytes` fit into the batch: all, or whole lines up to its size limit, but at least one line if the
    /// batch is empty.
    fn fitting_bytes(&self, id: BatchId, bytes: &[u8]) -> usize {
        let used = self.batches.get(&id).map_or(0, |open| open.staged.bytes);
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
    /// A part that gets no line is empty and is discarded when it is due to be sealed.
    pub(crate) fn open_missing<'a>(
        &mut self,
        wanted: impl Iterator<Item = (&'a BatchKey, Window)>,
        spool: &Spool<D>,
        ledger: &mut Ledger,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let mut new = BTreeMap::new();
        for (key, window) in wanted {
            if !self.current.contains_key(key) {
                new.entry(key).or_insert(window);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.open(&new, spool, ledger, now)
    }

    /// The part of a window that the stream may append to now.
    fn part_for(
        &mut self,
        key: &BatchKey,
        window: Window,
        context: &mut AppendContext<'_, D>,
    ) -> Result<BatchId, CommitError> {
        if let Some(id) = self.current.get(key)
            && let Some(open) = self.batches.get(id)
            && !open.is_full
            && open
                .open_line
                .as_ref()
                .is_none_or(|stream| stream == context.stream)
        {
            return Ok(*id);
        }
        let new = BTreeMap::from([(key, window)]);
        self.open(&new, context.spool, context.ledger, context.now)?;
        Ok(self.current[key])
    }

    /// Opens new parts, which become the current parts of their keys.
    fn open(
        &mut self,
        parts: &BTreeMap<&BatchKey, Window>,
        spool: &Spool<D>,
        ledger: &mut Ledger,
        now: Timestamp,
    ) -> Result<(), CommitError> {
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
        for (batch, key) in ledger.open_all(&new, now)?.into_iter().zip(parts.keys()) {
            self.current.insert((*key).clone(), batch.id);
            self.restore(batch, None);
        }
        Ok(())
    }

    /// Appends bytes to one batch, whatever its size: the end of a line must follow its beginning.
    pub(crate) fn append(
        &mut self,
        id: BatchId,
        lines: AppendedLines<'_>,
        spool: &Spool<D>,
    ) -> Result<(), CommitError> {
        if self.batches.get(&id).is_some_and(|open| open.file.is_none()) {
            self.limit_open_files(spool.disk())?;
        }
        let Some(open) = self.batches.get_mut(&id).filter(|_| !lines.bytes.is_empty()) else {
            return Ok(());
        };
        let file = match &mut open.file {
            Some(file) => file,
            file => {
                let path = spool.path(&open.batch, BatchState::Open);
                file.insert(spool.disk().open_append(&path)?)
            }
        };
        // Counted before the write: after an error the batch is dirty and will be cut back.
        let crc32c = match lines.crc32c {
            Some(crc) => crc32c::crc32c_combine(open.staged.crc32c, crc, lines.bytes.len()),
            None => crc32c::crc32c_append(open.staged.crc32c, lines.bytes),
        };
        let added = u64::try_from(lines.bytes.len()).unwrap_or(u64::MAX);
        open.staged = BatchContents {
            lines: open.staged.lines + lines.lines,
            bytes: open.staged.bytes + added,
            crc32c,
        };
        open.last_append = Instant::now();
        file.append(lines.bytes)?;
        Ok(())
    }

    /// Closes all files if too many are open. Dirty files are synced first, as they cannot be synced after closing.
    fn limit_open_files(&mut self, disk: &D) -> Result<(), DiskError> {
        let is_full = self.batches.values().filter(|open| open.file.is_some()).count() >= MAX_OPEN_FILES;
        let mut dirty = Vec::new();
        for open in self.batches.values_mut().filter(|_| is_full) {
            let is_dirty = open.is_dirty();
            dirty.extend(open.file.take().filter(|_| is_dirty));
        }
        disk.sync_all(&mut dirty.iter_mut().collect::<Vec<_>>())
    }

    /// Notes that a batch ends inside a line of `stream`, or at a line end.
    pub(crate) fn set_open_line(&mut self, id: BatchId, stream: Option<StreamKey>) {
        if let Some(open) = self.batches.get_mut(&id) {
            open.open_line = stream;
        }
    }

    pub(crate) fn is_open(&self, id: BatchId) -> bool {
        self.batches.contains_key(&id)
    }

    /// Makes every append of this commit durable. Returns the new contents of the files.
    pub(crate) fn sync(&mut self, disk: &D) -> Result<Vec<BatchGrowth>, DiskError> {
        let (mut growth, mut files) = (Vec::new(), Vec::new());
        for open in self.batches.values_mut().filter(|open| open.is_dirty()) {
            growth.push(BatchGrowth {
                batch: open.batch.id,
                contents: open.staged,
            });
            // A closed file was synced when it was closed.
            files.extend(&mut open.file);
        }
        disk.sync_all(&mut files)?;
        Ok(growth)
    }

    /// The ledger has recorded the result of [`Self::sync`].
    pub(crate) fn committed(&mut self, growth: &[BatchGrowth]) {
        for grown in growth {
            if let Some(open) = self.batches.get_mut(&grown.batch) {
                open.batch.contents = grown.contents;
            }
        }
    }

    /// Each batch with its activity, for the seal rule.
    pub(crate) fn activity(&self) -> impl Iterator<Item = (&Batch, BatchActivity)> {
        self.batches.values().map(|open| {
            let activity = BatchActivity {
                window: open.batch.window,
                quiet: open.last_append.elapsed(),
                is_full: open.is_full,
                has_open_line: open.open_line.is_some(),
            };
            (&open.batch, activity)
        })
    }

    /// The stream whose line is incomplete at the end of the batch.
    pub(crate) fn open_line(&self, id: BatchId) -> Option<StreamKey> {
        self.batches.get(&id)?.open_line.clone()
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
        }
    }
}
