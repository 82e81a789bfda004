//! What the disk allows a program that appends pieces and syncs each, as the relay must.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// Bytes appended before each sync.
const PIECE: usize = 4 << 20;

/// When the next piece is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextPiece {
    /// After the sync of the last.
    AfterSync,
    /// While the last is synced.
    DuringSync,
}

/// Copies a file piece by piece, each piece synced. Returns the time until the last is durable.
pub(crate) fn append_and_sync(from: &Path, to: &Path, next: NextPiece) -> anyhow::Result<Duration> {
    let described = || format!("cannot copy {} to {}", from.display(), to.display());
    nix::unistd::sync();
    let began = Instant::now();
    copy(from, to, next).with_context(described)?;
    let took = began.elapsed();
    fs::remove_file(to).with_context(described)?;
    Ok(took)
}

fn copy(from: &Path, to: &Path, next: NextPiece) -> anyhow::Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)?;
    let other = target.try_clone()?;
    let mut piece = vec![0; PIECE];
    // Room for none: a piece waits until the sync before has ended.
    let (appended, to_sync) = sync_channel::<()>(0);
    let syncer = thread::spawn(move || to_sync.iter().try_for_each(|()| other.sync_data()));
    loop {
        let read = source.read(&mut piece)?;
        if read == 0 {
            break;
        }
        target.write_all(&piece[..read])?;
        match next {
            NextPiece::AfterSync => target.sync_data()?,
            NextPiece::DuringSync => appended.send(()).map_err(|_| anyhow!("the sync failed"))?,
        }
    }
    drop(appended);
    syncer
        .join()
        .map_err(|_| anyhow!("the syncing thread panicked"))??;
    Ok(())
}
