//! One window of one source: its batches, where each is, and what happened when. Pure.

use jiff::Timestamp;
use logferry_inspection::time::age;
use logferry_ledger::{Batch, BatchState, Delivery, SignedRecord};
use logferry_requests::{ConsoleRequest, RequestedAction};
use logferry_text::{about, count, size};

use std::time::Duration;

use crate::pages::parts::links::query_text;
use crate::pages::parts::times;

/// What was read of a window.
#[derive(Debug, Clone, Default)]
pub(crate) struct WindowFacts {
    /// Each batch with its deliveries, and whether its file is still in the spool.
    pub(crate) batches: Vec<(Batch, Vec<Delivery>, bool)>,
    /// Window manifests, by destination.
    pub(crate) manifests: Vec<(String, String)>,
    pub(crate) records: Vec<SignedRecord>,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryView {
    pub(crate) destination: String,
    pub(crate) class: &'static str,
    pub(crate) state: &'static str,
    pub(crate) path: String,
    pub(crate) detail: String,
    pub(crate) delivered_at: String,
    /// SHA-256 of the file there, if it is not the batch's.
    pub(crate) file_sha256: String,
}

/// A moment in the life of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimelineView {
    pub(crate) at: String,
    pub(crate) text: String,
    pub(crate) class: &'static str,
}

/// A part of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchView {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) part: u32,
    pub(crate) class: &'static str,
    pub(crate) state: &'static str,
    pub(crate) lines: String,
    pub(crate) size: String,
    pub(crate) bytes: String,
    pub(crate) sha256: String,
    pub(crate) crc32c: String,
    pub(crate) is_in_spool: bool,
    pub(crate) is_failed: bool,
    pub(crate) is_sent: bool,
    pub(crate) deliveries: Vec<DeliveryView>,
    pub(crate) timeline: Vec<TimelineView>,
}

/// A batch in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedBatch {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) start: i64,
    pub(crate) window: String,
    pub(crate) class: &'static str,
    pub(crate) state: &'static str,
    pub(crate) lines: String,
    pub(crate) size: String,
    pub(crate) sha256: String,
    pub(crate) short_sha256: String,
}

impl ListedBatch {
    pub(crate) fn new(batch: &Batch) -> Self {
        let (class, state) = state_words(batch.state);
        let sha256 = batch.sha256.clone().unwrap_or_default();
        Self {
            name: batch.name(),
            query: query_text(batch.source.as_str()),
            start: batch.window.start,
            window: times::minute(times::of_second(batch.window.start)),
            class,
            state,
            lines: count(batch.contents.lines),
            size: size(batch.contents.bytes),
            short_sha256: sha256.chars().take(12).collect(),
            sha256,
        }
    }
}

/// Something that was asked for batches of the window, and is not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskedView {
    pub(crate) text: String,
    pub(crate) batches: String,
    pub(crate) at: String,
}

impl AskedView {
    /// `None`: it is about nothing of this window.
    pub(crate) fn new(request: &ConsoleRequest, facts: &WindowFacts) -> Option<Self> {
        let (action, batches) = match &request.action {
            RequestedAction::Retry { batches } => ("to try it again", batches),
            RequestedAction::Resend { batches, .. } => ("to deliver it once more", batches),
            RequestedAction::Silence { .. } => return None,
        };
        let names: Vec<_> = facts.batches.iter().map(|(batch, ..)| batch.name()).collect();
        let of_window = batches.iter().filter(|name| names.contains(name));
        let of_window: Vec<_> = of_window.map(String::as_str).collect();
        (!of_window.is_empty()).then(|| Self {
            text: format!("{} has asked the forwarder {action}", request.who),
            batches: of_window.join(", "),
            at: times::full(request.at),
        })
    }
}

/// A signed record of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProofView {
    pub(crate) number: u64,
    pub(crate) batches: u64,
    pub(crate) content: String,
    pub(crate) signature: String,
}

/// The whole page's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowView {
    pub(crate) source: String,
    pub(crate) query: String,
    pub(crate) from: String,
    pub(crate) until: String,
    pub(crate) batches: Vec<BatchView>,
    pub(crate) manifests: Vec<(String, String)>,
    pub(crate) proofs: Vec<ProofView>,
    /// The search for its lines.
    pub(crate) search: String,
}

impl WindowView {
    pub(crate) fn new(source: &str, (start, end): (i64, i64), facts: &WindowFacts) -> Self {
        let [from, until] = [start, end].map(times::of_second);
        Self {
            source: source.to_owned(),
            query: query_text(source),
            from: times::full(from),
            until: times::minute(until),
            batches: facts
                .batches
                .iter()
                .map(|(batch, deliveries, is_in_spool)| batch_view(batch, deliveries, *is_in_spool))
                .collect(),
            manifests: facts.manifests.clone(),
            proofs: facts
                .records
                .iter()
                .map(|record| ProofView {
                    number: record.number,
                    batches: record.batches,
                    content: record.content.clone(),
                    signature: record.signature.clone(),
                })
                .collect(),
            search: format!(
                "/search?q=source%3A{}&since={from}&until={until}",
                query_text(source)
            ),
        }
    }
}

