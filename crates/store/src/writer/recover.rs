//! Opens the store for writing: cuts its files back to the recorded position.

use std::io::{Read, Seek};
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation};

use super::{GrowingFile, PendingFrame, SegmentLimits, StoreWriter, open_file, retention};
use crate::error::StoreError;
use crate::filter::FILTER_BYTES;
use crate::frame::{FrameDecoder, FrameEncoder, FrameEntry};
use crate::position::StorePosition;
use crate::segment::{SegmentFile, StoreFolder, WORDS_RECORD, WordsRecord, read_at, walk};

/// A store that was opened for writing.
#[derive(Debug)]
pub struct StoreOpened<D: Disk> {
    /// It.
    pub writer: StoreWriter<D>,
    /// What was recorded and is not there any more, a sentence each: files that somebody removed or damaged. To be logged.
    pub lost: Vec<String>,
}

/// Opens the store as [`StoreWriter::open`] says.
///
/// A crash at any step leaves files that the next call treats as this one did.
pub(crate) fn open<D: Disk>(
    disk: D,
    store_dir: &Path,
    recorded: Option<StorePosition>,
    now_ms: i64,
    limits: SegmentLimits,
) -> Result<StoreOpened<D>, StoreError> {
    let folder = StoreFolder::new(store_dir);
    disk.create_dir_all(folder.path())?;
    let position = recorded.unwrap_or_default();
    remove_unrecorded(&disk, &folder, recorded)?;
    let mut lost = Vec::new();
    let (frames, words, entries) = open_segment(&disk, &folder, &position, &mut lost)?;
    let (tail, pending) = open_tail(&disk, &folder, &position, &mut lost)?;
    // Nobody recorded when the segment was begun: not before the last one was closed. Else sessions that are short would never
    // close one for its age.
    let closed_at_ms = retention::last_closed_at(&disk, &folder, position.segment)?;
    let in_frames = entries.iter().map(|entry| entry.min_ms).min();
    let in_tail = (!pending.is_empty()).then(|| pending.meta.times().0);
    let begun_at_ms = closed_at_ms
        .filter(|closed| *closed > 0)
        .or(in_frames.into_iter().chain(in_tail).min());
    let tail_start = position.tail_start.min(tail.len);
    let closed_bytes = retention::closed_bytes(&disk, &folder, position.segment)?;
    let writer = StoreWriter {
        disk,
        folder,
        limits,
        segment: position.segment,
        frames,
        words,
        frames_in_segment: u64::try_from(entries.len()).unwrap_or(0),
        begun_at_ms: begun_at_ms.map(|begun| begun.min(now_ms)),
        tail_number: position.tail,
        tail_start,
        tail,
        pending,
        encoder: FrameEncoder::new().map_err(StoreError::Memory)?,
        now_ms,
        oldest_words: position.segment,
        oldest_tail: position.tail.saturating_sub(1),
        closed_bytes,
        frames_written: 0,
    };
    Ok(StoreOpened { writer, lost })
}

/// Removes the files that the position does not know: all, if there is none.
fn remove_unrecorded<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    recorded: Option<StorePosition>,
) -> Result<(), DiskError> {
    for name in disk.list(folder.path())? {
        let is_kept = match (SegmentFile::split(&name), recorded) {
            // As `StoreWriter::recorded` does it: a search may be reading the one before.
            (Some((number, SegmentFile::Tail)), Some(position)) => {
                number <= position.tail && number.saturating_add(1) >= position.tail
            }
            (Some((number, SegmentFile::Index)), Some(position)) => number < position.segment,
            (Some((number, SegmentFile::Frames)), Some(position)) => number <= position.segment,
            // That of a closed segment is of use only if it has no index.
            (Some((number, SegmentFile::Words)), Some(position)) => {
                let index = folder.file(number, SegmentFile::Index);
                number == position.segment || (number < position.segment && disk.len(&index)?.is_none())
            }
            // An older store had a file of gaps; they are in `index.db` too.
            (_, None) | (None, Some(_)) => false,
        };
        if !is_kept {
            disk.remove(&folder.path().join(name))?;
        }
    }
    Ok(())
}

type OpenedSegment<F> = (GrowingFile<F>, GrowingFile<F>, Vec<FrameEntry>);

