//! What a log tells of itself: progress and lag for reports, and the paths to watch.

use std::path::{Path, PathBuf};

use logferry_protocol::heartbeat::StreamProgress;

use crate::clock::Now;
use crate::files::FileHandle;
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{FileState, TrackedFile};

impl<H: FileHandle> TailedLog<H> {
    pub(crate) fn progress(&self, now: Now) -> impl Iterator<Item = StreamProgress> + '_ {
        let progress = move |file: &TrackedFile<H>| file.progress(&self.name, now);
        self.files.iter().filter_map(progress)
    }

    pub(crate) fn lag_bytes(&self) -> u64 {
        let lags = self.files.iter().map(|file| match &file.state {
            FileState::Copy { .. } | FileState::Compressed(_) | FileState::Held(_) => 0,
            _ => file.size().since(file.acked()),
        });
        lags.sum()
    }

    pub(crate) fn folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let found = self.files.iter().filter_map(|file| file.path.parent());
        self.patterns
            .folders()
            .into_iter()
            .chain(found.map(PathBuf::from))
    }

    /// The live paths of the files, which may be links to other folders.
    pub(crate) fn live_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.chains.iter().map(|chain| &chain.live_path)
    }

    pub(crate) fn has_file(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file.path == path)
    }
}
