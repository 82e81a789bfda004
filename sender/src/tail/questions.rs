//! The questions to the relay which streams new files are, and its answers. One question is open at a time.

use std::time::{Duration, Instant};

use logferry_protocol::resolve::{LedgerId, ResolveResponse};
use logferry_protocol::stream::Head;
use rand::Rng;

use super::{Tailer, count};
use crate::checkpoint::Checkpoint;
use crate::clock::Now;
use crate::error::RequestError;
use crate::files::FileSystem;
use crate::messages::{RelayLedger, RelayRequest};
use crate::tail::log::TailedLog;
use crate::tail::open_question::{HeadQuestion, OpenQuestion};
use crate::tail::tracked_file::close_policy::writer_search;

/// Least time between two questions about streams that are read to their ends. Behind some proxies each request has a new
/// connection.
const IDLE_QUESTION_GAP: Duration = Duration::from_mins(1);

/// The relay's ledger, and when the relay is asked whether it still has what it had acknowledged.
#[derive(Debug)]
pub(super) struct KnownLedger {
    pub(super) id: Option<LedgerId>,
    /// When it was restored last, or 0; `None`: an older relay did not say.
    pub(super) restored: Option<i64>,
    asks_at: Option<Instant>,
    asked_at: Option<Instant>,
}

impl KnownLedger {
    /// The ledger of the checkpoint.
    pub(super) fn new(checkpoint: Option<&Checkpoint>) -> Self {
        Self {
            id: checkpoint.and_then(|saved| saved.ledger),
            restored: checkpoint.and_then(|saved| saved.ledger_restored),
            asks_at: None,
            asked_at: None,
        }
    }

    fn connected(&mut self, now: Instant) {
        let earliest = self.asked_at.map_or(now, |asked| asked + IDLE_QUESTION_GAP);
        self.asks_at.get_or_insert(earliest.max(now));
    }

    fn is_to_ask(&mut self, now: Instant) -> bool {
        let is_due = self.asks_at.take_if(|at| *at <= now).is_some();
        if is_due {
            self.asked_at = Some(now);
        }
        is_due
    }
}

impl<F: FileSystem> Tailer<F> {
    /// The relay has answered on a new connection. It may have been put back from a backup, or replaced.
    pub(super) fn connected(&mut self, ledger: RelayLedger, now: Now) {
        self.ledger.connected(now.instant);
        self.note_ledger(ledger);
        self.ask_again_if_forgotten();
    }

    /// Another ledger that is no rebuilt one has nothing of what was shipped before, and a restored one lacks the last of it. A
    /// rebuilt one has the lines of archives whose streams it does not know: they would come twice.
    fn note_ledger(&mut self, ledger: RelayLedger) {
        let Some(id) = ledger.id else { return };
        let before = (self.ledger.id, self.ledger.restored);
        let is_replaced = before.0.is_some_and(|known| known != id);
        // An older relay in between does not say when the ledger was restored: that is as before.
        let restored = if is_replaced { None } else { before.1 };
        (self.ledger.id, self.ledger.restored) = (Some(id), ledger.restored.or(restored));
        if before == (self.ledger.id, self.ledger.restored) {
            return;
        }
        self.dirty = true;
        let is_restored = before.1.is_some() && ledger.restored.is_some() && before.1 != ledger.restored;
        if (is_replaced || is_restored) && ledger.is_original {
            self.logs.iter_mut().for_each(|log| log.relay_forgot = true);
        }
    }

    fn ask_again_if_forgotten(&mut self) {
        if self.logs.iter().any(|log| log.relay_forgot) {
            self.logs.iter_mut().for_each(TailedLog::ask_again);
        }
    }

    pub(super) fn ask(&mut self, now: Now) -> Option<RelayRequest> {
        if self.asked.is_none() && self.ledger.is_to_ask(now.instant) {
            self.logs.iter_mut().for_each(TailedLog::doubt_drained);
        }
        if let Some(open) = &mut self.asked {
            return open.next_request().map(RelayRequest::Streams);
        }
        let limits = self.read_limits();
        if !self.logs.is_asking(limits, now) {
            return None;
        }
        let questions = self.logs.iter_mut().enumerate();
        let asked: Vec<(usize, Head)> = questions
            .flat_map(|(index, log)| log.questions(now).into_iter().map(move |head| (index, head)))
            .collect();
        let mut open = OpenQuestion::default();
        for (index, head) in asked {
            let Some(log) = self.logs.get(index) else { continue };
            let question = HeadQuestion {
                log: index,
                head,
                names: log.names(),
                acknowledged: log.acknowledged(head),
                files: log.unidentified_files(head),
            };
            if open.add(&question).is_none() {
                break;
            }
        }
        let request = open.next_request()?;
        self.asked = Some(open);
        Some(RelayRequest::Streams(request))
    }

    pub(super) fn resolved(&mut self, result: Result<ResolveResponse, RequestError>, now: Now) {
        let Some(mut asked) = self.asked.take() else {
            return;
        };
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                // Without an answer no new file can be read, whatever the reason.
                self.metrics.retried();
                self.contact.failed(&error, now);
                let jitter = self.jitter.random_range(0.0..1.0);
                return self.retry.failed(&error, now.instant, jitter);
            }
        };
        self.note_ledger(RelayLedger::from(&response));
        self.contact.answered(Some(response.source.clone()));
        self.heartbeat.relay_answered(now);
        // One byte of a chunk may be a newline that the sender adds.
        let allowed = usize::try_from(response.max_chunk).unwrap_or(usize::MAX);
        self.chunk_size.limit(allowed.saturating_sub(1).max(1));
        if !asked.answered(&mut response) {
            self.asked = Some(asked);
            return;
        }
        let answers = asked.into_answers(self.logs.len());
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
        self.ask_again_if_forgotten();
        self.collect_losses(now);
        if self.heartbeat.has_unresolved && self.logs.iter().all(|log| log.unresolved() == 0) {
            // Until the next report the relay takes the lag for unknown.
            self.heartbeat.next = now.instant;
        }
    }
}
