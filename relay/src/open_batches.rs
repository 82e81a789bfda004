//! The batches being written, their files, and which of them a line goes into.
//!
//! Invariants:
//! - `durable` is what the ledger says; `staged` is what the file holds when every append so far succeeded. They are
//!   equal outside a commit.
//! - While a batch ends inside a line, only the stream that the line belongs to may add to it.
//! - Nothing is added to a batch that is full; the line goes into the window's next part.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use jiff::Timestamp;
use logferry_config::NameTemplate;
use logferry_durable::{Disk, DiskError, DiskFile};
use logferry_ledger::{
    Batch, BatchContents, BatchGrowth, BatchId, BatchKey, BatchState, Ledger, NewBatch, Window,
};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_protocol::stream::StreamId;
use logferry_windows::batch_name;
use memchr::{memchr, memrchr};

use crate::seal::Facts;
use crate::spool::{Spool, SpoolError};

/// Files held open at a time. A busy group writes a few; the rest are opened again when needed.
const MAX_OPEN_FILES: usize = 256;

/// A stream and whose it is.
pub(crate) type StreamKey = (SourceId, StreamId);

/// One batch being written.
#[derive(Debug)]
struct OpenBatch<F> {
    /// The ledger's row; its contents are the durable ones.
    batch: Batch,
    staged: BatchContents,
    file: Option<F>,
    last_append: Instant,
    /// Whose line it ends inside of.
    mid_line: Option<StreamKey>,
    is_full: bool,
}

impl<F> OpenBatch<F> {
    fn is_dirty(&self) -> bool {
        self.staged != self.batch.contents
    }
}

/// Bytes to be added, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addition<'a> {
    /// The bytes, whole lines but perhaps for the last.
    pub bytes: &'a [u8],
    /// Lines that end in them.
    pub lines: u64,
    /// Their CRC-32C, where somebody has it already.
    pub crc32c: Option<u32>,
}

/// The open batches of one group.
#[derive(Debug)]
pub(crate) struct OpenBatches<D: Disk> {
    group: GroupName,
    template: NameTemplate,
    max_bytes: u64,
    batches: HashMap<BatchId, OpenBatch<D::File>>,
    /// The part of each window that lines go into.
    current: HashMap<BatchKey, BatchId>,
}

/// Where lines go, and the means to put them there.
pub(crate) struct Place<'a, D> {
    /// The spool.
    pub spool: &'a Spool<D>,
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// The stream that brings the lines.
    pub stream: &'a StreamKey,
    /// Its log.
    pub log: &'a LogName,
    /// The time now.
    pub now: Timestamp,
}

impl<D: Disk> OpenBatches<D> {
    /// No open batch.
    pub(crate) fn new(group: GroupName, template: NameTemplate, max_bytes: u64) -> Self {
        Self {
            group,
            template,
            max_bytes,
            batches: HashMap::new(),
            current: HashMap::new(),
        }
    }

    /// Takes in a batch that the ledger says is open and whose file has been cut back to it.
    pub(crate) fn restore(&mut self, batch: Batch, mid_line: Option<StreamKey>) {
        let newest = self.current.entry(batch.key()).or_insert(batch.id);
        // Parts of one window are numbered in the order of their ids.
        *newest = (*newest).max(batch.id);
        let is_full = batch.contents.bytes >= self.max_bytes;
        let open = OpenBatch {
            staged: batch.contents,
            file: None,
            last_append: Instant::now(),
            mid_line,
            is_full,
            batch,
        };
        self.batches.insert(open.batch.id, open);
    }

