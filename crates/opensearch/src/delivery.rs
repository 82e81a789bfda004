//! Sends a set of documents until each is done: which to send next, how long to wait, what an answer means. Pure.
//!
//! Invariants:
//! - A document is done when its own answer says so: stored (201), there already (409), or refused for itself (see
//!   [`verdict`]). It is done once.
//! - A document that is too large alone (413) is refused only if the index has not got it: an earlier request, whose answer was
//!   lost, may have stored it.
//! - All that are not done are sent again, alone: as long as it takes.

use std::time::Duration;

use logferry_config::Backoff;

use crate::bulk_answer::{BulkAnswer, DocumentAnswer, ItemAnswer};
use crate::error::advice;

/// The longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// Errors with status 400 of the index or the cluster, which say nothing of the document.
const WAITING_KINDS: [&str; 4] = [
    "validation_exception",
    "index_closed_exception",
    "cluster_block_exception",
    "invalid_index_name_exception",
];

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkStep {
    /// Send these documents, by their numbers in the set.
    Send(Vec<usize>),
    /// Ask whether its index has this document, by its number in the set.
    Ask(usize),
    /// Wait, then ask again.
    Wait {
        /// How long.
        time: Duration,
        /// Why, for people.
        reason: String,
    },
    /// All are done.
    Done,
}

/// A document that the server does not want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedItem {
    /// Its number in the set.
    pub number: usize,
    /// Its HTTP status.
    pub status: u16,
    /// The server's reason.
    pub reason: String,
}

/// What became of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkCounts {
    /// Documents that were stored now.
    pub stored: u64,
    /// Documents that were there already.
    pub repeated: u64,
    /// Documents that the server does not want.
    pub refused: Vec<RefusedItem>,
}

/// A document of the set.
#[derive(Debug)]
struct PendingItem {
    id: String,
    bytes: usize,
}

/// Sends one set of documents after the other.
#[derive(Debug)]
pub struct BulkDelivery {
    backoff: Backoff,
    /// Most bytes of a request. It gets smaller when the server says that a request is too large.
    max_bytes: usize,
    items: Vec<PendingItem>,
    /// Numbers of the documents that are not done, in order.
    todo: Vec<usize>,
    /// Numbers of those that are being sent.
    sent: Vec<usize>,
    /// Numbers of those that are too large alone, and may be in the index all the same.
    too_large: Vec<usize>,
    /// Attempts without any progress, one after the other.
    failures: u32,
    waiting: Option<(Duration, String)>,
    counts: BulkCounts,
}

/// What the answer of a document means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemVerdict {
    Stored,
    Repeated,
    Again,
    TooLarge,
    Refused,
}

impl BulkDelivery {
    /// Sends requests of at most `max_bytes`, unless one document has more.
    pub fn new(max_bytes: usize, backoff: Backoff) -> Self {
        Self {
            backoff,
            max_bytes,
            items: Vec::new(),
            todo: Vec::new(),
            sent: Vec::new(),
            too_large: Vec::new(),
            failures: 0,
            waiting: None,
            counts: BulkCounts::default(),
        }
    }

    /// Adds a document to the set: its id, and its bytes in a request.
    pub fn add(&mut self, id: String, bytes: usize) {
        self.todo.push(self.items.len());
        self.items.push(PendingItem { id, bytes });
    }

    /// The next step. It is the same until [`Self::answered`], [`Self::asked`] or [`Self::waited`].
    pub fn step(&mut self) -> BulkStep {
        if let Some((time, reason)) = &self.waiting {
            return BulkStep::Wait {
                time: *time,
                reason: reason.clone(),
            };
        }
        if let Some(number) = self.too_large.last() {
            return BulkStep::Ask(*number);
        }
        let mut bytes = 0;
        let fits = |number: &&usize| {
            let is_first = bytes == 0;
            bytes += self.items.get(**number).map_or(0, |item| item.bytes);
            is_first || bytes <= self.max_bytes
        };
        self.sent = self.todo.iter().take_while(fits).copied().collect();
        if self.sent.is_empty() {
            return BulkStep::Done;
        }
        BulkStep::Send(self.sent.clone())
    }

    /// The wait is over.
    pub fn waited(&mut self) {
        self.waiting = None;
    }

