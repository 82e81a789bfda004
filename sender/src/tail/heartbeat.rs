//! What the sender tells of itself: the heartbeat, and in it the losses that the relay was not told of yet.

use std::time::{Duration, Instant};

use logferry_protocol::heartbeat::{Heartbeat, HostTime, ReportedGap};

use crate::clock::Now;
use crate::files::FileSystem;
use crate::tail::Tailer;
use crate::tail::log::TailedLog;

/// How often the relay hears how the sender is.
const INTERVAL: Duration = Duration::from_secs(10);
/// Most losses in one heartbeat; the relay takes 1 MiB.
const TOLD_MAX: usize = 100;
/// Most losses that wait to be told. Beyond, they are only in the log.
const WAITING_MAX: usize = 1000;
/// Most unreadable files that are named.
const UNREADABLE_MAX: usize = 20;

/// What there is to tell beside the streams.
#[derive(Debug)]
pub(super) struct HeartbeatState {
    started: HostTime,
    next: Instant,
    /// Since when the checkpoint could not be saved.
    unsaved_since: Option<HostTime>,
    /// Losses that the relay was not told of yet.
    waiting: Vec<ReportedGap>,
}

impl HeartbeatState {
    /// A sender that starts now, with losses that it did not get to tell the last time.
    pub(super) fn new(waiting: Vec<ReportedGap>, now: Now) -> Self {
        Self {
            started: HostTime::from(now.wall),
            next: now.instant,
            unsaved_since: None,
            waiting,
        }
    }

    /// When the next heartbeat is due.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// Losses that the relay was not told of yet.
    pub(super) fn waiting(&self) -> &[ReportedGap] {
        &self.waiting
    }

    /// The relay was told of these. Says whether any of them was waiting.
    pub(super) fn told(&mut self, told: &[ReportedGap]) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|gap| !told.contains(gap));
        self.waiting.len() < before
    }

    fn lost(&mut self, gap: ReportedGap, now: Now) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(gap);
            self.next = now.instant;
        } else {
            tracing::error!(
                stream = %gap.stream, from = %gap.from,
                "too many losses wait to be told to the relay, this one is only told here"
            );
        }
    }
}

impl<F: FileSystem> Tailer<F> {
    /// The heartbeat, if it is due.
    pub(super) fn report(&mut self, now: Now) -> Option<Heartbeat> {
        if now.instant < self.heartbeat.next {
            return None;
        }
        self.heartbeat.next = now.instant + INTERVAL;
        // What could not be saved is tried again.
        self.dirty |= self.heartbeat.unsaved_since.is_some();
        let waiting = self.heartbeat.waiting.iter();
        Some(Heartbeat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Some(HostTime::from(now.wall)),
            started_at: Some(self.heartbeat.started),
            checkpoint_failing_since: self.heartbeat.unsaved_since,
            unreadable: self
                .logs
                .iter()
                .flat_map(TailedLog::unreadable)
                .take(UNREADABLE_MAX)
                .collect(),
            streams: self.logs.iter().flat_map(|log| log.progress(now)).collect(),
            gaps: waiting.take(TOLD_MAX).cloned().collect(),
        })
    }

    /// Says and counts what was found to be lost, and keeps it for the relay.
    pub(super) fn collect_losses(&mut self, now: Now) {
        for gap in self.logs.iter_mut().flat_map(|log| log.lost.drain(..)) {
            let ReportedGap {
                stream,
                log,
                path,
                from,
                until,
                ..
            } = &gap;
            if let Some(until) = until {
                tracing::error!(
                    %log, path, %stream, %from, %until,
                    "bytes of a log were deleted or truncated before they could be sent, they are lost"
                );
            } else {
                tracing::warn!(
                    %log, path, %stream, %from,
                    "a log is gone before it was known to be read to its end, nothing is known to be missing"
                );
            }
            self.counters.lost(&gap);
            self.heartbeat.lost(gap, now);
            self.dirty = true;
        }
    }

    /// The last checkpoint was saved, or could not be.
    pub(crate) fn saved(&mut self, is_saved: bool, now: Now) {
        let since = self.heartbeat.unsaved_since.take();
        if !is_saved {
            self.heartbeat.unsaved_since = since.or(Some(HostTime::from(now.wall)));
        }
    }
}