    /// Forgets all batches; the ledger and the files are as they are.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.current.clear();
    }

    /// How many batches are open.
    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether lines of a batch are for one log only.
    fn key(&self, source: &SourceId, log: &LogName, window: Window) -> BatchKey {
        let log = self.template.uses_log().then(|| log.clone());
        BatchKey {
            source: source.clone(),
            log,
            window_start: window.start,
        }
    }

    /// Adds lines to their window's current part, opening parts as needed. Returns the batch that got the last.
    pub(crate) fn add(
        &mut self,
        window: Window,
        addition: Addition<'_>,
        at: &mut Place<'_, D>,
    ) -> Result<BatchId, SpoolError> {
        let mut rest = addition;
        loop {
            let id = self.part_for(window, at)?;
            let fits = self.what_fits(id, rest.bytes);
            if fits == rest.bytes.len() {
                self.append(id, rest, at.spool)?;
                return Ok(id);
            }
            let (now, later) = rest.bytes.split_at(fits);
            let lines = u64::try_from(memchr::memchr_iter(b'\n', now).count()).unwrap_or(u64::MAX);
            self.append(
                id,
                Addition {
                    bytes: now,
                    lines,
                    crc32c: None,
                },
                at.spool,
            )?;
            if let Some(open) = self.batches.get_mut(&id) {
                open.is_full = true;
            }
            rest = Addition {
                bytes: later,
                lines: rest.lines.saturating_sub(lines),
                crc32c: None,
            };
        }
    }

    /// How many of `bytes` go into the batch: all, or whole lines up to its size limit, and at least one line if it
    /// is empty.
    fn what_fits(&self, id: BatchId, bytes: &[u8]) -> usize {
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

    /// Opens a part of each of these windows that has none, all in one transaction: after an outage hundreds of windows
    /// begin in one round, and each would be a transaction of its own.
    ///
    /// A part that then gets no line is empty, and discarded when its time comes.
    pub(crate) fn open_ahead<'a>(
        &mut self,
        wanted: impl Iterator<Item = (&'a SourceId, &'a LogName, Window)>,
        spool: &Spool<D>,
        ledger: &mut Ledger,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        let mut new = BTreeMap::new();
        for (source, log, window) in wanted {
            let key = self.key(source, log, window);
            if !self.current.contains_key(&key) {
                new.entry(key).or_insert(window);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.open(new, spool, ledger, now)
    }

    /// The part of a window that `at.stream` may add to now.
    fn part_for(&mut self, window: Window, at: &mut Place<'_, D>) -> Result<BatchId, SpoolError> {
        let (source, _) = at.stream;
        let key = self.key(source, at.log, window);
        if let Some(id) = self.current.get(&key)
            && let Some(open) = self.batches.get(id)
            && !open.is_full
            && open.mid_line.as_ref().is_none_or(|holder| holder == at.stream)
        {
            return Ok(*id);
        }
        self.open(
            BTreeMap::from([(key.clone(), window)]),
            at.spool,
            at.ledger,
            at.now,
        )?;
        Ok(self.current[&key])
    }

    /// Opens new parts, each the current one of its key from now on.
    fn open(
        &mut self,
        parts: BTreeMap<BatchKey, Window>,
        spool: &Spool<D>,
        ledger: &mut Ledger,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        // The folder before the row: whoever finds the batch after a crash has where to put its file. The row before
        // the file: a crash leaves an empty batch, which is discarded when its time comes, and no file that nobody
        // knows.
        let sources: BTreeSet<_> = parts.keys().map(|key| &key.source).collect();
        for source in sources {
            spool
                .disk()
                .create_dir_all(&spool.folder(BatchState::Open, source))?;
        }
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
        for (batch, key) in ledger.open_all(&new, now)?.into_iter().zip(parts.into_keys()) {
            self.current.insert(key, batch.id);
            self.restore(batch, None);
        }
        Ok(())
    }

    /// Adds bytes to one batch, whatever its size: the end of a line must follow its beginning.
    pub(crate) fn append(
        &mut self,
        id: BatchId,
        addition: Addition<'_>,
        spool: &Spool<D>,
    ) -> Result<(), SpoolError> {
        if self.batches.get(&id).is_some_and(|open| open.file.is_none()) {
            self.make_room(spool.disk())?;
        }
        let Some(open) = self.batches.get_mut(&id).filter(|_| !addition.bytes.is_empty()) else {
            return Ok(());
        };
        let file = match &mut open.file {
            Some(file) => file,
            file => file.insert(
                spool
                    .disk()
                    .open_append(&spool.path(&open.batch, BatchState::Open))?,
            ),
        };
        // Counted before it is done: after an error the batch is dirty, and will be cut back.
        let crc32c = match addition.crc32c {
            Some(crc) => crc32c::crc32c_combine(open.staged.crc32c, crc, addition.bytes.len()),
            None => crc32c::crc32c_append(open.staged.crc32c, addition.bytes),
        };
        let added = u64::try_from(addition.bytes.len()).unwrap_or(u64::MAX);
        open.staged = BatchContents {
            lines: open.staged.lines + addition.lines,
            bytes: open.staged.bytes + added,
            crc32c,
        };
        open.last_append = Instant::now();
        file.append(addition.bytes)?;
        Ok(())
    }

    /// Closes files before too many are open. What was written to them is synced first: nobody could do it later.
    fn make_room(&mut self, disk: &D) -> Result<(), DiskError> {
        let is_full = self.batches.values().filter(|open| open.file.is_some()).count() >= MAX_OPEN_FILES;
        let mut dirty = Vec::new();
        for open in self.batches.values_mut().filter(|_| is_full) {
            let is_dirty = open.is_dirty();
            dirty.extend(open.file.take().filter(|_| is_dirty));
        }
        disk.sync_all(&mut dirty.iter_mut().collect::<Vec<_>>())
    }

    /// Notes whether a batch ends inside a line of `holder`.
    pub(crate) fn set_mid_line(&mut self, id: BatchId, holder: Option<StreamKey>) {
        if let Some(open) = self.batches.get_mut(&id) {
            open.mid_line = holder;
        }
    }

    /// Whether the batch is still open.
    pub(crate) fn contains(&self, id: BatchId) -> bool {
        self.batches.contains_key(&id)
    }

    /// The window of an open batch.
    pub(crate) fn window(&self, id: BatchId) -> Option<Window> {
        self.batches.get(&id).map(|open| open.batch.window)
    }

    /// Makes every append of this commit durable and says what the files hold now.
    pub(crate) fn sync(&mut self, disk: &D) -> Result<Vec<BatchGrowth>, DiskError> {
        let (mut growth, mut files) = (Vec::new(), Vec::new());
        for open in self.batches.values_mut().filter(|open| open.is_dirty()) {
            growth.push(BatchGrowth {
                batch: open.batch.id,
                contents: open.staged,
            });
            // Where it is closed it has been synced.
            files.extend(&mut open.file);
        }
        disk.sync_all(&mut files)?;
        Ok(growth)
    }

    /// Notes that the ledger has what [`Self::sync`] said.
    pub(crate) fn committed(&mut self, growth: &[BatchGrowth]) {
        for grown in growth {
            if let Some(open) = self.batches.get_mut(&grown.batch) {
                open.batch.contents = grown.contents;
            }
        }
    }

    /// What the seal rule must know of each batch.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&Batch, Facts)> {
        self.batches.values().map(|open| {
            let facts = Facts {
                window: open.batch.window,
                quiet: open.last_append.elapsed(),
                is_full: open.is_full,
                is_mid_line: open.mid_line.is_some(),
            };
            (&open.batch, facts)
        })
    }

    /// The stream whose line the batch ends inside of.
    pub(crate) fn holder(&self, id: BatchId) -> Option<StreamKey> {
        self.batches.get(&id)?.mid_line.clone()
    }

    /// Lets go of a batch that is to be sealed: closes its file and hands back the row.
    pub(crate) fn remove(&mut self, id: BatchId) -> Option<Batch> {
        let open = self.batches.remove(&id)?;
        self.current.retain(|_, current| *current != id);
        Some(open.batch)
    }

    /// Makes every batch look as if it had been written so much earlier.
    #[cfg(test)]
    pub(crate) fn age_all(&mut self, by: std::time::Duration) {
        for open in self.batches.values_mut() {
            open.last_append = open.last_append.checked_sub(by).unwrap_or(open.last_append);
        }
    }
}
