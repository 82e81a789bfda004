//! The first bytes of a file that its own stream leaves out, in an empty chunk.

use logferry_protocol::stream::Offset;

use crate::checkpoint::SkippedStart;
use crate::files::FileHandle;
use crate::streams::orphan::OrphanStream;
use crate::tail::tracked_file::TrackedFile;

#[derive(Debug)]
pub(crate) enum LeftOut {
    /// The bytes before a mark: those of `start: end`, those that another shipper has shipped, or known lines.
    Marked(SkippedStart),
    /// They were shipped in this stream, before another sender wrote to it.
    Parted(Box<OrphanStream>),
}

impl LeftOut {
    pub(crate) fn end(&self) -> Offset {
        match self {
            Self::Marked(mark) => mark.end,
            Self::Parted(parted) => parted.stream.acked.offset,
        }
    }

    /// Whether the end may be inside a line.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Self::Marked(mark) if mark.exact)
    }
}

impl<H: FileHandle> TrackedFile<H> {
    pub(crate) fn marked(&self) -> Option<&SkippedStart> {
        match &self.left_out {
            Some(LeftOut::Marked(mark)) => Some(mark),
            _ => None,
        }
    }

    pub(crate) fn marked_mut(&mut self) -> Option<&mut SkippedStart> {
        match &mut self.left_out {
            Some(LeftOut::Marked(mark)) => Some(mark),
            _ => None,
        }
    }

    pub(crate) fn take_mark(&mut self) -> Option<SkippedStart> {
        let is_marked = |left_out: &mut LeftOut| matches!(left_out, LeftOut::Marked(_));
        match self.left_out.take_if(is_marked)? {
            LeftOut::Marked(mark) => Some(mark),
            LeftOut::Parted(_) => None,
        }
    }

    /// Takes the mark whose use the relay has acknowledged. It goes with the stream, and not to another file that begins alike.
    pub(super) fn take_used_mark(&mut self) -> Option<SkippedStart> {
        let is_used = self.acked() > Offset::ZERO;
        is_used.then(|| self.take_mark()).flatten()
    }

    pub(crate) fn take_parted(&mut self) -> Option<OrphanStream> {
        let is_parted = |left_out: &mut LeftOut| matches!(left_out, LeftOut::Parted(_));
        match self.left_out.take_if(is_parted)? {
            LeftOut::Parted(parted) => Some(*parted),
            LeftOut::Marked(_) => None,
        }
    }

    /// The relay has the chunk that leaves the bytes out. If it forgets them, it gets again those that it had from this sender. It
    /// never gets those of `start: end` and of a takeover.
    pub(crate) fn left_out_acked(&mut self) {
        let mark = match self.left_out.take() {
            Some(LeftOut::Marked(mark)) => Some(mark),
            Some(LeftOut::Parted(parted)) => parted.mark,
            None => None,
        };
        self.left_out = mark.filter(|mark| !mark.known).map(LeftOut::Marked);
    }
}
