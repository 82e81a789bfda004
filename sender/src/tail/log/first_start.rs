//! `start: end`: what the first start with a log leaves out: what its first search sees. What that cannot see, as a folder may not be
//! entered, is shipped whole: nobody knows when its lines were written.
//!
//! "The end" of a file is where the first start saw it, whenever the relay hears of the file. So the first start marks the
//! end of each file, by contents, and the marks are in the checkpoint before anything is sent. Once the relay has acknowledged
//! the empty chunk that leaves the bytes out, the mark goes with the stream: a relay that has forgotten the stream does not get them
//! either.
//!
//! The relay decides whether this is a first start at all: if it knows streams of the log, the state folder was lost, and
//! nothing is left out. Once it has said so, the marks are confirmed, and hold whatever it knows later.

use logferry_config::{LogSettings, StartPosition};
use logferry_protocol::stream::Offset;

use crate::checkpoint::{Checkpoint, SeenLog, SkippedStart};
use crate::files::FileHandle;
use crate::streams::tracked_stream::StreamPosition;
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{CompressedState, FileState, LeftOut, TrackedFile};

impl<H: FileHandle> TrackedFile<H> {
    /// Leaves out the bytes that the file has now, if it turns out to be new.
    pub(super) fn mark_end(&mut self, log: &logferry_protocol::names::LogName) {
        let end = self.size();
        let head = match self.state {
            FileState::Unidentified(head) => Some(head),
            _ => None,
        };
        self.mark(SkippedStart {
            log: log.clone(),
            path: self.path.display().to_string(),
            file: self.stat.key,
            head,
            end,
            // Of a file that cannot be read, or is not decompressed yet, only its size on the disk is known.
            tail: if self.is_waiting {
                None
            } else {
                self.tail_at(end).ok().flatten()
            },
            confirmed: false,
            exact: false,
            known: false,
        });
    }

    /// A mark that leaves out nothing is none: the chunk for it would be empty, and be sent again and again.
    pub(super) fn mark(&mut self, mark: SkippedStart) {
        if mark.end == Offset::ZERO {
            return;
        }
        self.left_out = Some(LeftOut::Marked(mark));
    }

    /// Whether the bytes that it leaves out are still there. Once the relay has acknowledged them, its stream says which bytes are.
    pub(crate) fn holds_left_out(&self) -> bool {
        let left_out = self.left_out.as_ref().filter(|_| self.acked() == Offset::ZERO);
        match (left_out, &self.handle) {
            (Some(LeftOut::Marked(mark)), _) => self.is_marked_by(mark, mark.file == self.stat.key),
            (Some(LeftOut::Parted(parted)), Some(text)) => text.holds(parted.stream.acked).unwrap_or(false),
            _ => true,
        }
    }

    fn is_marked_by(&self, mark: &SkippedStart, same_file: bool) -> bool {
        let Some(text) = &self.handle else { return false };
        let is_same_file = mark.file == self.stat.key;
        if is_same_file != same_file {
            return false;
        }
        let Some(tail) = mark.tail else {
            return is_same_file && (self.is_compressed() || self.size() >= mark.end);
        };
        let begins_alike = mark.head.is_none_or(|head| text.begins_with(head));
        let position = StreamPosition {
            offset: mark.end,
            tail,
        };
        begins_alike && text.holds(position).unwrap_or(false)
    }
}

/// Where reading starts in the files of a log that the first search finds. `checkpoint`: its part of it.
pub(crate) fn start_of(log: &LogSettings, checkpoint: Option<&Checkpoint>) -> StartPosition {
    let is_seen = |saved: &Checkpoint| {
        let Some(seen) = &saved.seen_logs else { return true };
        let is_it = |seen: &SeenLog| seen.name == log.name || seen.path == log.path;
        seen.iter().any(is_it) || !saved.streams.is_empty() || !saved.former_names.is_empty()
    };
    if checkpoint.is_some_and(is_seen) {
        StartPosition::Beginning
    } else {
        log.start
    }
}

impl<H: FileHandle> TailedLog<H> {
    /// After a search: marks the ends of what was found, if it is the first one. The next one is not, even if there was nothing to
    /// mark.
    pub(super) fn mark_ends(&mut self) {
        if self.start != StartPosition::End {
            return;
        }
        let files = self.files.iter_mut();
        let marked = files.filter(|file| file.is_waiting || file.size() > Offset::ZERO);
        marked.for_each(|file| file.mark_end(&self.name));
        self.save = CheckpointNeed::BeforeSending;
        self.start = StartPosition::Beginning;
    }

