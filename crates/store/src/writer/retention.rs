//! Removes old segments.

use std::path::Path;
use std::time::Duration;

use logferry_durable::{Disk, DiskError, DiskOperation};

use crate::segment::{ClosedSegment, SegmentFile, StoreFolder};

/// How long lines are kept: `keep` of the section `indexer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// A segment is removed when it was closed so long ago. So each line is kept at least so long after it was indexed, however
    /// old it was then. `None`: none is removed by age, as nobody knows what time it is.
    pub age: Option<Duration>,
    /// The oldest segments are removed while the store is larger,
    pub max_bytes: u64,
    /// and while its disk has fewer free bytes: others need them.
    pub min_free: u64,
}

/// What a pass has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovedSegments {
    /// Bytes that were freed.
    pub bytes: u64,
    /// Segments that were removed for the sake of free bytes only.
    pub for_space: u64,
}

/// The files of the closed segments, the oldest first: number, when it was closed by its index, bytes of all its files.
fn closed<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    live: u64,
) -> Result<Vec<(u64, Option<i64>, u64)>, DiskError> {
    let mut segments: Vec<(u64, Option<i64>, u64)> = Vec::new();
    for name in disk.list(folder.path())? {
        let Some((number, kind)) = SegmentFile::split(&name) else {
            continue;
        };
        if number >= live || kind == SegmentFile::Tail {
            continue;
        }
        let path = folder.path().join(&name);
        let bytes = disk.len(&path)?.unwrap_or(0);
        let closed_at_ms = match kind {
            SegmentFile::Index => closed_at(disk, &path)?,
            _ => None,
        };
        // Names are sorted, so the files of a segment stand together.
        match segments.last_mut().filter(|last| last.0 == number) {
            Some(last) => {
                last.1 = last.1.or(closed_at_ms);
                last.2 += bytes;
            }
            None => segments.push((number, closed_at_ms, bytes)),
        }
    }
    Ok(segments)
}

/// Corrects when segments were closed, the newest first. One that does not say so was closed when the next one was: a crash of
/// [`remove`] leaves frames without an index, and damage may do so too. One that was closed later than now was closed while the
/// clock was ahead; else it would stay, and all behind it. Then it is as old as the newer of the two behind it: one of them may
/// have been closed while the clock was behind. A time that has passed is never made earlier, as any number of segments behind it
/// may have been closed while the clock was behind.
fn correct_times<'t>(newest_first: impl Iterator<Item = &'t mut Option<i64>>, now_ms: i64) {
    let (mut next, mut after_next) = (None, None);
    for closed_at_ms in newest_first {
        // 0: of an index without a time.
        let own = closed_at_ms.filter(|closed| *closed > 0);
        *closed_at_ms = match (own, next, after_next) {
            (Some(own), Some(next), Some(after)) if own > now_ms => Some(own.min(Ord::max(next, after))),
            (own, next, _) => own.or(next),
        };
        (next, after_next) = (*closed_at_ms, next);
    }
}

/// When the newest closed segment was closed, if its index says so.
pub(super) fn last_closed_at<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    live: u64,
) -> Result<Option<i64>, DiskError> {
    let Some(number) = live.checked_sub(1) else {
        return Ok(None);
    };
    closed_at(disk, &folder.file(number, SegmentFile::Index))
}

/// When the segment of this index was closed, if it says so.
fn closed_at<D: Disk>(disk: &D, index: &Path) -> Result<Option<i64>, DiskError> {
    let Some(mut file) = disk.open_read(index)? else {
        return Ok(None);
    };
    let closed = ClosedSegment::read(&mut file);
    let closed = closed.map_err(|error| DiskError::new(DiskOperation::Read, index, error))?;
    Ok(closed.map(|closed| closed.closed_at_ms))
}

/// Bytes of the closed segments.
pub(super) fn closed_bytes<D: Disk>(disk: &D, folder: &StoreFolder, live: u64) -> Result<u64, DiskError> {
    let segments = closed(disk, folder, live)?;
    Ok(segments.iter().map(|(_, _, bytes)| bytes).sum())
}

/// Removes closed segments beyond the limits. `others`: bytes of the store that are in none.
pub(super) fn remove<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    live: u64,
    others: u64,
    limits: StoreLimits,
    now_ms: i64,
) -> Result<RemovedSegments, DiskError> {
    let mut segments = closed(disk, folder, live)?;
    correct_times(
        segments.iter_mut().map(|(_, closed_at_ms, _)| closed_at_ms).rev(),
        now_ms,
    );
    let all: u64 = segments.iter().map(|(_, _, bytes)| bytes).sum();
    let free = disk.free_bytes(folder.path())?;
    let age_ms = limits
        .age
        .map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let mut removed = RemovedSegments::default();
    for (number, closed_at_ms, bytes) in segments {
        let age = closed_at_ms.map(|closed| now_ms.saturating_sub(closed));
        let is_old = age.zip(age_ms).is_some_and(|(age, most)| age > most);
        let is_beyond = is_old || all - removed.bytes + others > limits.max_bytes;
        if !is_beyond && free.saturating_add(removed.bytes) >= limits.min_free {
            break;
        }
        // The frames last: a crash in between leaves lines that are still found, and removed by the next call.
        for kind in [SegmentFile::Words, SegmentFile::Index, SegmentFile::Frames] {
            disk.remove(&folder.file(number, kind))?;
        }
        removed.bytes += bytes;
        removed.for_space += u64::from(!is_beyond);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_clock_that_was_ahead_for_a_while_is_corrected() {
        let corrected_at = |now_ms, mut times: Vec<Option<i64>>| {
            correct_times(times.iter_mut().rev(), now_ms);
            times
        };
        let corrected = |times| corrected_at(10, times);
        let times = |times: &[i64]| times.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(corrected(times(&[1, 2, 900, 4, 5])), times(&[1, 2, 5, 4, 5]));
        assert_eq!(corrected(times(&[1, 800, 900, 4, 5])), times(&[1, 5, 5, 4, 5]));
        // A clock that was behind takes no line away before its time.
        assert_eq!(corrected(times(&[5, 6, 1, 8, 9])), times(&[5, 6, 1, 8, 9]));
        assert_eq!(corrected(times(&[5, 6, 1])), times(&[5, 6, 1]));
        let behind = times(&[98, 99, 100, 1, 2]);
        assert_eq!(corrected_at(101, behind.clone()), behind);
        let still_behind = times(&[2, 2, 2, 1, 2]);
        assert_eq!(corrected_at(3, behind), still_behind, "it is all that is known");
        assert_eq!(
            corrected(vec![None, Some(0), Some(3), None]),
            [Some(3), Some(3), Some(3), None]
        );
    }
}
