//! How far each stream is, for the heartbeat.

use logferry_protocol::heartbeat::StreamProgress;
use logferry_protocol::stream::Offset;

use super::entry::{Entry, Now, What};
use super::log::Log;
use super::stream::Phase;
use crate::files::Handle;
use crate::scan::Role;

impl<H: Handle> Entry<H> {
    /// Marks the file's size, for the age of what is unread.
    pub(crate) fn mark_age(&mut self, now: Now) {
        let acked = match &self.what {
            What::Stream(stream) => stream.acked.offset,
            _ => Offset::ZERO,
        };
        // What a file held when it was found is as old as its last change, or older.
        let age = now.wall.duration_since(self.facts.modified).unwrap_or_default();
        let written = if self.is_found {
            now.tick.checked_sub(age).unwrap_or(now.tick)
        } else {
            now.tick
        };
        self.is_found = false;
        self.ages.note(self.size(), acked, written);
    }

    fn progress(&self, log: &Log<H>, now: Now) -> Option<StreamProgress> {
        let What::Stream(stream) = &self.what else {
            return None;
        };
        if stream.phase == Phase::Finished {
            return None;
        }
        let (sent, acked) = (stream.read.offset, stream.acked.offset);
        let size = self.size().max(acked);
        // What is left of a drained stream is half a line.
        let oldest_unread = if stream.is_drained() {
            std::time::Duration::ZERO
        } else {
            self.ages.oldest_unread(acked, now.tick)
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
            rotated: self.role != Role::Live,
            deleted: self.role == Role::Gone,
        })
    }
}

impl<H: Handle> Log<H> {
    /// How far each stream is.
    pub(crate) fn progress(&self, now: Now) -> impl Iterator<Item = StreamProgress> + '_ {
        self.entries
            .iter()
            .filter_map(move |entry| entry.progress(self, now))
    }
}
