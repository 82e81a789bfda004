//! The questions to the relay which streams new files are, and its answers. One question is open at a time.

use logferry_protocol::resolve::{FileQuery, MAX_QUERIES, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::Head;
use rand::Rng;

use super::{Tailer, count};
use crate::clock::Now;
use crate::error::RequestError;
use crate::files::FileSystem;
use crate::messages::RelayRequest;
use crate::tail::log::TailedLog;
use crate::tail::log::resolve::ResolvedHead;
use crate::tail::tracked_file::close_policy::writer_search;

impl<F: FileSystem> Tailer<F> {
    pub(super) fn ask(&mut self, now: Now) -> Option<RelayRequest> {
        let limits = self.read_limits();
        if self.asked.is_some() || !self.logs.is_asking(limits, now) {
            return None;
        }
        let questions = self.logs.iter_mut().enumerate();
        let asked: Vec<(usize, Head)> = questions
            .flat_map(|(index, log)| log.questions(now).into_iter().map(move |head| (index, head)))
            .collect();
        if asked.is_empty() {
            return None;
        }
        let mut request = ResolveRequest { files: Vec::new() };
        let mut asked = asked;
        let mut fitting = 0;
        for &(index, head) in &asked {
            let log = &self.logs[index];
            let queries = log.names().into_iter().map(|name| FileQuery {
                log: name,
                head,
                acknowledged: Some(log.acknowledged(head)),
                files: log.unidentified_files(head),
            });
            let queries: Vec<FileQuery> = queries.collect();
            if request.files.len() + queries.len() > MAX_QUERIES {
                break;
            }
            request.files.extend(queries);
            fitting += 1;
        }
        asked.truncate(fitting);
        self.asked = Some(asked);
        Some(RelayRequest::Streams(request))
    }

    pub(super) fn resolved(&mut self, result: Result<ResolveResponse, RequestError>, now: Now) {
        let Some(asked) = self.asked.take() else { return };
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                // Without an answer no new file can be read, whatever the reason.
                self.metrics.retried();
                self.contact.failed(&error, now);
                let jitter = self.jitter.random_range(0.0..1.0);
                return self.retry.failed(&error, now.instant, jitter);
            }
        };
        self.contact.answered(Some(response.source));
        self.heartbeat.relay_answered(now);
        // One byte of a chunk may be a newline that the sender adds.
        let allowed = usize::try_from(response.max_chunk).unwrap_or(usize::MAX);
        self.chunk_size.limit(allowed.saturating_sub(1).max(1));
        let mut answers: Vec<Vec<ResolvedHead>> = self.logs.iter().map(|_| Vec::new()).collect();
        let mut candidates = response.candidates.into_iter();
        // Older relays do not send these.
        let mut of_other_logs = response.of_other_logs.into_iter();
        for (index, head) in asked {
            let names = self.logs[index].names().len();
            answers[index].push(ResolvedHead {
                head,
                streams: candidates.by_ref().take(names).flatten().collect(),
                of_other_logs: of_other_logs.by_ref().take(names).flatten().collect(),
            });
        }
        // A file may have been copied and truncated since the question: its copy must be found before it is read.
        self.scan(now);
        let writers = writer_search(&self.files);
        for (log, answers) in self.logs.iter_mut().zip(&answers) {
            if !answers.is_empty() {
                log.measure(&writers, now);
                count(&self.metrics, log.resolved(answers, now));
                self.dirty = true;
            }
        }
        drop(writers);
        if self.logs.iter().any(|log| log.relay_forgot) {
            self.logs.iter_mut().for_each(TailedLog::ask_again);
        }
        self.collect_losses(now);
        if self.heartbeat.has_unresolved && self.logs.iter().all(|log| log.unresolved() == 0) {
            // Until the next report the relay takes the lag for unknown.
            self.heartbeat.next = now.instant;
        }
    }
}