    /// For the checkpoint, once the log was searched.
    pub(crate) fn as_seen(&self) -> Option<SeenLog> {
        (self.start == StartPosition::Beginning).then(|| SeenLog {
            name: self.name.clone(),
            path: self.patterns.live().to_owned(),
        })
    }

    /// Takes the relay's answer whether this is a first start.
    pub(super) fn confirm_marks(&mut self, relay_knows_none: bool) {
        let of_files = self.files.iter_mut().filter_map(TrackedFile::marked_mut);
        for mark in of_files
            .chain(&mut self.unassigned)
            .filter(|mark| !mark.confirmed)
        {
            mark.confirmed = relay_knows_none;
            self.save = CheckpointNeed::BeforeSending;
        }
        if !relay_knows_none {
            self.unassigned.retain(|mark| mark.confirmed);
            for file in &mut self.files {
                if file.marked().is_some_and(|mark| !mark.confirmed) {
                    file.left_out = None;
                }
            }
        }
    }

    /// Gives each of these files the mark of its contents: the file that was marked goes before its copies, and compressed
    /// files go last, because they count as copies of the others.
    pub(super) fn assign_marks(&mut self, files: &[usize]) {
        for &index in files {
            self.unassigned.extend(self.files[index].take_mark());
        }
        for (compressed, same_file) in [(false, true), (false, false), (true, true), (true, false)] {
            for &index in files {
                let file = &self.files[index];
                let is_its = |mark: &SkippedStart| file.is_marked_by(mark, same_file);
                if file.left_out.is_some() || file.is_compressed() != compressed {
                    continue;
                }
                if let Some(mark) = self.unassigned.iter().position(is_its) {
                    let mut mark = self.unassigned.swap_remove(mark);
                    let file = &mut self.files[index];
                    // Its text was not known when it was marked. Nothing is appended to such a file.
                    if mark.tail.is_none() && file.is_compressed() && !file.is_growing() {
                        mark.end = file.size();
                    }
                    file.mark(mark);
                }
            }
        }
    }

    /// Forgets the marks of files that are gone. Every file is identified.
    pub(super) fn drop_marks(&mut self) {
        let files = &self.files;
        self.unassigned.retain(|mark| {
            let mut present = files.iter().filter(|file| file.stat.key == mark.file);
            present.any(|file| !matches!(file.state, FileState::Stream(_)))
        });
    }

    pub(crate) fn skipped(&self) -> impl Iterator<Item = SkippedStart> + '_ {
        let is_shipped = |file: &TrackedFile<H>| {
            matches!(file.state, FileState::Compressed(CompressedState::Shipped { .. }))
        };
        // The used ones are with the streams and archives.
        let of_files = self
            .files
            .iter()
            .filter(move |file| file.acked() == Offset::ZERO && !is_shipped(file));
        let of_files = of_files.filter_map(TrackedFile::marked);
        of_files.chain(&self.unassigned).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use logferry_protocol::stream::FileKey;

    use super::*;
    use crate::clock::Now;
    use crate::files::FileStat;
    use crate::files::discovery::{FileRole, FoundFile};
    use crate::relay_backoff::RelayBackoff;
    use crate::tail::scenarios::simulation::config;
    use crate::tail::tracked_file::ChainId;

    #[test]
    fn a_mark_that_leaves_out_nothing_is_none() {
        let key = FileKey { dev: 1, inode: 1 };
        let stat = FileStat {
            key,
            size: Offset::ZERO,
            modified: SystemTime::UNIX_EPOCH,
        };
        let found = FoundFile {
            live_path: "/log/access.log".into(),
            path: "/log/access.log".into(),
            role: FileRole::Live,
            stat,
        };
        let retry = RelayBackoff::new(config(4096, 100, 2048).retry);
        let mut file: TrackedFile<File> = TrackedFile::new(found, ChainId(0), retry, Now::read());
        for (end, expected) in [(0, None), (9, Some(Offset::new(9)))] {
            file.mark(SkippedStart {
                log: "access".parse().expect("a name"),
                path: "/log/access.log".into(),
                file: key,
                head: None,
                end: Offset::new(end),
                tail: None,
                confirmed: true,
                exact: true,
                known: false,
            });
            assert_eq!(file.left_out.as_ref().map(LeftOut::end), expected);
        }
    }
}