/// The frames and the words of the segment that is written, and the entries of its frames.
fn open_segment<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    position: &StorePosition,
    lost: &mut Vec<String>,
) -> Result<OpenedSegment<D::File>, StoreError> {
    let frames_path = folder.file(position.segment, SegmentFile::Frames);
    let words_path = folder.file(position.segment, SegmentFile::Words);
    let mut frames = open_file(disk, &frames_path)?;
    let mut words = open_file(disk, &words_path)?;
    let reader = disk.open_read(&frames_path)?;
    let Some(mut reader) = reader else {
        return Ok((frames, words, Vec::new()));
    };
    let read_error = |error| DiskError::new(DiskOperation::Read, &frames_path, error);
    let until = position.frames_len.min(frames.len);
    let bytes = disk.read(&words_path)?.unwrap_or_default();
    let mut known = known_frames(&bytes, until);
    let known_end = known.last().map_or(0, FrameEntry::end);
    let unknown = walk(&mut reader, known_end, until).map_err(read_error)?;
    let end = unknown.last().map_or(known_end, FrameEntry::end);
    if end < position.frames_len {
        lost.push(format!(
            "{} is good for {end} of {} bytes: the lines behind them cannot be searched",
            frames_path.display(),
            position.frames_len
        ));
    }
    cut(&mut frames, end)?;
    cut(&mut words, u64::try_from(known.len() * WORDS_RECORD).unwrap_or(0))?;
    for entry in &unknown {
        words.append(&words_of(&mut reader, entry)?)?;
    }
    known.extend(unknown);
    Ok((frames, words, known))
}

/// The entries of the good records at the beginning of `N.words`.
fn known_frames(words: &[u8], until: u64) -> Vec<FrameEntry> {
    let mut end = 0;
    let records = words.chunks_exact(WORDS_RECORD).map_while(WordsRecord::read);
    let entries = records.map(|record| record.entry).take_while(|entry| {
        let follows = entry.offset == end && entry.end() <= until;
        end = entry.end();
        follows
    });
    entries.collect()
}

/// The record of a frame in `N.words`, made anew. A damaged frame may have every word: a search opens it, and says so.
fn words_of(reader: &mut (impl Read + Seek), entry: &FrameEntry) -> Result<Vec<u8>, StoreError> {
    let mut decoder = FrameDecoder::new().map_err(StoreError::Memory)?;
    let mut pending = PendingFrame::default();
    if read_frame(reader, entry, &mut decoder, &mut pending) {
        Ok(WordsRecord::write(entry, pending.filter.bytes()))
    } else {
        Ok(WordsRecord::write(entry, std::iter::repeat_n(0xff, FILTER_BYTES)))
    }
}

/// Adds the lines of a frame to `pending`; false if it is damaged.
fn read_frame(
    reader: &mut (impl Read + Seek),
    entry: &FrameEntry,
    decoder: &mut FrameDecoder,
    pending: &mut PendingFrame,
) -> bool {
    let mut frame = Vec::new();
    let len = usize::try_from(entry.end() - entry.offset).unwrap_or(usize::MAX);
    let is_read = read_at(reader, entry.offset, len, &mut frame).is_ok();
    if !is_read || decoder.text(&frame, entry).is_none() {
        return false;
    }
    let Some(meta) = decoder.meta(&frame, entry) else {
        return false;
    };
    pending.add_all(decoder.last_text(), &meta);
    true
}

/// The tail, and the lines in it that are in no frame.
fn open_tail<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    position: &StorePosition,
    lost: &mut Vec<String>,
) -> Result<(GrowingFile<D::File>, PendingFrame), StoreError> {
    let path = folder.file(position.tail, SegmentFile::Tail);
    let mut tail = open_file(disk, &path)?;
    let mut pending = PendingFrame::default();
    let mut good_end = position.tail_start.min(tail.len);
    if let Some(mut reader) = disk.open_read(&path)? {
        let until = position.tail_len.min(tail.len);
        let read_error = |error| DiskError::new(DiskOperation::Read, &path, error);
        let mut decoder = FrameDecoder::new().map_err(StoreError::Memory)?;
        for entry in walk(&mut reader, position.tail_start, until).map_err(read_error)? {
            if !read_frame(&mut reader, &entry, &mut decoder, &mut pending) {
                break;
            }
            good_end = entry.end();
        }
    }
    if good_end < position.tail_len {
        lost.push(format!(
            "{} is good for {good_end} of {} bytes: the newest lines before the last stop cannot be searched",
            path.display(),
            position.tail_len
        ));
    }
    cut(&mut tail, good_end)?;
    pending.all_in_tail();
    Ok((tail, pending))
}

/// Cuts a file to `len` bytes, if it is longer.
fn cut<F: DiskFile>(file: &mut GrowingFile<F>, len: u64) -> Result<(), DiskError> {
    if file.len > len {
        file.file.truncate(len)?;
        file.len = len;
    }
    Ok(())
}
