//! What senders ask and report beside their chunks: which streams their files are, and heartbeats.

use std::time::Instant;

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{LedgerError, StreamRecord};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::resolve::{FileQuery, KnownStream, ResolveRequest};

use super::{Committer, ReportKey, SenderReport};
use crate::commit::stream_recovery::restore_streams;

impl<D: Disk, B: AsRef<[u8]>, R> Committer<D, B, R> {
    /// For each file of a query: the durable streams that it may be.
    pub(crate) fn resolve(
        &mut self,
        (source, sender): &ReportKey,
        request: &ResolveRequest,
        now: Timestamp,
    ) -> Result<Vec<Vec<KnownStream>>, LedgerError> {
        self.ledger.note_contact(source, &self.group, now)?;
        self.known_sources.insert(source.clone());
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
        let of_file = |query: &FileQuery| {
            restore_streams(&mut self.ledger, source, query, now)?;
            let records = self.ledger.streams_with_head(source, &query.log, query.head)?;
            Ok(records.into_iter().map(&mut known).collect())
        };
        request.files.iter().map(of_file).collect()
    }

    /// Takes a report, or a part of one. The report counts once all its parts are here.
    pub(crate) fn heartbeat(
        &mut self,
        sender: ReportKey,
        heartbeat: Heartbeat,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let before = self
            .partial_reports
            .remove(&sender)
            .map(|report| report.heartbeat);
        let heartbeat = joined(before, heartbeat);
        if !heartbeat.is_whole() {
            let received_at = Instant::now();
            let report = SenderReport {
                heartbeat,
                received_at,
            };
            self.ledger.note_contact(&sender.0, &self.group, now)?;
            self.partial_reports.insert(sender, report);
            return Ok(());
        }
        self.ledger
            .note_heartbeat(&sender.0, &self.group, &heartbeat, now)?;
        let report = SenderReport {
            heartbeat,
            received_at: Instant::now(),
        };
        self.reports.insert(sender, report);
        Ok(())
    }
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
