//! Waits until a file may have come into `ready/`: by inotify(7), and by a time limit in any case.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{Inotify, WatchMask};
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::BatchState;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

/// Space for some events. Their contents are not used, so lost events do no harm.
const EVENT_BUFFER: usize = 4096;

/// Watches `ready/` and the folders of the sources in it.
#[derive(Debug)]
pub(crate) struct SpoolWatch {
    ready: PathBuf,
    /// `None` if the system provides none; then only the time limit ends a wait.
    inotify: Option<Inotify>,
}

impl SpoolWatch {
    /// Starts to watch the spool in `data_dir`.
    pub(crate) fn new(data_dir: &Path) -> Self {
        let mut watch = Self {
            ready: data_dir.join(BatchState::Ready.as_str()),
            inotify: None,
        };
        let started = Inotify::init().and_then(|inotify| {
            watch.inotify = Some(inotify);
            watch.watch_all()
        });
        if let Err(error) = started {
            warn!(%error, folder = %watch.ready.display(), "cannot watch a folder; batches are found only at each interval");
            watch.inotify = None;
        }
        watch
    }

    /// Waits until a file came into `ready/`, at most `limit`. Returns whether one came.
    pub(crate) fn wait(&mut self, limit: Duration) -> bool {
        let Some(inotify) = &mut self.inotify else {
            std::thread::sleep(limit);
            return false;
        };
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let started = Instant::now();
        match poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => {
                // Usually a signal. The caller must not loop without a wait.
                std::thread::sleep(limit.saturating_sub(started.elapsed()));
                return false;
            }
        }
        let mut buffer = [0; EVENT_BUFFER];
        while inotify.read_events(&mut buffer).is_ok() {}
        if let Err(error) = self.watch_all() {
            warn!(%error, folder = %self.ready.display(), "cannot watch a new folder");
        }
        true
    }

    /// Watches every folder that exists now. Folders that are watched already stay watched (inotify(7): one watch per inode).
    fn watch_all(&self) -> io::Result<()> {
        let Some(inotify) = &self.inotify else {
            return Ok(());
        };
        let mut watches = inotify.watches();
        let arrivals = WatchMask::MOVED_TO | WatchMask::CREATE | WatchMask::ONLYDIR;
        watches.add(&self.ready, arrivals)?;
        for source in RealDisk.list(&self.ready).map_err(|error| error.source)? {
            let dir = self.ready.join(source);
            if dir.is_dir() {
                watches.add(&dir, arrivals)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn batch_moved_into_a_new_source_folder_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("ready")).unwrap();
        let mut watch = SpoolWatch::new(dir.path());
        assert!(!watch.wait(Duration::ZERO));

        let source = dir.path().join("ready/198.51.100.1");
        std::fs::create_dir(&source).unwrap();
        assert!(watch.wait(LONG), "the folder");
        let open = dir.path().join("batch.log");
        std::fs::write(&open, b"").unwrap();
        std::fs::rename(open, source.join("batch.log")).unwrap();
        assert!(watch.wait(LONG), "the batch");
        assert!(!watch.wait(Duration::ZERO));
    }

    #[test]
    fn folder_that_cannot_be_watched_leaves_the_time_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = SpoolWatch::new(&dir.path().join("nowhere"));
        assert!(!watch.wait(Duration::ZERO));
    }
}
