//! Removes old segments.

use std::time::Duration;

use logferry_durable::{Disk, DiskError, DiskOperation};

use crate::segment::{ClosedSegment, SegmentFile, StoreFolder};

/// How long lines are kept: `keep` of the section `indexer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// A segment is removed when it was closed so long ago. So each line is kept at least so long after it was indexed, however
    /// old it was then.
    pub age: Duration,
    /// The oldest segments are removed while the store is larger.
    pub max_bytes: u64,
}

/// The files of the closed segments, the oldest first: number, when it was closed (if its index says so, else when the next
/// one was whose index does), bytes of all its files.
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
        let mut closed_at_ms = None;
        if let (SegmentFile::Index, Some(mut file)) = (kind, disk.open_read(&path)?) {
            let index = ClosedSegment::read(&mut file);
            let index = index.map_err(|error| DiskError::new(DiskOperation::Read, &path, error))?;
            closed_at_ms = index.map(|index| index.closed_at_ms);
        }
        // Names are sorted, so the files of a segment stand together.
        match segments.last_mut().filter(|last| last.0 == number) {
            Some(last) => {
                last.1 = last.1.or(closed_at_ms);
                last.2 += bytes;
            }
            None => segments.push((number, closed_at_ms, bytes)),
        }
    }
    let mut next = None;
    for (_, closed_at_ms, _) in segments.iter_mut().rev() {
        // 0: of an index without a time. A crash of `remove` leaves frames without an index, and damage may do so too.
        next = closed_at_ms.filter(|closed| *closed > 0).or(next);
        *closed_at_ms = next;
    }
    Ok(segments)
}

/// Bytes of the closed segments.
pub(super) fn closed_bytes<D: Disk>(disk: &D, folder: &StoreFolder, live: u64) -> Result<u64, DiskError> {
    let segments = closed(disk, folder, live)?;
    Ok(segments.iter().map(|(_, _, bytes)| bytes).sum())
}

/// Removes closed segments beyond the limits. `others`: bytes of the store that are in none. Returns the bytes of those that
/// are left.
pub(super) fn remove<D: Disk>(
    disk: &D,
    folder: &StoreFolder,
    live: u64,
    others: u64,
    limits: StoreLimits,
    now_ms: i64,
) -> Result<u64, DiskError> {
    let segments = closed(disk, folder, live)?;
    let mut left: u64 = segments.iter().map(|(_, _, bytes)| bytes).sum();
    let age_ms = i64::try_from(limits.age.as_millis()).unwrap_or(i64::MAX);
    for (number, closed_at_ms, bytes) in segments {
        let is_old = closed_at_ms.is_some_and(|closed| now_ms.saturating_sub(closed) > age_ms);
        if !is_old && left + others <= limits.max_bytes {
            break;
        }
        // The frames last: a crash in between leaves lines that are still found, and removed by the next call.
        for kind in [SegmentFile::Words, SegmentFile::Index, SegmentFile::Frames] {
            disk.remove(&folder.file(number, kind))?;
        }
        left -= bytes;
    }
    Ok(left)
}
