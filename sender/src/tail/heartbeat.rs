//! The heartbeat: the sender's report on itself, and in it the losses that the relay has not acknowledged yet.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use logferry_protocol::heartbeat::{Heartbeat, HostTime, ReportedGap};

use crate::clock::Now;
use crate::files::FileSystem;
use crate::tail::Tailer;
use crate::tail::log::TailedLog;
use crate::tail::log::losses::FoundLoss;

const INTERVAL: Duration = Duration::from_secs(10);
/// Most losses in one heartbeat; the relay accepts 1 MiB.
const REPORTED_MAX: usize = 100;
/// Most losses that wait to be reported. Further ones are only logged.
const UNREPORTED_MAX: usize = 1000;
const UNREADABLE_MAX: usize = 20;
const HELD_MAX: usize = 50;
const NEIGHBOURS_MAX: usize = 50;

#[derive(Debug)]
pub(super) struct HeartbeatState {
    pub(super) started: HostTime,
    pub(super) next: Instant,
    pub(super) unsaved_since: Option<HostTime>,
    pub(super) unreported: Vec<ReportedGap>,
    /// Whether the last report did not reach the relay.
    pub(super) has_failed: bool,
    /// Whether the last report named files of which it was not known how much the relay has.
    pub(super) has_unresolved: bool,
}

impl HeartbeatState {
    /// For a sender that starts now, with the unreported losses of the checkpoint.
    pub(super) fn new(unreported: Vec<ReportedGap>, now: Now) -> Self {
        Self {
            started: HostTime::from(now.wall),
            next: now.instant,
            unsaved_since: None,
            unreported,
            has_failed: false,
            has_unresolved: false,
        }
    }

    /// The relay has answered another request. A report that did not reach it is made again now.
    pub(super) fn relay_answered(&mut self, now: Now) {
        if std::mem::take(&mut self.has_failed) {
            self.next = now.instant;
        }
    }

    /// The relay acknowledged these losses. Returns whether any of them was unreported.
    pub(super) fn acked(&mut self, gaps: &[ReportedGap]) -> bool {
        let before = self.unreported.len();
        self.unreported.retain(|gap| !gaps.contains(gap));
        self.unreported.len() < before
    }
}

impl<F: FileSystem> Tailer<F> {
    pub(super) fn heartbeat_due(&mut self, now: Now) -> Option<Heartbeat> {
        if now.instant < self.heartbeat.next {
            return None;
        }
        self.heartbeat.next = now.instant + INTERVAL;
        // A checkpoint that could not be saved is saved again.
        self.dirty |= self.heartbeat.unsaved_since.is_some();
        let gaps = self.heartbeat.unreported.iter().take(REPORTED_MAX);
        let unreadable = self.logs.iter().flat_map(TailedLog::unreadable);
        let held = self.logs.iter().flat_map(|log| log.held(now));
        let unresolved_files = self.logs.iter().map(TailedLog::unresolved).sum();
        self.heartbeat.has_unresolved = unresolved_files > 0;
        Some(Heartbeat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Some(HostTime::from(now.wall)),
            started_at: Some(self.heartbeat.started),
            checkpoint_failing_since: self.heartbeat.unsaved_since,
            unreadable: unreadable.take(UNREADABLE_MAX).collect(),
            neighbours: self.neighbours().take(NEIGHBOURS_MAX).collect(),
            held: held.take(HELD_MAX).collect(),
            log_problems: self.problems.told().cloned().collect(),
            unresolved_files,
            streams: self.logs.iter().flat_map(|log| log.progress(now)).collect(),
            gaps: gaps.cloned().collect(),
            part: None,
        })
    }

    /// The neighbours of all logs that are no files of another log.
    fn neighbours(&self) -> impl Iterator<Item = String> + '_ {
        let neighbours = self.logs.iter().flat_map(|log| &log.neighbours);
        let is_shipped = |path: &&PathBuf| self.logs.iter().any(|log| log.has_file(path));
        let foreign = neighbours.filter(move |path| !is_shipped(path));
        foreign.map(|path| path.display().to_string())
    }

    /// Logs and counts the losses that were found, and keeps them for the relay.
    pub(super) fn collect_losses(&mut self, now: Now) {
        for FoundLoss { gap, never_read } in self.logs.iter_mut().flat_map(|log| log.lost.drain(..)) {
            let (log, path, stream, from) = (&gap.log, &gap.path, gap.stream, gap.from);
            if let Some(until) = gap.until {
                tracing::error!(
                    %log, path, %stream, %from, %until,
                    "bytes of a log were deleted or truncated before they could be sent; they are lost"
                );
                self.metrics.lost(gap.bytes());
            } else if let Some(seen) = never_read {
                tracing::warn!(
                    %log, path, %stream, %from, %seen,
                    "a log file is gone, or was cut, before it could be read; {seen} bytes of it were seen; its lines may be in \
                     another file, or it may only be out of sight"
                );
            } else {
                tracing::warn!(
                    %log, path, %stream, %from,
                    "a log file is gone before it was known to be read to its end; no line is known to be missing"
                );
            }
            self.dirty = true;
            if self.heartbeat.unreported.len() < UNREPORTED_MAX {
                self.heartbeat.unreported.push(gap);
                self.heartbeat.next = now.instant;
            } else {
                tracing::error!(
                    %stream, %from,
                    "too many losses wait to be reported to the relay; this one is only logged here"
                );
            }
        }
    }

    pub(crate) fn saved(&mut self, is_saved: bool, now: Now) {
        let since = self.heartbeat.unsaved_since.take();
        if !is_saved {
            self.heartbeat.unsaved_since = since.or(Some(HostTime::from(now.wall)));
        }
    }
}
