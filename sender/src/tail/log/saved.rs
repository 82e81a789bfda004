//! What a log leaves in the checkpoint, and tells a relay that may have forgotten it.

use logferry_protocol::names::LogName;
use logferry_protocol::resolve::AcknowledgedStream;
use logferry_protocol::stream::{Head, Offset, StreamId};

use crate::checkpoint::{CheckpointStream, ShippedArchive};
use crate::chunks::line_marks::LineMarks;
use crate::files::FileHandle;
use crate::files::discovery::FileRole;
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::{StreamPhase, TrackedStream};
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{CompressedState, FileState, LeftOut, TrackedFile};

impl<H: FileHandle> TailedLog<H> {
    /// The streams for the checkpoint, of which something is acknowledged.
    pub(crate) fn to_checkpoint(&self) -> impl Iterator<Item = CheckpointStream> + '_ {
        let of_files = self.files.iter().filter_map(|file| {
            let path = file.path.display().to_string();
            let stream = file.stream()?;
            let mut saved = stream.to_checkpoint(&self.name, path, file.stat.key, file.extent);
            if file.role == FileRole::Rotated {
                saved.marks = LineMarks::default();
            }
            saved.skipped = file.marked().cloned();
            Some(saved)
        });
        let parted = self.files.iter().filter_map(|file| match &file.left_out {
            Some(LeftOut::Parted(parted)) => Some(&**parted),
            _ => None,
        });
        let of_orphans = self.orphans.iter().chain(parted).map(|orphan| {
            let (path, stream) = (orphan.path.clone(), &orphan.stream);
            CheckpointStream {
                skipped: orphan.mark.clone(),
                ..stream.to_checkpoint(&self.name, path, orphan.file, orphan.extent)
            }
        });
        of_files
            .chain(of_orphans)
            .filter(|saved| saved.stream.committed > Offset::ZERO)
    }

    fn is_shipped_to_its_end(&self, id: StreamId) -> bool {
        let is_orphan = self.orphans.iter().any(|orphan| orphan.stream.id == id);
        let original = self.file_of(id);
        !is_orphan && original.is_none_or(|(_, stream)| stream.phase == StreamPhase::Finished)
    }

    /// Whether it is known what was posted of its streams.
    pub(crate) fn is_certain(&self) -> bool {
        let mut streams = self.files.iter().filter_map(TrackedFile::stream);
        !streams.any(TrackedStream::has_unanswered) && self.orphans.iter().all(OrphanStream::is_certain)
    }

    /// The streams with this head of which something is acknowledged, for a relay that may have forgotten them.
    pub(crate) fn acknowledged(&self, head: Head) -> Vec<AcknowledgedStream> {
        let of_files = self.files.iter().filter_map(|file| {
            let stream = file.stream()?;
            Some(stream.acknowledged(file.stat.key, stream.read.offset))
        });
        of_files
            .chain(self.orphans.iter().map(OrphanStream::acknowledged))
            .filter(|known| known.stream.head == head && known.stream.committed > Offset::ZERO)
            .collect()
    }

    /// The compressed files for the checkpoint, so that they are not decompressed at each start; and the copies of files that
    /// were shipped to their ends, because at the next start nothing may be left to compare them with.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = ShippedArchive> + '_ {
        let shipped_in = |file: &TrackedFile<H>| match file.state {
            FileState::Compressed(CompressedState::Shipped { of, .. }) => Some(of),
            FileState::Copy { of, .. } if self.is_shipped_to_its_end(of) => Some(Some(of)),
            _ => None,
        };
        self.files
            .iter()
            .filter_map(move |file| Some(file.as_shipped(&self.name, shipped_in(file)?)))
    }
}

impl<H: FileHandle> TrackedFile<H> {
    pub(super) fn as_shipped(&self, log: &LogName, stream: Option<StreamId>) -> ShippedArchive {
        ShippedArchive {
            stream,
            log: log.clone(),
            path: self.path.display().to_string(),
            stat: self.stat,
            skipped: self.marked().cloned(),
        }
    }
}
