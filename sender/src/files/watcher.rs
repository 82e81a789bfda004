//! Hears of changes in the logs' folders through inotify(7), so that a line is read when it is written and not when
//! the next poll comes. Polling goes on besides: network file systems tell nothing, and the event queue can overflow.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::messages::SenderEvent;
use inotify::{EventMask, Inotify, WatchMask, Watches};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// ClosePolicy after each wake-up: a log that is written to all the time is looked at so often, not at each write. At least
/// the first; more where lines wait anyway for their chunk to fill, because each wake-up costs as much as some lines.
const REST: RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(50);
/// The rest as a part of the time that a line may wait for its chunk.
const REST_PART: u32 = 25;
/// Room for some dozens of events with their names.
const EVENT_BUFFER: usize = 4096;

/// The folders that are watched.
pub(crate) struct WatchedFolders {
    watches: Watches,
    failing: bool,
}

/// Starts to watch; without inotify (its limit is reached, say) the poll alone does.
pub(crate) fn start() -> Option<(Inotify, WatchedFolders)> {
    match Inotify::init() {
        Ok(inotify) => {
            let folders = WatchedFolders {
                watches: inotify.watches(),
                failing: false,
            };
            Some((inotify, folders))
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "inotify cannot be used, logs are only polled; fs.inotify.max_user_instances may be too low"
            );
            None
        }
    }
}

impl WatchedFolders {
    /// Watches these folders, and the folders of what `live_paths` link to. Done anew at each call: a folder may have
    /// been replaced, and watching one twice is watching it once.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>, live_paths: &BTreeSet<PathBuf>) {
        let linked = live_paths
            .iter()
            .filter_map(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()));
        let mut failed = None;
        for folder in folders.iter().cloned().chain(linked) {
            match self.add(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => failed = Some((folder, error)),
                _ => {}
            }
        }
        match failed {
            Some((folder, error)) if !self.failing => {
                tracing::warn!(
                    folder = %folder.display(), %error,
                    "a folder cannot be watched, its logs are only polled; fs.inotify.max_user_watches may be too low"
                );
                self.failing = true;
            }
            Some(_) => {}
            None => self.failing = false,
        }
    }

    fn add(&mut self, folder: &Path) -> io::Result<()> {
        let moved = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::DELETE_SELF;
        self.watches
            .add(folder, moved | WatchMask::MODIFY | WatchMask::ONLYDIR)
            .map(|_| ())
    }
}

/// How long to rest after each wake-up, where a line may wait for `max_delay`.
pub(crate) fn rest(max_delay: Duration) -> Duration {
    (max_delay / REST_PART).clamp(*REST.start(), *REST.end())
}

/// Passes on what happens in the watched folders, on a thread of its own, until the other end of `stop` is closed.
pub(crate) fn listen(mut inotify: Inotify, events: &Sender<SenderEvent>, stop: &UnixStream, rest: Duration) {
    if let Err(error) = pass_on(&mut inotify, events, stop, rest) {
        tracing::warn!(%error, "inotify does not work any more, logs are only polled");
    }
}

fn pass_on(
    inotify: &mut Inotify,
    events: &Sender<SenderEvent>,
    stop: &UnixStream,
    rest: Duration,
) -> io::Result<()> {
    let mut buffer = [0; EVENT_BUFFER];
    loop {
        let mut ready = [
            PollFd::new(inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [_, stopped] = ready;
        if stopped.any() == Some(true) {
            return Ok(());
        }
        let mut heard = None;
        loop {
            match inotify.read_events(&mut buffer) {
                Ok(read) => {
                    let any = { read }.any(|event| event.mask != EventMask::MODIFY);
                    heard = Some(heard.unwrap_or(false) || any);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(moved) = heard
            && events.send(SenderEvent::Files { moved }).is_err()
        {
            return Ok(());
        }
        std::thread::sleep(rest);
    }
}
