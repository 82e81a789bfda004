//! The progress of each stream, for the heartbeat.

use std::time::Duration;

use logferry_protocol::heartbeat::StreamProgress;
use logferry_protocol::names::LogName;

use crate::clock::Now;
use crate::files::FileHandle;
use crate::files::discovery::FileRole;
use crate::streams::tracked_stream::StreamPhase;
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::TrackedFile;

impl<H: FileHandle> TrackedFile<H> {
    pub(super) fn mark_age(&mut self, now: Now) {
        // The bytes that a file held when it was found are as old as its last change, or older.
        let age = now.wall.duration_since(self.stat.modified).unwrap_or_default();
        let age = if std::mem::take(&mut self.is_found) {
            age
        } else {
            Duration::ZERO
        };
        let written = now.instant.checked_sub(age).unwrap_or(now.instant);
        self.lag_age.note(self.size(), self.acked(), written);
    }

    fn progress(&self, log: &LogName, now: Now) -> Option<StreamProgress> {
        let stream = self
            .stream()
            .filter(|stream| stream.phase != StreamPhase::Finished)?;
        let (sent, acked) = (stream.read.offset, stream.acked.offset);
        let size = self.size().max(acked);
        // The rest of a drained stream is part of a line.
        let oldest_unread = if stream.is_drained() {
            Duration::ZERO
        } else {
            self.lag_age.oldest_unread(acked, now.instant)
        };
        Some(StreamProgress {
            stream: stream.id,
            log: log.clone(),
            path: self.path.display().to_string(),
            read: if stream.exhausted { size } else { sent },
            sent,
            acked,
            size,
            oldest_unread_ms: u64::try_from(oldest_unread.as_millis()).unwrap_or(u64::MAX),
            lines: stream.lines,
            rotated: self.role != FileRole::Live,
            deleted: self.role == FileRole::Gone,
        })
    }
}

impl<H: FileHandle> TailedLog<H> {
    pub(crate) fn progress(&self, now: Now) -> impl Iterator<Item = StreamProgress> + '_ {
        let progress = move |file: &TrackedFile<H>| file.progress(&self.name, now);
        self.files.iter().filter_map(progress)
    }
}
