//! What senders ask and report beside their chunks, recorded together: after an outage hundreds of senders come back at once,
//! and each transaction of its own would cost a sync.

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_protocol::heartbeat::ReportedGap;
use logferry_protocol::names::SourceId;
use tokio::sync::oneshot;

use super::{CommitJob, CommitThread};
use crate::chunk::Moment;
use crate::commit::committer::FoundStreams;

/// Most of them in one transaction. Rounds wait for its end.
pub(super) const REPORTS_MAX: usize = 64;

/// An answer that is due when the changes are durable.
enum ReportAnswer {
    Found(oneshot::Sender<Option<FoundStreams>>, Option<FoundStreams>),
    Recorded(oneshot::Sender<bool>, bool),
}

impl<D: Disk> CommitThread<D> {
    /// Does these jobs, in one transaction if there are several, and answers them.
    pub(super) fn record_reports(&mut self, jobs: Vec<CommitJob>) {
        // If none can be begun, each has its own, which tells what is wrong.
        let are_together = jobs.len() > 1 && self.committer.ledger.begin_together().is_ok();
        let answers: Vec<_> = jobs.into_iter().filter_map(|job| self.record(job)).collect();
        let mut are_durable = true;
        if are_together {
            let ended = self.committer.ledger.end_together();
            are_durable = self.log_error(ended).is_some();
        }
        if !are_durable {
            self.committer.forget_known_sources();
        }
        for answer in answers {
            // If nobody receives it the client has disconnected.
            match answer {
                ReportAnswer::Found(reply, found) => drop(reply.send(found.filter(|_| are_durable))),
                ReportAnswer::Recorded(reply, recorded) => drop(reply.send(recorded && are_durable)),
            }
        }
    }

    fn record(&mut self, job: CommitJob) -> Option<ReportAnswer> {
        Some(match job {
            CommitJob::Resolve(sender, request, reply) => {
                let known = self.committer.resolve(&sender, &request, Timestamp::now());
                ReportAnswer::Found(reply, self.log_error(known))
            }
            CommitJob::Heartbeat(sender, heartbeat, reply) => {
                log_gaps(&sender.0, &heartbeat.gaps);
                let recorded = self.committer.heartbeat(sender, *heartbeat, Moment::now());
                ReportAnswer::Recorded(reply, self.log_error(recorded).is_some())
            }
            CommitJob::NoteSender(sender, reply) => {
                let recorded = self.committer.ledger.note_sender(&sender);
                ReportAnswer::Recorded(reply, self.log_error(recorded).is_some())
            }
            CommitJob::Store(..) | CommitJob::Acknowledged(_) | CommitJob::RoundStep => return None,
        })
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
