//! What a start, or a repair, makes of the files that it finds.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation};

use crate::capture::commit_log::{self, ReadEntry, ReadLog};
use crate::capture::error::CaptureError;
use crate::capture::state::{CapturePaths, CaptureState};

/// Reads the commit log, and makes the capture what the log says. Afterwards the capture is on stable storage.
///
/// 1. The whole entries of the log are written to a new one. What is read here may stand in memory only: of a round whose sync
///    failed, or was cut off by a kill. A later sync would not tell (fsync(2), "NOTES").
/// 2. The lines that the capture lacks are appended to it, and synced. A crash before leaves the log, which has them.
pub(super) fn recover(disk: &impl Disk, paths: &CapturePaths) -> Result<CaptureState, CaptureError> {
    let bytes = disk.read(&paths.commits())?.unwrap_or_default();
    let entries = match commit_log::read(&bytes) {
        ReadLog::Entries { entries, len } => {
            if len < bytes.len() {
                tracing::info!(
                    source = %paths.source, bytes = bytes.len() - len,
                    "the end of the commit log was torn by a crash; nothing of it was acknowledged"
                );
            }
            // 1.
            disk.replace(&paths.commits(), bytes.get(..len).unwrap_or_default())?;
            entries
        }
        ReadLog::New => return begin_anew(disk, paths),
        ReadLog::OtherVersion(found) => {
            return Err(CaptureError::OtherVersion {
                path: paths.commits(),
                found: found.into_owned(),
            });
        }
        ReadLog::Damaged => {
            return Err(CaptureError::Damaged {
                path: paths.commits(),
            });
        }
    };
    let mut state = CaptureState::default();
    for ReadEntry { entry, lines } in &entries {
        state.apply(entry.clone(), lines.len() as u64);
    }
    if disk.len(&paths.rotated(state.file))?.is_some() {
        // It was full and got its number, and the next log was not begun any more.
        (state.file, state.len) = (state.file + 1, 0);
        return Ok(state);
    }
    // 2.
    complete(disk, paths, &entries, &mut state)?;
    Ok(state)
}

/// There is no commit log. A capture of an earlier life, if there is one, is left as it is, as a rotated one.
fn begin_anew(disk: &impl Disk, paths: &CapturePaths) -> Result<CaptureState, CaptureError> {
    let last = paths.rotated_numbers(disk)?.last().copied();
    let mut state = CaptureState {
        file: last.map_or(1, |last| last + 1),
        ..CaptureState::default()
    };
    if disk.len(&paths.live())?.is_some_and(|len| len > 0) {
        tracing::warn!(
            source = %paths.source, path = %paths.commits().display(),
            "there are records and no commit log beside them, so the source begins anew; what it has brought before may come twice"
        );
        disk.rename(&paths.live(), &paths.rotated(state.file))?;
        state.file += 1;
    }
    Ok(state)
}

/// Completes the end of the capture from the entries.
fn complete(
    disk: &impl Disk,
    paths: &CapturePaths,
    entries: &[ReadEntry<'_>],
    state: &mut CaptureState,
) -> Result<(), CaptureError> {
    let (live, begun) = (paths.live(), entries.first().map_or(0, |first| first.entry.at));
    let found = disk.len(&live)?.unwrap_or(0);
    if found < begun {
        tracing::error!(
            source = %paths.source, path = %live.display(), bytes = state.len - found,
            "records are missing that were on stable storage: somebody has shortened or removed the file; what the sender had \
             not shipped of them is lost"
        );
        // Its bytes must not stand at another place of the same file.
        if found > 0 {
            disk.rename(&live, &paths.rotated(state.file))?;
        }
        (state.file, state.len) = (state.file + 1, 0);
        return Ok(());
    }
    let expected: Vec<u8> = entries.iter().flat_map(|entry| entry.lines).copied().collect();
    let present = read_from(disk, &live, begun)?;
    let same = expected
        .iter()
        .zip(&present)
        .take_while(|(one, other)| one == other)
        .count();
    let mut file = disk.open_append(&live)?;
    if present.len() > same {
        file.truncate(begun + same as u64)?;
    }
    // What is there may stand in memory only, too.
    disk.write_again(&live, begun, expected.get(..same).unwrap_or_default())?;
    file.append(expected.get(same..).unwrap_or_default())?;
    file.sync()?;
    Ok(())
}

fn read_from(disk: &impl Disk, path: &Path, from: u64) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    let Some(mut reader) = disk.open_read(path)? else {
        return Ok(bytes);
    };
    let read = reader.seek(SeekFrom::Start(from));
    let read = read.and_then(|_| reader.read_to_end(&mut bytes));
    read.map_err(|source| DiskError::new(DiskOperation::Read, path, source))?;
    Ok(bytes)
}
