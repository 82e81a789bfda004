//! Continuing streams in a ledger that was rebuilt from the spool.
//!
//! Such a ledger has the lines but not their streams. Each sender knows the acknowledged offset of its streams, and every
//! acknowledged line is in the spool, so a stream continues from there: nothing is lost. Lines that are stored beyond
//! that offset, from chunks whose replies were lost, would come twice. There are certainly none if
//!
//! - the sender never posted more, or it was acknowledged that the stream ends there; or
//! - the source's last written file ends with the bytes before the acknowledged offset.
//!
//! A sender that was started again knows what was posted from its state folder alone. If the sender before it did not stop in order,
//! or the spool has windows that began after it stopped (the folder was put back from a copy), more may have been posted, and
//! nobody knows how much.
//!
//! "Certainly" means: as certain as a file is recognised by a KiB of its bytes. If that file ends where a posted,
//! unanswered chunk ends, that chunk is stored, and the stream continues after it. Otherwise the ledger records the bytes
//! that may come twice, and `logferry audit` reports them. So it does with a stream of which the sender knows nothing, if that begins with
//! lines of windows from before the rebuild: the sender may have lost its state folder.

use jiff::Timestamp;
use logferry_ledger::{DuplicatesEnd, Ledger, LedgerError, StreamRecord};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{AcknowledgedStream, FileQuery, StreamPosition};
use logferry_protocol::stream::{FINGERPRINT_SPAN, Tail};

/// Most streams that are restored for one query. Few files begin alike: logs that were truncated and started again.
const RESTORED_MAX: usize = 100;

/// The position where a stream continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ResumePoint {
    at: StreamPosition,
    /// The bytes from there to this end may be in the spool already.
    doubt: Option<DuplicatesEnd>,
}

/// What the spool told of a source when the ledger was rebuilt.
#[derive(Debug, Clone, Copy)]
struct SpooledSource<'a> {
    /// The end of its last file, if that is certain.
    end: Option<&'a [u8]>,
    /// First second of its newest window.
    newest_window: Option<i64>,
}

/// Decides where a stream continues. Pure.
fn resume_point(known: &AcknowledgedStream, spooled: SpooledSource<'_>) -> ResumePoint {
    let acknowledged = StreamPosition {
        offset: known.stream.committed,
        tail: known.stream.tail,
    };
    let certain = |at| ResumePoint { at, doubt: None };
    // The lines of a source without files are not in the spool.
    let outdated = known
        .certain_until
        .and_then(|until| spooled.newest_window.filter(|newest| until < *newest));
    if known.finished || known.sent_until <= acknowledged.offset && outdated.is_none() {
        return certain(acknowledged);
    }
    let is_end =
        |tail: Tail| tail.0.len() == FINGERPRINT_SPAN && spooled.end.is_some_and(|end| tail.matches(end));
    let ends = std::iter::once(&acknowledged).chain(&known.unanswered);
    let is_possible =
        |at: &&StreamPosition| acknowledged.offset <= at.offset && at.offset <= known.sent_until;
    match ends.filter(is_possible).find(|at| is_end(at.tail)) {
        Some(at) => certain(*at),
        None => ResumePoint {
            at: acknowledged,
            doubt: Some(outdated.map_or(DuplicatesEnd::At(known.sent_until), DuplicatesEnd::AfterWindow)),
        },
    }
}

/// Restores the streams of a query that a rebuilt ledger does not have. Other ledgers are left unchanged.
pub(crate) fn restore_streams(
    ledger: &mut Ledger,
    source: &SourceId,
    query: &FileQuery,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let known = query.acknowledged.as_deref().unwrap_or_default();
    if known.is_empty() || ledger.rebuilt_at()?.is_none() {
        return Ok(());
    }
    let (end, newest_window) = (ledger.source_end(source)?, ledger.newest_rebuilt_window(source)?);
    let mut restored = Vec::new();
    for known in known.iter().take(RESTORED_MAX) {
        let is_known = ledger.stream(source, known.stream.stream)?.is_some();
        if known.stream.head != query.head || is_known {
            continue;
        }
        let spooled = SpooledSource {
            end: end.as_ref().map(|end| &end.bytes[..]),
            newest_window,
        };
        let resume = resume_point(known, spooled);
        resume.log(source, query, known);
        let record = StreamRecord {
            source: source.clone(),
            stream: known.stream.stream,
            log: query.log.clone(),
            file: known.stream.file,
            head: known.stream.head,
            committed: resume.at.offset,
            tail: resume.at.tail,
            // The lines in the spool were counted when the ledger was rebuilt.
            lines: LineCounts::default(),
            last_window: end.as_ref().map(|end| end.window),
            last_line_time: None,
            timed_at: now,
            open_line_in: None,
            writer: None,
            finished: known.finished,
            updated_at: now,
        };
        restored.push((record, resume.doubt));
    }
    if restored.is_empty() {
        return Ok(());
    }
    ledger.recover_streams(&restored)
}

