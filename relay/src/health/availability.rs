//! Whether a group accepts lines. Pure: events and time are arguments.
//!
//! A group accepts none while the disk has less free space than the configured minimum, and none for a while after a
//! commit failed. That pause grows with each failure in a row. Then the group recovers and is on trial: it accepts lines
//! again, and the fault is over with the first commit, or when nothing has failed for [`TRIAL_LENGTH`].

use std::time::{Duration, Instant};

use logferry_config::Backoff;

/// Pause between a failure and the recovery. Its longest is short: after an operator has freed space the group soon
/// continues.
const PAUSE: Backoff = Backoff {
    initial: Duration::from_millis(250),
    max: Duration::from_secs(5),
};

/// A recovered group that gets no requests is available after this time.
const TRIAL_LENGTH: Duration = Duration::from_secs(10);

/// Tracks whether a group accepts lines.
#[derive(Debug)]
pub(crate) struct AvailabilityTracker {
    min_free: u64,
    is_low: bool,
    fault: Option<GroupFault>,
}

/// A commit failed, and none has succeeded since.
#[derive(Debug)]
struct GroupFault {
    reason: FaultReason,
    failures: u32,
    phase: FaultPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultPhase {
    /// Until then no line is accepted and no recovery is tried.
    Paused(Instant),
    /// Lines are accepted. If nothing fails until then, the fault is over.
    OnTrial(Instant),
}

/// Why a commit failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FaultReason {
    /// A short text for senders.
    pub client_message: String,
    /// With file and error, for operators.
    pub detail: String,
}

/// The state of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Availability {
    #[default]
    Accepting,
    /// It accepts none: the disk has too little free space.
    DiskLow,
    /// A commit failed.
    Failing {
        /// Why.
        reason: FaultReason,
        /// Whether the group has recovered and accepts lines on trial.
        on_trial: bool,
    },
}

impl Availability {
    /// The message for senders whose lines are not accepted; `None` if lines are accepted.
    pub(crate) fn rejection_reason(&self) -> Option<&str> {
        match self {
            Self::DiskLow => Some("the relay's disk is nearly full"),
            Self::Failing {
                reason,
                on_trial: false,
            } => Some(&reason.client_message),
            Self::Accepting | Self::Failing { .. } => None,
        }
    }

    /// The fault, for operators; `None` if there is none.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Accepting => None,
            Self::DiskLow => Some("the disk has less free space than min_free_disk".to_owned()),
            Self::Failing { reason, .. } => Some(format!("{}: {}", reason.client_message, reason.detail)),
        }
    }
}

impl AvailabilityTracker {
    /// A group that accepts lines while at least `min_free` bytes of disk are free.
    pub(crate) fn new(min_free: u64) -> Self {
        Self {
            min_free,
            is_low: false,
            fault: None,
        }
    }

    pub(crate) fn min_free(&self) -> u64 {
        self.min_free
    }

    /// Notes the free space. Returns whether it is too low, if that has changed.
    pub(crate) fn free_disk(&mut self, bytes: u64) -> Option<bool> {
        let was_low = std::mem::replace(&mut self.is_low, bytes < self.min_free);
        (was_low != self.is_low).then_some(self.is_low)
    }

    /// A commit, a seal or a recovery failed.
    pub(crate) fn failed(&mut self, reason: FaultReason, now: Instant) {
        let before = self.fault.as_ref().map_or(0, |fault| fault.failures);
        let failures = before.saturating_add(1);
        self.fault = Some(GroupFault {
            reason,
            failures,
            phase: FaultPhase::Paused(now + PAUSE.wait(failures, 0.0)),
        });
    }

    fn phase(&self) -> Option<FaultPhase> {
        self.fault.as_ref().map(|fault| fault.phase)
    }

