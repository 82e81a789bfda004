//! How far each stream is, for the heartbeat.

use logferry_protocol::heartbeat::StreamProgress;
use logferry_protocol::stream::Offset;

use crate::clock::Now;
use crate::files::FileHandle;
use crate::files::discovery::FileRole;
use crate::streams::tracked_stream::StreamPhase;
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{FileState, TrackedFile};

impl<H: FileHandle> TrackedFile<H> {
    /// Marks the file's size, for the age of what is unread.
    pub(crate) fn mark_age(&mut self, now: Now) {
        let acked = match &self.state {
            FileState::Stream(stream) => stream.acked.offset,
            _ => Offset::ZERO,
        };
        // What a file held when it was found is as old as its last change, or older.
        let age = now.wall.duration_since(self.stat.modified).unwrap_or_default();
        let written = if self.is_found {
            now.instant.checked_sub(age).unwrap_or(now.instant)
        } else {
            now.instant
        };
        self.is_found = false;
        self.lag_age.note(self.size(), acked, written);
    }

    fn progress(&self, log: &TailedLog<H>, now: Now) -> Option<StreamProgress> {
        let FileState::Stream(stream) = &self.state else {
            return None;
        };
        if stream.phase == StreamPhase::Finished {
            return None;
        }
        let (sent, acked) = (stream.read.offset, stream.acked.offset);
        let size = self.size().max(acked);
        // What is left of a drained stream is half a line.
        let oldest_unread = if stream.is_drained() {
            std::time::Duration::ZERO
        } else {
            self.lag_age.oldest_unread(acked, now.instant)
        };
        Some(StreamProgress {
            stream: stream.id,
            log: log.name.clone(),
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
    /// How far each stream is.
    pub(crate) fn progress(&self, now: Now) -> impl Iterator<Item = StreamProgress> + '_ {
        self.entries
            .iter()
            .filter_map(move |entry| entry.progress(self, now))
    }
}
