//! What senders ask and report beside their chunks: which streams their files are, and heartbeats.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{Ledger, LedgerError, SENDERS_KEPT, StreamRecord};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{FileQuery, KnownStream, ResolveRequest};
use logferry_protocol::stream::StreamId;

use super::{Committer, ReportKey, SenderReport};
use crate::chunk::Moment;
use crate::commit::stream_recovery::restore_streams;

/// Most streams that are searched for one query by the ids that the sender knows, and most files.
const ASKED_FOR_MAX: usize = 200;

/// Most streams of equal heads in one answer, each with some 300 bytes. A sender reads 16 MiB. The streams that it knows, and those
/// of its files, come in any case.
const ANSWERED_MAX: usize = 40_000;

/// So many streams each query gets in any case, if it has them; a request has a thousand queries at most.
const LISTED_MIN: usize = 20;

/// For each file of a query, the durable streams that it may be.
#[derive(Debug, Default)]
pub(crate) struct FoundStreams {
    pub(crate) candidates: Vec<Vec<KnownStream>>,
    /// Those under the names of other logs.
    pub(crate) of_other_logs: Vec<Vec<KnownStream>>,
}

impl<D: Disk, R> Committer<D, R> {
    /// The ledger has not recorded what it was told last. Sources are noted again.
    pub(crate) fn forget_known_sources(&mut self) {
        self.known_sources.clear();
    }

    /// Notes that a sender asks. The answer is read with [`Self::find_streams`], once this is durable.
    pub(crate) fn note_query(&mut self, source: &SourceId, now: Timestamp) -> Result<(), LedgerError> {
        self.ledger.note_contact(source, &self.group, now)?;
        self.known_sources.insert(source.clone());
        Ok(())
    }

    /// The durable streams that the files of a query may be. It may be a thousand files, so this is not for a transaction of
    /// others, nor for one that holds up those who write.
    pub(crate) fn find_streams(
        &mut self,
        (source, sender): &ReportKey,
        request: &ResolveRequest,
        now: Timestamp,
    ) -> Result<FoundStreams, LedgerError> {
        let mut known = |record: StreamRecord| {
            let key = (record.source.clone(), record.stream);
            self.known_ends.note(key, record.committed, *sender);
            KnownStream {
                stream: record.stream,
                file: record.file,
                head: record.head,
                committed: record.committed,
                tail: record.tail,
                by_other: record.writer.is_some() && record.writer != *sender,
            }
        };
        let mut found = FoundStreams::default();
        let is_listed = |query: &&FileQuery| !query.is_continued;
        let (mut left, mut queries) = (ANSWERED_MAX, request.files.iter().filter(is_listed).count());
        for query in &request.files {
            restore_streams(&mut self.ledger, source, query, now)?;
            let mut records = Vec::new();
            if !query.is_continued {
                // Most heads are of one stream. A head that many files have gets what the others leave.
                queries -= 1;
                let newest = left.saturating_sub(LISTED_MIN * queries);
                records = self
                    .ledger
                    .streams_with_head(source, &query.log, query.head, newest)?;
                left -= records.len();
            }
            let asked = streams_asked_for(&self.ledger, source, query)?;
            let (own, of_other_logs): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|record| record.log == query.log);
            let listed: HashSet<StreamId> = records.iter().map(|record| record.stream).collect();
            records.extend(own.into_iter().filter(|record| !listed.contains(&record.stream)));
            found
                .candidates
                .push(records.into_iter().map(&mut known).collect());
            found
                .of_other_logs
                .push(of_other_logs.into_iter().map(&mut known).collect());
        }
        Ok(found)
    }

    /// Takes a report, or a part of one. The report counts once all its parts are here.
    pub(crate) fn heartbeat(
        &mut self,
        sender: ReportKey,
        heartbeat: Heartbeat,
        now: Moment,
    ) -> Result<(), LedgerError> {
        let before = self
            .partial_reports
            .remove(&sender)
            .map(|report| report.heartbeat);
        let heartbeat = joined(before, heartbeat);
        let received_at = now.steady;
        if !heartbeat.is_whole() {
            let report = SenderReport {
                heartbeat,
                received_at,
            };
            self.ledger.note_contact(&sender.0, &self.group, now.wall)?;
            keep(&mut self.partial_reports, sender, report);
            return Ok(());
        }
        self.ledger
            .note_report((&sender.0, sender.1), &self.group, &heartbeat, now.wall)?;
        let report = SenderReport {
            heartbeat,
            received_at,
        };
        keep(&mut self.reports, sender, report);
        Ok(())
    }
}

/// Keeps a report in place of the one before. Of a source with too many senders the oldest report goes: a host that names
/// itself anew each time must not take all memory.
fn keep(reports: &mut HashMap<ReportKey, SenderReport>, sender: ReportKey, report: SenderReport) {
    if !reports.contains_key(&sender) {
        let of_source = || reports.iter().filter(|((source, _), _)| *source == sender.0);
        if of_source().count() >= SENDERS_KEPT as usize {
            let oldest = of_source().min_by_key(|(_, report)| report.received_at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                reports.remove(&oldest);
            }
        }
    }
    reports.insert(sender, report);
}

/// The parts of a report that have come so far.
fn joined(before: Option<Heartbeat>, mut part: Heartbeat) -> Heartbeat {
    let Some(number) = part.part.map(|part| part.number) else {
        return part;
    };
    if let Some(before) = before {
        match before.join(part) {
            Ok(joined) => return joined,
            Err(other) => part = *other,
        }
    }
    if number > 1 {
        // The relay has started in between. The lag of the streams in the parts before is not known.
        part.unresolved_files = part.unresolved_files.saturating_add(1);
    }
    part
}

/// The streams of a query whose ids the sender knows, or that its files would get: of this log, or of another one, which the log
/// may have been before.
fn streams_asked_for(
    ledger: &Ledger,
    source: &SourceId,
    query: &FileQuery,
) -> Result<Vec<StreamRecord>, LedgerError> {
    let mut found: Vec<StreamRecord> = Vec::new();
    let mut add = |stream: StreamId| {
        let record = ledger.stream(source, stream)?;
        let is_known = record.is_some();
        let is_alike = |record: &StreamRecord| record.head == query.head;
        if let Some(record) = record.filter(is_alike)
            && !found.iter().any(|other| other.stream == stream)
        {
            found.push(record);
        }
        Ok::<_, LedgerError>(is_known)
    };
    let remembered = query.acknowledged.iter().flatten();
    for known in remembered.take(ASKED_FOR_MAX) {
        add(known.stream.stream)?;
    }
    for &key in query.files.iter().take(ASKED_FOR_MAX) {
        // The sender counts the generations up in the same way.
        for generation in 0..u32::try_from(ASKED_FOR_MAX).unwrap_or(u32::MAX) {
            if !add(StreamId::derive(key, query.head, generation))? {
                break;
            }
        }
    }
    Ok(found)
}