impl ResumePoint {
    fn log(self, source: &SourceId, query: &FileQuery, known: &AcknowledgedStream) {
        let (log, stream, offset) = (&query.log, known.stream.stream, self.at.offset);
        match self.doubt {
            None => tracing::info!(
                %source, %log, %stream, %offset,
                "a stream that the rebuilt ledger did not have continues at its last stored byte"
            ),
            Some(DuplicatesEnd::At(until)) => tracing::warn!(
                %source, %log, %stream, %offset, %until,
                "a stream that the rebuilt ledger did not have continues at its acknowledged offset; lines that were \
                 stored between `offset` and `until` come twice, `logferry audit` reports them"
            ),
            Some(DuplicatesEnd::AfterWindow(_)) => tracing::warn!(
                %source, %log, %stream, %offset,
                "a stream that the rebuilt ledger did not have continues at its acknowledged offset, and its sender, which was \
                 started again, does not know what was posted after that; lines that were stored come twice, `logferry audit` \
                 reports those that may"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_protocol::resolve::KnownStream;
    use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

    use super::*;

    const NEWEST_WINDOW: i64 = 1_790_000_400;

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
                by_other: false,
            },
            unanswered: unanswered.iter().copied().map(at).collect(),
            sent_until: at(sent_until).offset,
            finished: false,
            certain_until: None,
        }
    }

    fn spooled(end: Option<&[u8]>) -> SpooledSource<'_> {
        SpooledSource {
            end,
            newest_window: Some(NEWEST_WINDOW),
        }
    }

    /// Where a stream continues if the source's last file ends with this many bytes of the log.
    fn resume(acked: usize, unanswered: &[usize], sent_until: usize, end: Option<usize>) -> ResumePoint {
        let log = log();
        resume_point(
            &known(acked, unanswered, sent_until),
            spooled(end.map(|end| &log[..end])),
        )
    }

    fn certain(offset: usize) -> ResumePoint {
        ResumePoint {
            at: at(offset),
            doubt: None,
        }
    }

    #[test]
    fn a_stream_without_further_posts_continues_for_certain() {
        assert_eq!(resume(50, &[], 50, None), certain(50));
        let finished = AcknowledgedStream {
            finished: true,
            ..known(50, &[], 70)
        };
        assert_eq!(resume_point(&finished, spooled(None)), certain(50));
    }

    #[test]
    fn a_stream_continues_where_the_last_file_ends() {
        assert_eq!(resume(1200, &[1300], 1300, Some(1200)), certain(1200));
        assert_eq!(resume(1200, &[1300, 1400], 1400, Some(1300)), certain(1300));
    }

    #[test]
    fn a_stream_that_does_not_end_with_the_last_file_may_have_duplicates() {
        let uncertain = ResumePoint {
            at: at(1200),
            doubt: Some(DuplicatesEnd::At(Offset::new(1300))),
        };
        assert_eq!(resume(1200, &[1300], 1300, None), uncertain);
        assert_eq!(resume(1200, &[1300], 1300, Some(1250)), uncertain);
        // A few bytes could occur anywhere.
        let few = resume(50, &[], 70, Some(50));
        assert_eq!(few.doubt, Some(DuplicatesEnd::At(Offset::new(70))));
    }

    #[test]
    fn a_sender_that_was_started_again_knows_what_was_posted_only_if_it_stopped_after_the_newest_window_began()
     {
        let log = log();
        let of_state = |certain_until| AcknowledgedStream {
            certain_until: Some(certain_until),
            ..known(1200, &[], 1200)
        };
        let uncertain = ResumePoint {
            at: at(1200),
            doubt: Some(DuplicatesEnd::AfterWindow(NEWEST_WINDOW)),
        };
        for (certain_until, expected) in [
            (0, uncertain),
            (NEWEST_WINDOW - 1, uncertain),
            (NEWEST_WINDOW, certain(1200)),
        ] {
            let known = of_state(certain_until);
            assert_eq!(resume_point(&known, spooled(None)), expected, "{certain_until}");
            // What the spool shows is certain all the same.
            assert_eq!(resume_point(&known, spooled(Some(&log[..1200]))), certain(1200));
            let nothing = SpooledSource {
                end: None,
                newest_window: None,
            };
            assert_eq!(
                resume_point(&known, nothing),
                certain(1200),
                "no line is stored twice where none is"
            );
        }
    }

    #[test]
    fn a_position_that_was_never_posted_is_ignored() {
        let beyond = resume(1200, &[1400], 1300, Some(1400));
        assert_eq!(beyond.at, at(1200));
    }
}