fn batch_view(batch: &Batch, deliveries: &[Delivery], is_in_spool: bool) -> BatchView {
    let (class, state) = state_words(batch.state);
    BatchView {
        name: batch.name(),
        query: query_text(&batch.name()),
        part: batch.part,
        class,
        state,
        lines: count(batch.contents.lines),
        size: size(batch.contents.bytes),
        bytes: count(batch.contents.bytes),
        sha256: batch.sha256.clone().unwrap_or_default(),
        crc32c: format!("{:08x}", batch.contents.crc32c),
        is_in_spool,
        is_failed: batch.state == BatchState::Failed,
        is_sent: batch.state == BatchState::Sent,
        deliveries: deliveries
            .iter()
            .map(|delivery| delivery_view(batch, delivery))
            .collect(),
        timeline: timeline(batch, deliveries),
    }
}

fn state_words(state: BatchState) -> (&'static str, &'static str) {
    match state {
        BatchState::Open => ("calm", "open"),
        BatchState::Ready => ("warn", "waiting"),
        BatchState::Sent => ("well", "delivered"),
        BatchState::Failed => ("bad", "refused"),
    }
}

fn delivery_view(batch: &Batch, delivery: &Delivery) -> DeliveryView {
    let (class, state) = match delivery.delivered_at {
        Some(_) if delivery.resend_requested_at.is_some() => ("warn", "resend asked for"),
        Some(_) if delivery.is_presumed => ("warn", "presumed"),
        Some(_) => ("well", "delivered"),
        None if delivery.last_error.is_some() => ("bad", "refused"),
        None => ("calm", "waiting"),
    };
    let mut detail = match delivery.attempts {
        0 => String::new(),
        attempts => format!("{attempts} failed attempts"),
    };
    if let Some(error) = &delivery.last_error {
        detail = format!("{detail}: {error}");
    }
    if let Some(next) = delivery.next_attempt {
        detail = format!("{detail}; next attempt {next:.0}");
    }
    let file = delivery
        .file_sha256
        .clone()
        .filter(|file| Some(file) != batch.sha256.as_ref());
    DeliveryView {
        destination: delivery.destination.to_string(),
        class,
        state,
        path: delivery.path.clone().unwrap_or_default(),
        detail,
        delivered_at: delivery.delivered_at.map(times::full).unwrap_or_default(),
        file_sha256: file.unwrap_or_default(),
    }
}

fn timeline(batch: &Batch, deliveries: &[Delivery]) -> Vec<TimelineView> {
    let end = times::of_second(batch.window.end());
    let late = |at: Timestamp| about(Duration::from_secs(age(end, at).as_secs()));
    let first = if batch.opened_at > end {
        let late = late(batch.opened_at);
        format!("first line stored: it came late, {late} after the window")
    } else {
        "first line stored".to_owned()
    };
    let mut moments: Vec<(Timestamp, String, &'static str)> = vec![
        (batch.opened_at, first, "done"),
        (end, "the window ends".to_owned(), ""),
    ];
    moments.extend(
        batch
            .sealed_at
            .map(|at| (at, "sealed: no line is added any more".to_owned(), "done")),
    );
    for delivery in deliveries {
        let name = &delivery.destination;
        let delivered = delivery.delivered_at;
        moments.extend(delivered.map(|at| {
            (
                at,
                format!("delivered to {name}, {} after the window", late(at)),
                "done",
            )
        }));
        moments.extend(
            delivery
                .resent_at
                .map(|at| (at, format!("sent once more to {name}"), "done")),
        );
        let asked = delivery.resend_requested_at;
        moments.extend(asked.map(|at| (at, format!("a resend to {name} was asked for"), "")));
        if delivered.is_none() && delivery.last_error.is_some() {
            let next = delivery.next_attempt;
            moments.extend(next.map(|at| (at, format!("{name} refused it; it is tried again"), "bad")));
        }
    }
    moments.extend(
        batch
            .compressed_at
            .map(|at| (at, "compressed in the spool".to_owned(), "")),
    );
    moments.extend(
        batch
            .expired_at
            .map(|at| (at, "its file was deleted from the spool".to_owned(), "")),
    );
    moments.sort_by_key(|(at, ..)| *at);
    let view = |(at, text, class)| TimelineView {
        at: times::full(at),
        text,
        class,
    };
    moments.into_iter().map(view).collect()
}
