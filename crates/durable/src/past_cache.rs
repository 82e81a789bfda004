//! Appending past the page cache (`O_DIRECT`, open(2)).
//!
//! Through the page cache a GB costs 0.4 to 1 s of CPU time, most of it to find pages and to give them back; past it, 0.2 to 0.3 s,
//! with the copy to an address that the disk takes (docs/performance.md).
//!
//! Only whole blocks can go past the cache. So the bytes before the next block's beginning, and those after the last whole block, go
//! through it. The system keeps both ways consistent for readers, and a sync covers both.
//!
//! Invariant: the file has the flag only while [`append`] runs, and one thread appends at a time.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Place, length and memory of what goes past the cache are multiples of it. No disk has larger logical blocks; a file system
/// that wants more refuses (`EINVAL`).
const BLOCK: usize = 4096;
/// Bytes that the disk gets at a time.
const PIECE: usize = 1 << 20;

thread_local! {
    /// The bytes of a piece, at an address that is a multiple of [`BLOCK`].
    static PIECE_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Bytes that went through the page cache.
    pub(crate) cached: usize,
    /// False if the file system has no way past it.
    pub(crate) is_possible: bool,
}

/// Appends bytes to a file that was opened with `O_APPEND`. After an error the file may hold any part of them.
pub(crate) fn append(mut file: &File, bytes: &[u8]) -> io::Result<Appended> {
    let end = usize::try_from(file.metadata()?.len() % BLOCK as u64).unwrap_or(0);
    let before = end.next_multiple_of(BLOCK) - end;
    let (first, rest) = bytes.split_at(before.min(bytes.len()));
    let blocks = rest.get(..rest.len() - rest.len() % BLOCK).unwrap_or_default();
    file.write_all(first)?;
    let written = write_blocks(file, blocks)?;
    file.write_all(rest.get(written..).unwrap_or_default())?;
    Ok(Appended {
        cached: bytes.len() - written,
        is_possible: written == blocks.len(),
    })
}

/// Appends whole blocks past the cache. Returns the bytes that were written: fewer if the file system refuses, or if the disk is full.
fn write_blocks(file: &File, blocks: &[u8]) -> io::Result<usize> {
    if set_direct(file, true).is_err() {
        return Ok(0);
    }
    let written = PIECE_BUFFER.with_borrow_mut(|buffer| write_pieces(file, blocks, buffer));
    set_direct(file, false)?;
    written
}

fn write_pieces(file: &File, blocks: &[u8], buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.resize(PIECE + BLOCK, 0);
    let aligned = buffer.as_ptr().align_offset(BLOCK);
    let mut written = 0;
    for piece in blocks.chunks(PIECE) {
        let Some(memory) = buffer.get_mut(aligned..aligned.saturating_add(piece.len())) else {
            return Ok(written);
        };
        memory.copy_from_slice(piece);
        match write_uninterrupted(file, memory) {
            Ok(count) if count == piece.len() => written += count,
            Ok(count) => return Ok(written + count),
            Err(error) if is_refused(&error) => return Ok(written),
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn write_uninterrupted(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

/// Whether nothing was written, as the file system has no such way.
fn is_refused(error: &io::Error) -> bool {
    [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported].contains(&error.kind())
}

/// Only these flags of an open file can be changed, and `O_APPEND` has to stay (fcntl(2)).
fn set_direct(file: &File, is_direct: bool) -> io::Result<()> {
    let direct = if is_direct {
        OFlag::O_DIRECT
    } else {
        OFlag::empty()
    };
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_APPEND | direct))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn bytes_past_the_cache_and_through_it_stand_in_order() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x");
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(&path).expect("made");
        let mut expected = Vec::new();
        for (number, size) in (0_u8..).zip([
            0,
            1,
            BLOCK,
            5,
            PIECE + 7,
            4091,
            3 * PIECE,
            BLOCK - 1,
            2,
            2 * PIECE + 1,
        ]) {
            let bytes: Vec<u8> = (0..size)
                .map(|at| u8::try_from(at % 251).expect("small") ^ number)
                .collect();
            append(&file, &bytes).expect("appended");
            (&file).write_all(b"line\n").expect("appended");
            expected.extend_from_slice(&bytes);
            expected.extend_from_slice(b"line\n");
        }
        file.sync_data().expect("synced");
        assert!(std::fs::read(&path).expect("read") == expected);
    }

    #[test]
    fn a_file_system_without_a_way_past_the_cache_gets_all_through_it() {
        let mut options = OpenOptions::new();
        let file = options.append(true).open("/dev/null").expect("opened");
        let appended = append(&file, &[7; 3 * BLOCK + 5]).expect("appended");
        let all = Appended {
            cached: 3 * BLOCK + 5,
            is_possible: false,
        };
        assert_eq!(appended, all);
    }
}
