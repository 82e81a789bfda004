//! What senders ask and report beside their chunks, recorded together: after an outage hundreds of senders come back at once,
//! and each transaction of its own would cost a sync.

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_protocol::heartbeat::ReportedGap;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::ResolveRequest;
use tokio::sync::oneshot;

use super::{CommitJob, CommitThread};
use crate::chunk::Moment;
use crate::commit::committer::{FoundStreams, ReportKey};

/// Most of them in one transaction. Rounds wait for its end.
pub(super) const REPORTS_MAX: usize = 64;

/// A job whose change is made, but may not be durable yet.
enum NotedReport {
    /// Whether the change was made. The streams are read when it is durable: not while nobody else can write.
    Resolve(
        ReportKey,
        ResolveRequest,
        oneshot::Sender<Option<FoundStreams>>,
        bool,
    ),
    Recorded(oneshot::Sender<bool>, bool),
}

impl<D: Disk> CommitThread<D> {
    /// Does these jobs, their changes in one transaction, and answers them.
    pub(super) fn record_reports(&mut self, jobs: Vec<CommitJob>) {
        if jobs.is_empty() {
            return;
        }
        let begun = self.committer.ledger.begin_together();
        if self.log_error(begun).is_none() {
            // Each by itself would wait as long for the ledger, and lines would wait for all of them.
            return jobs.into_iter().for_each(refuse);
        }
        let noted: Vec<_> = jobs.into_iter().filter_map(|job| self.note(job)).collect();
        let ended = self.committer.ledger.end_together();
        let are_durable = self.log_error(ended).is_some();
        if !are_durable {
            self.committer.forget_known_sources();
        }
        for report in noted {
            // If nobody receives the answer the client has disconnected.
            match report {
                NotedReport::Resolve(sender, request, reply, is_noted) => {
                    let found = (is_noted && are_durable).then(|| {
                        let now = Timestamp::now();
                        self.committer.find_streams(&sender, &request, now)
                    });
                    drop(reply.send(found.and_then(|found| self.log_error(found))));
                }
                NotedReport::Recorded(reply, is_noted) => drop(reply.send(is_noted && are_durable)),
            }
        }
    }

    fn note(&mut self, job: CommitJob) -> Option<NotedReport> {
        Some(match job {
            CommitJob::Resolve(sender, request, reply) => {
                let noted = self.committer.note_query(&sender.0, Timestamp::now());
                NotedReport::Resolve(sender, request, reply, self.log_error(noted).is_some())
            }
            CommitJob::Heartbeat(sender, heartbeat, record, reply) => {
                log_gaps(&sender.0, &heartbeat.gaps);
                let ledger = &mut self.committer.ledger;
                let recorded = record.map_or(Ok(()), |record| ledger.note_sender(&record));
                let recorded =
                    recorded.and_then(|()| self.committer.heartbeat(sender, *heartbeat, Moment::now()));
                NotedReport::Recorded(reply, self.log_error(recorded).is_some())
            }
            CommitJob::NoteSender(sender, reply) => {
                let recorded = self.committer.ledger.note_sender(&sender);
                NotedReport::Recorded(reply, self.log_error(recorded).is_some())
            }
            CommitJob::Store(..) | CommitJob::Acknowledged(_) | CommitJob::RoundStep => return None,
        })
    }
}

/// Answers a job that is not done. Its client asks or reports again.
fn refuse(job: CommitJob) {
    match job {
        CommitJob::Resolve(_, _, reply) => drop(reply.send(None)),
        CommitJob::Heartbeat(.., reply) | CommitJob::NoteSender(_, reply) => drop(reply.send(false)),
        CommitJob::Store(..) | CommitJob::Acknowledged(_) | CommitJob::RoundStep => {}
    }
}

fn log_gaps(source: &SourceId, gaps: &[ReportedGap]) {
    for gap in gaps.iter().filter(|gap| gap.bytes() > 0) {
        tracing::error!(
            %source, log = %gap.log, stream = %gap.stream, path = gap.path, from = %gap.from, bytes = gap.bytes(),
            "bytes of a log were lost on the sender's host before they were sent; `logferry audit` reports them"
        );
    }
}
