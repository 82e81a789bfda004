//! Streams go on in a ledger that was made anew from the spool.
//!
//! Such a ledger has the lines and not the streams that brought them. Each sender knows how far its streams are
//! acknowledged, and every acknowledged line is here, so a stream goes on from there: nothing is lost. What may be here
//! beyond that, of chunks whose answers were lost, would come twice. It is certain that there is none if
//!
//! - the sender never posted more, or it was acknowledged that the stream is at its end; or
//! - the file that was written last of all the source's ends with the very bytes that end where the stream stands.
//!
//! As certain, that is, as a file is recognised: by a KiB of it. If that file ends where a chunk ends that was posted and
//! not answered, the chunk is here, and the stream goes on from there. Else the ledger keeps what may come twice, and
//! `logferry audit` tells it.

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{LedgerError, StreamRecord};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{AcknowledgedStream, FileQuery, StreamPosition};
use logferry_protocol::stream::{FINGERPRINT_SPAN, Offset, Tail};

use crate::committer::Committer;

/// Most streams that are taken over for one question. Few begin alike: logs that were truncated and begun anew.
const ALIKE_MAX: usize = 100;

/// Where a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: StreamPosition,
    /// Bytes from there up to here may be in the spool already.
    doubt_until: Option<Offset>,
}

/// Judges what a sender says of a stream; `end` is how the last of the source's files ends. Pure.
fn judge(known: &AcknowledgedStream, end: Option<&[u8]>) -> Place {
    let acknowledged = StreamPosition {
        offset: known.stream.committed,
        tail: known.stream.tail,
    };
    let certain = |at| Place {
        at,
        doubt_until: None,
    };
    if known.finished || known.sent_until <= acknowledged.offset {
        return certain(acknowledged);
    }
    let is_end = |tail: Tail| tail.0.len() == FINGERPRINT_SPAN && end.is_some_and(|end| tail.matches(end));
    let ends = std::iter::once(&acknowledged).chain(&known.unanswered);
    let is_possible =
        |at: &&StreamPosition| acknowledged.offset <= at.offset && at.offset <= known.sent_until;
    match ends.filter(is_possible).find(|at| is_end(at.tail)) {
        Some(at) => certain(*at),
        None => Place {
            at: acknowledged,
            doubt_until: Some(known.sent_until),
        },
    }
}

impl<D: Disk, B: AsRef<[u8]>, T> Committer<D, B, T> {
    /// Takes over the streams of a question that the ledger has forgotten, if it is one that was made anew.
    pub(crate) fn adopt(
        &mut self,
        source: &SourceId,
        query: &FileQuery,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let known = query.acknowledged.as_deref().unwrap_or_default();
        if known.is_empty() || self.ledger.rebuilt_at()?.is_none() {
            return Ok(());
        }
        let end = self.ledger.source_end(source)?;
        let mut adopted = Vec::new();
        for known in known.iter().take(ALIKE_MAX) {
            let is_known = self.ledger.stream(source, known.stream.stream)?.is_some();
            if known.stream.head != query.head || is_known {
                continue;
            }
            let place = judge(known, end.as_ref().map(|end| &end.bytes[..]));
            place.tell(source, query, known);
            let record = StreamRecord {
                source: source.clone(),
                stream: known.stream.stream,
                log: query.log.clone(),
                file: known.stream.file,
                head: known.stream.head,
                committed: place.at.offset,
                tail: place.at.tail,
                // Those that are here are counted with the ledger.
                lines: LineCounts::default(),
                last_window: end.as_ref().map(|end| end.window),
                last_line_time: None,
                open_line_in: None,
                finished: known.finished,
                updated_at: now,
            };
            adopted.push((record, place.doubt_until));
        }
        if adopted.is_empty() {
            return Ok(());
        }
        self.ledger.recover_streams(&adopted)
    }
}

impl Place {
    fn tell(self, source: &SourceId, query: &FileQuery, known: &AcknowledgedStream) {
        let (log, stream, offset) = (&query.log, known.stream.stream, self.at.offset);
        match self.doubt_until {
            None => tracing::info!(
                %source, %log, %stream, %offset,
                "a stream that the ledger had forgotten goes on where it stood"
            ),
            Some(until) => tracing::warn!(
                %source, %log, %stream, %offset, %until,
                "a stream that the ledger had forgotten goes on where it was acknowledged; what was stored beyond \
                 that, if anything, comes twice"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_protocol::resolve::KnownStream;
    use logferry_protocol::stream::{FileKey, Head, StreamId};

    use super::*;

    /// A log of lines that all differ.
    fn log() -> Vec<u8> {
        (0..200)
            .flat_map(|number| format!("line {number}\n").into_bytes())
            .collect()
    }

    fn at(offset: usize) -> StreamPosition {
        StreamPosition {
            offset: Offset::new(offset as u64),
            tail: Tail::of(&log()[..offset]),
        }
    }

    fn known(acked: usize, unanswered: &[usize], sent_until: usize) -> AcknowledgedStream {
        let (file, head) = (FileKey { dev: 1, inode: 2 }, Head::of(&log()).expect("lines"));
        AcknowledgedStream {
            stream: KnownStream {
                stream: StreamId::derive(file, head, 0),
                file,
                head,
                committed: at(acked).offset,
                tail: at(acked).tail,
            },
            unanswered: unanswered.iter().copied().map(at).collect(),
            sent_until: at(sent_until).offset,
            finished: false,
        }
    }

    fn certain(offset: usize) -> Place {
        Place {
            at: at(offset),
            doubt_until: None,
        }
    }

    #[test]
    fn stream_of_which_nothing_more_was_posted_goes_on_for_certain() {
        assert_eq!(judge(&known(50, &[], 50), None), certain(50));
        let finished = AcknowledgedStream {
            finished: true,
            ..known(50, &[], 70)
        };
        assert_eq!(judge(&finished, None), certain(50));
    }

    #[test]
    fn stream_goes_on_where_the_last_file_ends() {
        let log = log();
        assert_eq!(
            judge(&known(1200, &[1300], 1300), Some(&log[..1200])),
            certain(1200)
        );
        assert_eq!(
            judge(&known(1200, &[1300, 1400], 1400), Some(&log[..1300])),
            certain(1300)
        );
    }

    #[test]
    fn stream_whose_end_is_not_the_last_files_is_in_doubt() {
        let log = log();
        let doubt = Place {
            at: at(1200),
            doubt_until: Some(Offset::new(1300)),
        };
        assert_eq!(judge(&known(1200, &[1300], 1300), None), doubt);
        assert_eq!(judge(&known(1200, &[1300], 1300), Some(&log[..1250])), doubt);
        // A few bytes could stand anywhere.
        let few = judge(&known(50, &[], 70), Some(&log[..50]));
        assert_eq!(few.doubt_until, Some(Offset::new(70)));
    }

    #[test]
    fn place_that_was_never_posted_is_not_believed() {
        let log = log();
        let beyond = judge(&known(1200, &[1400], 1300), Some(&log[..1400]));
        assert_eq!(beyond.at, at(1200));
    }
}
