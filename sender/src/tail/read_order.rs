//! Which file is read next, of all files of all logs. No I/O.
//!
//! The order is worked out for all files at once, and kept. A chunk that is read or acknowledged changes it for the sequence
//! of its file only, so the cost of a chunk does not grow with the number of files.
//!
//! Invariant: the order that is kept is the one that would be worked out now; the scenarios compare them at each read.
//! [`Logs`] forgets it whenever it gives out a log to be changed, and when a chunk has changed more than its own file.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut, Range};
use std::time::Instant;

use logferry_protocol::chunk::ChunkHeader;

use crate::clock::Now;
use crate::error::RequestError;
use crate::files::FileHandle;
use crate::messages::ChunkSeq;
use crate::streams::read::ChunkDraft;
use crate::streams::tracked_stream::ShippedAmount;
use crate::tail::chunk_size::ChunkSize;
use crate::tail::log::TailedLog;
use crate::tail::log::next_read::{DueRead, LogNeeds, ReadLimits, SequenceState, SequencedFile};

/// The logs, and the order in which their files are read.
pub(super) struct Logs<H> {
    all: Vec<TailedLog<H>>,
    order: Option<ReadOrder>,
    in_flight: Vec<ReadFile>,
    /// How many sequences were looked at.
    #[cfg(test)]
    pub(super) looks: usize,
}

/// From which file a chunk was read. The number of the file holds until files come or go.
struct ReadFile {
    seq: ChunkSeq,
    log: usize,
    file: usize,
}

/// A file that is due, and its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct DueFile {
    log: usize,
    file: usize,
}

impl<H> Deref for Logs<H> {
    type Target = [TailedLog<H>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<H> DerefMut for Logs<H> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.order = None;
        &mut self.all
    }
}

impl<H: FileHandle> Logs<H> {
    pub(super) fn new(logs: Vec<TailedLog<H>>) -> Self {
        Self {
            all: logs,
            order: None,
            in_flight: Vec::new(),
            #[cfg(test)]
            looks: 0,
        }
    }

    /// What has to be done for any of the logs besides reading.
    pub(super) fn needs(&self) -> LogNeeds {
        match &self.order {
            Some(order) => order.needs,
            None => needs(&self.all),
        }
    }

    /// Whether the relay is to be asked now.
    pub(super) fn is_asking(&mut self, limits: ReadLimits, now: Now) -> bool {
        let order = self.order(limits, now);
        order.asks_at.is_some_and(|at| at <= now.instant)
    }

    /// The file to read next, if one is due.
    pub(super) fn next_read(&mut self, limits: ReadLimits, now: Now) -> Option<DueFile> {
        let order = self.order(limits, now);
        let &(DueRead { file, .. }, sequence) = order.due.first()?;
        let log = order.sequences.get(sequence)?.log;
        Some(DueFile { log, file })
    }

    /// When the next file that is not due now is, or the next question.
    pub(super) fn due_later(&mut self, limits: ReadLimits, now: Now) -> Option<Instant> {
        let order = self.order(limits, now);
        let asks = order.asks_at.filter(|&at| at > now.instant);
        order
            .later
            .first()
            .map(|&(at, _)| at)
            .into_iter()
            .chain(asks)
            .min()
    }

    /// Reads a file that is due. If there is a chunk, it counts as sent.
    pub(super) fn read(
        &mut self,
        due: DueFile,
        seq: ChunkSeq,
        buffer: &mut [u8],
        chunk_size: &ChunkSize,
        now: Now,
    ) -> Option<(ChunkDraft, ChunkHeader)> {
        let DueFile { log, file } = due;
        let read_from = self.all.get_mut(log)?;
        let before = read_from.outline();
        let read = read_from.read(file, seq, buffer, chunk_size, now);
        if read_from.outline() == before {
            self.file_changed(log, file, now);
        } else {
            self.order = None;
        }
        if read.is_some() {
            self.in_flight.push(ReadFile { seq, log, file });
        }
        read
    }

    /// The request of a chunk ended: the chunk is durable, or its stream is in doubt. `jitter` is for the back-off.
    pub(super) fn chunk_ended(
        &mut self,
        seq: ChunkSeq,
        result: Result<(), &RequestError>,
        now: Now,
        jitter: f64,
    ) -> Option<ShippedAmount> {
        let known = self.in_flight.iter().position(|read| read.seq == seq);
        let known = known.map(|known| self.in_flight.swap_remove(known));
        if let Some(ReadFile { log, file, .. }) = known
            && let Some(read_from) = self.all.get_mut(log)
            && read_from.awaits(file, seq)
        {
            let before = read_from.outline();
            let amount = read_from.chunk_ended(seq, Some(file), result, now, jitter);
            if result.is_ok() && read_from.outline() == before {
                self.file_changed(log, file, now);
            } else {
                self.order = None;
            }
            return amount;
        }
        // Files have come or gone since, or the stream has lost its file.
        let mut logs = self.iter_mut();
        logs.find_map(|log| log.chunk_ended(seq, None, result, now, jitter))
    }