    /// Whether the group waits after a failure and leaves the disk alone.
    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.phase(), Some(FaultPhase::Paused(_)))
    }

    /// Whether it is time to recover.
    pub(crate) fn is_recovery_due(&self, now: Instant) -> bool {
        matches!(self.phase(), Some(FaultPhase::Paused(until)) if until <= now)
    }

    /// The files agree with the ledger again.
    pub(crate) fn recovered(&mut self, now: Instant) {
        if let Some(fault) = &mut self.fault {
            fault.phase = FaultPhase::OnTrial(now + TRIAL_LENGTH);
        }
    }

    /// Lines were made durable. Returns whether that ended a fault.
    pub(crate) fn commit_succeeded(&mut self) -> bool {
        self.fault.take().is_some()
    }

    /// Ends a trial whose time is over. Returns whether that ended a fault.
    pub(crate) fn end_trial(&mut self, now: Instant) -> bool {
        let is_over = matches!(self.phase(), Some(FaultPhase::OnTrial(until)) if until <= now);
        is_over && self.commit_succeeded()
    }

    pub(crate) fn availability(&self) -> Availability {
        match &self.fault {
            Some(fault) if self.is_paused() || !self.is_low => Availability::Failing {
                reason: fault.reason.clone(),
                on_trial: !self.is_paused(),
            },
            _ if self.is_low => Availability::DiskLow,
            _ => Availability::Accepting,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason() -> FaultReason {
        FaultReason {
            client_message: "the relay's disk is full".to_owned(),
            detail: "cannot write to /spool/x: no space".to_owned(),
        }
    }

    fn is_accepting(tracker: &AvailabilityTracker) -> bool {
        tracker.availability().rejection_reason().is_none()
    }

    #[test]
    fn below_the_limit_no_line_is_accepted_until_there_is_space_again() {
        let mut tracker = AvailabilityTracker::new(100);
        assert_eq!(tracker.free_disk(100), None);
        assert!(is_accepting(&tracker));
        assert_eq!(tracker.free_disk(99), Some(true));
        assert_eq!(tracker.free_disk(0), None, "reported once");
        assert_eq!(tracker.availability(), Availability::DiskLow);
        assert!(!is_accepting(&tracker));
        assert_eq!(tracker.free_disk(100), Some(false));
        assert_eq!(tracker.availability(), Availability::Accepting);
    }

    #[test]
    fn failures_in_a_row_lengthen_the_pause_and_a_commit_ends_the_fault() {
        let mut tracker = AvailabilityTracker::new(0);
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            tracker.failed(reason(), now);
            assert!(!is_accepting(&tracker));
            let mut pause = Duration::ZERO;
            while !tracker.is_recovery_due(now + pause) {
                pause += PAUSE.initial;
            }
            pauses.push(pause.as_millis());
            now += pause;
            tracker.recovered(now);
            assert!(is_accepting(&tracker), "on trial");
            let fault = tracker.availability().fault();
            assert!(fault.is_some(), "and the fault is not over");
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert!(tracker.commit_succeeded());
        assert_eq!(tracker.availability(), Availability::Accepting);
        tracker.failed(reason(), now);
        let is_short = tracker.is_recovery_due(now + PAUSE.initial);
        assert!(is_short, "the pauses start over");
    }

    #[test]
    fn a_recovered_group_without_requests_is_available_after_the_trial() {
        let (mut tracker, now) = (AvailabilityTracker::new(0), Instant::now());
        tracker.failed(reason(), now);
        tracker.recovered(now);
        assert!(!tracker.end_trial(now + TRIAL_LENGTH / 2));
        assert!(tracker.end_trial(now + TRIAL_LENGTH));
        assert_eq!(tracker.availability(), Availability::Accepting);
    }

    #[test]
    fn a_group_on_trial_accepts_nothing_while_the_disk_is_low() {
        let (mut tracker, now) = (AvailabilityTracker::new(100), Instant::now());
        tracker.failed(reason(), now);
        tracker.free_disk(0);
        assert!(
            matches!(tracker.availability(), Availability::Failing { .. }),
            "a failure is reported before a low disk"
        );
        tracker.recovered(now);
        assert_eq!(tracker.availability(), Availability::DiskLow);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Free(u64),
        Failed,
        Committed,
        Wait(u64),
    }

    proptest! {
        /// After any events: once the disk has space and nothing fails any more, lines are accepted within the longest
        /// pause, and the fault is over a trial later.
        #[test]
        fn it_always_recovers(events in prop::collection::vec(prop_oneof![
            (0_u64..200).prop_map(Event::Free),
            Just(Event::Failed),
            Just(Event::Committed),
            (0_u64..20_000).prop_map(Event::Wait),
        ], 0..50)) {
            let (mut tracker, mut now) = (AvailabilityTracker::new(100), Instant::now());
            for event in events {
                match event {
                    Event::Free(bytes) => drop(tracker.free_disk(bytes)),
                    Event::Failed => tracker.failed(reason(), now),
                    // A commit happens only while lines are accepted.
                    Event::Committed if is_accepting(&tracker) => drop(tracker.commit_succeeded()),
                    Event::Committed => {}
                    Event::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        tracker.end_trial(now);
                        if tracker.is_recovery_due(now) {
                            tracker.recovered(now);
                        }
                    }
                }
            }
            tracker.free_disk(100);
            now += PAUSE.max;
            if tracker.is_recovery_due(now) {
                tracker.recovered(now);
            }
            prop_assert!(is_accepting(&tracker));
            tracker.end_trial(now + TRIAL_LENGTH);
            prop_assert_eq!(tracker.availability(), Availability::Accepting);
        }
    }
}