    /// What became of the request.
    pub fn answered(&mut self, answer: BulkAnswer) {
        match answer {
            BulkAnswer::Items(items) if self.is_of_request(&items) => self.take_items(&items),
            BulkAnswer::Items(_) => self.again("the answer is not that of the request".to_owned(), None),
            BulkAnswer::Refused { status: 413, .. } | BulkAnswer::TooLong => self.split(),
            BulkAnswer::Refused {
                status,
                retry_after,
                reason,
            } => {
                let reason = format!("it answers with status {status}: {reason}{}", advice(status));
                self.again(reason, retry_after);
            }
            BulkAnswer::Lost { reason } => self.again(reason, None),
        }
    }

    /// Whether the index has the document of [`BulkStep::Ask`].
    pub fn asked(&mut self, answer: DocumentAnswer) {
        const REASON: &str = "the document alone is too large for the server";
        if let DocumentAnswer::Lost { reason } = answer {
            self.again(reason, None);
            return;
        }
        let Some(number) = self.too_large.pop() else {
            return;
        };
        self.failures = 0;
        match answer {
            DocumentAnswer::There => self.counts.repeated += 1,
            // To wait for the right would hold up all other lines.
            DocumentAnswer::Forbidden => {
                let unknown = "whether the index has it is not known, because the user of indexer.opensearch may not read";
                self.refuse(number, 413, format!("{REASON}; {unknown}"));
            }
            DocumentAnswer::Absent | DocumentAnswer::Lost { .. } => {
                self.refuse(number, 413, REASON.to_owned());
            }
        }
    }

    /// What became of the set, once all are done. The next set begins.
    pub fn take_counts(&mut self) -> BulkCounts {
        self.items.clear();
        std::mem::take(&mut self.counts)
    }

    fn is_of_request(&self, items: &[ItemAnswer]) -> bool {
        let sent = self.sent.iter().filter_map(|number| self.items.get(*number));
        items.len() == self.sent.len() && sent.zip(items).all(|(sent, item)| sent.id == item.id)
    }

    fn take_items(&mut self, items: &[ItemAnswer]) {
        let sent = std::mem::take(&mut self.sent);
        let mut left = Vec::new();
        let mut why: Option<&ItemAnswer> = None;
        for (number, item) in sent.iter().copied().zip(items) {
            match verdict(item) {
                ItemVerdict::Stored => self.counts.stored += 1,
                ItemVerdict::Repeated => self.counts.repeated += 1,
                ItemVerdict::TooLarge => self.too_large.push(number),
                ItemVerdict::Refused => self.refuse(number, item.status, item.reason.clone()),
                ItemVerdict::Again => {
                    left.push(number);
                    why.get_or_insert(item);
                }
            }
        }
        let has_progress = left.len() < sent.len();
        left.extend(self.todo.iter().skip(sent.len()));
        self.todo = left;
        if has_progress {
            self.failures = 0;
        }
        if let Some(item) = why {
            let (status, reason) = (item.status, &item.reason);
            self.again(
                format!(
                    "it answers to documents with status {status}: {reason}{}",
                    advice(status)
                ),
                None,
            );
        }
    }

    /// The request was too large.
    fn split(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        if let [number] = sent[..] {
            self.todo.retain(|todo| *todo != number);
            self.too_large.push(number);
            return;
        }
        let bytes = |number: &usize| self.items.get(*number).map_or(0, |item| item.bytes);
        self.max_bytes = sent.iter().map(bytes).sum::<usize>() / 2;
    }

    fn refuse(&mut self, number: usize, status: u16, reason: String) {
        self.counts.refused.push(RefusedItem {
            number,
            status,
            reason,
        });
    }

    fn again(&mut self, reason: String, retry_after: Option<Duration>) {
        self.sent.clear();
        self.failures = self.failures.saturating_add(1);
        let wanted = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let time = self.backoff.wait(self.failures, 0.0).max(wanted);
        self.waiting = Some((time, reason));
    }
}

/// What the answer of a document means. Only what says something of this document may refuse it: rights, a missing or closed
/// index and a full server are for a person to repair, and then the document is taken.
fn verdict(item: &ItemAnswer) -> ItemVerdict {
    match item.status {
        200 | 201 => ItemVerdict::Stored,
        409 => ItemVerdict::Repeated,
        413 => ItemVerdict::TooLarge,
        401 | 403 | 404 | 408 | 429 => ItemVerdict::Again,
        400..=499 if WAITING_KINDS.contains(&&*item.kind) => ItemVerdict::Again,
        400..=499 => ItemVerdict::Refused,
        _ => ItemVerdict::Again,
    }
}

#[cfg(test)]
mod tests;