    fn file_changed(&mut self, log: usize, file: usize, now: Now) {
        let Some(order) = &mut self.order else { return };
        if !order.file_changed(&self.all, log, file, now) {
            self.order = None;
        }
    }

    fn order(&mut self, limits: ReadLimits, now: Now) -> &ReadOrder {
        let kept = self.order.take().filter(|order| order.limits == limits);
        let mut order = kept.unwrap_or_else(|| ReadOrder::new(&self.all, limits, now));
        order.wake(&self.all, now);
        #[cfg(test)]
        {
            self.looks += std::mem::take(&mut order.looks);
            order.assert_same_as(&ReadOrder::new(&self.all, limits, now), now);
        }
        self.order.insert(order)
    }
}

fn needs<H: FileHandle>(logs: &[TailedLog<H>]) -> LogNeeds {
    logs.iter()
        .map(TailedLog::needs)
        .fold(LogNeeds::NONE, LogNeeds::or)
}

/// The order in which the files of all logs are read.
struct ReadOrder {
    limits: ReadLimits,
    /// The files of all logs. Those of a sequence stand together.
    files: Vec<(usize, SequencedFile)>,
    sequences: Vec<FileSequence>,
    /// The sequences that have a due file.
    due: BTreeSet<(DueRead, usize)>,
    /// When further files become due.
    later: BTreeSet<(Instant, usize)>,
    asks_at: Option<Instant>,
    needs: LogNeeds,
    #[cfg(test)]
    looks: usize,
}

/// The files of one chain that are read one after the other.
struct FileSequence {
    log: usize,
    files: Range<usize>,
    state: SequenceState,
}

impl ReadOrder {
    fn new<H: FileHandle>(logs: &[TailedLog<H>], limits: ReadLimits, now: Now) -> Self {
        let files = logs.iter().enumerate();
        let files = files.flat_map(|(log, of_log)| of_log.sequenced_files().map(move |file| (log, file)));
        let mut files: Vec<_> = files.collect();
        files.sort_unstable();
        let mut sequences = Vec::new();
        let is_followed =
            |a: &(usize, SequencedFile), b: &(usize, SequencedFile)| a.0 == b.0 && a.1.is_followed_by(b.1);
        let mut start = 0;
        for sequence in files.chunk_by(is_followed) {
            let end = start + sequence.len();
            sequences.extend(sequence.first().map(|&(log, _)| FileSequence {
                log,
                files: start..end,
                state: SequenceState::default(),
            }));
            start = end;
        }
        let mut order = Self {
            limits,
            files,
            sequences,
            due: BTreeSet::new(),
            later: BTreeSet::new(),
            asks_at: logs.iter().filter_map(|log| log.asks_at(now)).min(),
            needs: needs(logs),
            #[cfg(test)]
            looks: 0,
        };
        for sequence in 0..order.sequences.len() {
            order.look_at(logs, sequence, now);
        }
        order
    }

    /// Looks again at the sequences of which a file has become due.
    fn wake<H: FileHandle>(&mut self, logs: &[TailedLog<H>], now: Now) {
        while let Some(&(at, sequence)) = self.later.first()
            && at <= now.instant
        {
            self.later.pop_first();
            self.look_at(logs, sequence, now);
        }
    }

    /// A file was read, or a chunk of it was acknowledged. Returns whether the order is known with that.
    fn file_changed<H: FileHandle>(
        &mut self,
        logs: &[TailedLog<H>],
        log: usize,
        file: usize,
        now: Now,
    ) -> bool {
        // A file in doubt is a question to the relay.
        let of_log = logs.get(log).filter(|of_log| !of_log.is_in_doubt(file));
        let Some(file) = of_log.and_then(|of_log| of_log.sequenced(file)) else {
            return false;
        };
        let Ok(position) = self.files.binary_search(&(log, file)) else {
            return false;
        };
        let sequence = self
            .sequences
            .partition_point(|sequence| sequence.files.end <= position);
        self.look_at(logs, sequence, now);
        true
    }

    fn look_at<H: FileHandle>(&mut self, logs: &[TailedLog<H>], number: usize, now: Now) {
        let Some(sequence) = self.sequences.get_mut(number) else {
            return;
        };
        let files = self.files.get(sequence.files.clone()).unwrap_or_default();
        let files = files.iter().map(|&(_, file)| file);
        let log = logs.get(sequence.log);
        let state = log
            .map(|log| log.sequence_state(files, self.limits, now))
            .unwrap_or_default();
        let before = std::mem::replace(&mut sequence.state, state);
        before.due.map(|due| self.due.remove(&(due, number)));
        before.later.map(|at| self.later.remove(&(at, number)));
        self.due.extend(state.due.map(|due| (due, number)));
        self.later.extend(state.later.map(|at| (at, number)));
        #[cfg(test)]
        {
            self.looks += 1;
        }
    }

    #[cfg(test)]
    fn assert_same_as(&self, other: &Self, now: Now) {
        let asks = |order: &Self| order.asks_at.map(|at| at.max(now.instant));
        assert_eq!(
            (&self.files, self.needs, asks(self)),
            (&other.files, other.needs, asks(other))
        );
        assert_eq!((&self.due, &self.later), (&other.due, &other.later));
    }
}
