//! Watches the logs' folders with inotify(7), so that a line is read when it is written and not at the next poll. Polling
//! continues: network file systems report nothing, and the event queue can overflow.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchMask, Watches};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::messages::SenderEvent;

/// The pause after each wake-up, so that a busy log is not looked at with each write. It is longer where lines wait for
/// their chunk to fill anyway, because a wake-up costs as much as some lines.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(50);
/// The pause is this part of the time that a line may wait for its chunk.
const PAUSE_DIVISOR: u32 = 25;
/// Room for some dozens of events with their names.
const EVENT_BUFFER: usize = 4096;

pub(crate) struct WatchedFolders {
    watches: Watches,
    failing: bool,
}

/// Starts inotify. If it fails (its limit may be reached), polling alone finds changes.
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

/// Watches the folders for a moment; an error is a sentence on the limit of inotify that is too low.
pub(crate) fn try_watch(folders: &BTreeSet<PathBuf>) -> Result<(), String> {
    let advice = |limit: &str, value: u32| {
        format!(
            "logs are only polled; run `sysctl -w fs.inotify.{limit}={value}`, and write `fs.inotify.{limit}={value}` into \
             /etc/sysctl.d/logferry.conf"
        )
    };
    let inotify = Inotify::init().map_err(|error| {
        let advice = advice("max_user_instances", 1024);
        format!("cannot be used ({error}: fs.inotify.max_user_instances is too low), so {advice}")
    })?;
    let mut watched = WatchedFolders {
        watches: inotify.watches(),
        failing: false,
    };
    for folder in folders {
        match watched.add(folder) {
            // inotify_add_watch(2): ENOSPC is the limit. A folder that may not be read is a finding of its own.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let (folder, advice) = (folder.display(), advice("max_user_watches", 1 << 19));
                return Err(format!(
                    "cannot watch {folder} (fs.inotify.max_user_watches is too low), so {advice}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

impl WatchedFolders {
    /// Watches these folders, and the folders of the files that `live_paths` link to. Each call adds all of them again,
    /// because a folder may have been replaced; adding a folder twice has no effect.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>, live_paths: &BTreeSet<PathBuf>) {
        let folder = |path: &PathBuf| Some(path.canonicalize().ok()?.parent()?.to_owned());
        let linked = live_paths.iter().filter_map(folder);
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
                    "the folder {} cannot be watched, its logs are only polled: {error}{}",
                    folder.display(),
                    cure(&error)
                );
                self.failing = true;
            }
            Some(_) => {}
            None => self.failing = false,
        }
    }

    fn add(&mut self, folder: &Path) -> io::Result<()> {
        let moved = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::DELETE_SELF;
        let mask = moved | WatchMask::MODIFY | WatchMask::ONLYDIR;
        self.watches.add(folder, mask).map(drop)
    }
}

/// What to do about a folder that cannot be watched (`inotify_add_watch(2)`, "ERRORS").
fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; let the sender's user read the folder",
        io::ErrorKind::StorageFull => "; raise fs.inotify.max_user_watches (sysctl)",
        _ => "",
    }
}

/// The pause after each wake-up if a line may wait for `max_delay`.
pub(crate) fn pause(max_delay: Duration) -> Duration {
    (max_delay / PAUSE_DIVISOR).clamp(*PAUSE.start(), *PAUSE.end())
}

/// Reports changes in the watched folders, on a thread of its own, until the other end of `stop` is closed.
pub(crate) fn listen(mut inotify: Inotify, events: &Sender<SenderEvent>, stop: &UnixStream, pause: Duration) {
    if let Err(error) = report_changes(&mut inotify, events, stop, pause) {
        tracing::warn!(%error, "inotify has failed, logs are only polled");
    }
}

fn report_changes(
    inotify: &mut Inotify,
    events: &Sender<SenderEvent>,
    stop: &UnixStream,
    pause: Duration,
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
        let (mut any, mut moved) = (false, false);
        loop {
            match inotify.read_events(&mut buffer) {
                Ok(mut read) => {
                    any = true;
                    moved |= read.any(|event| event.mask != EventMask::MODIFY);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if any && events.send(SenderEvent::Files { moved }).is_err() {
            return Ok(());
        }
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_may_not_be_read_is_not_told_as_a_limit_of_watches() {
        let of = |error: nix::errno::Errno| cure(&io::Error::from(error));
        assert!(of(nix::errno::Errno::EACCES).contains("read the folder"));
        assert!(of(nix::errno::Errno::ENOSPC).contains("max_user_watches"));
        assert_eq!(of(nix::errno::Errno::EIO), "");
    }
}
