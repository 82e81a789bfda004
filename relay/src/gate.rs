//! Whether a group takes lines. Pure: it is told what happened and when.
//!
//! It takes none while the disk has less room than it must keep free, and none for a while after it could not commit. That
//! while grows with each failure in a row. Then the group recovers, and is on trial: it takes lines again, and its trouble
//! is over with the first commit, or when nothing has failed for [`TRIAL`].

use std::time::{Duration, Instant};

/// Between a failure and the first recovery. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest wait for a recovery: somebody who has made room sees it go on soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A group that has recovered and hears nothing of its senders is well after this.
const TRIAL: Duration = Duration::from_secs(10);

/// Where the line is drawn between a group that takes lines and one that does not.
#[derive(Debug)]
pub(crate) struct Gate {
    min_free: u64,
    is_low: bool,
    trouble: Option<Trouble>,
}

/// A commit failed, and none has succeeded since.
#[derive(Debug)]
struct Trouble {
    reason: Reason,
    failures: u32,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// No line is taken, and no recovery tried, until then.
    Closed(Instant),
    /// Lines are taken; if nothing fails until then, all is well.
    OnTrial(Instant),
}

/// Why a commit failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    /// In a few words, for senders.
    pub words: String,
    /// With file and error, for operators.
    pub detail: String,
}

/// How a group is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes lines.
    #[default]
    Well,
    /// It takes none: the disk has less room than must stay free.
    DiskLow,
    /// It could not commit.
    Failing {
        /// Why.
        reason: Reason,
        /// Whether it has recovered, and takes lines on trial.
        on_trial: bool,
    },
}

impl Standing {
    /// What senders are told instead of taking their lines; `None` if they are taken.
    pub(crate) fn refusal(&self) -> Option<&str> {
        match self {
            Self::DiskLow => Some("the relay's disk is nearly full"),
            Self::Failing {
                reason,
                on_trial: false,
            } => Some(&reason.words),
            Self::Well | Self::Failing { .. } => None,
        }
    }

    /// What is wrong, for operators; `None` if nothing is.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Well => None,
            Self::DiskLow => Some("the disk has less room than min_free_disk".to_owned()),
            Self::Failing { reason, .. } => Some(format!("{}: {}", reason.words, reason.detail)),
        }
    }
}

impl Gate {
    /// A gate that is open, and closes below `min_free` bytes of free disk.
    pub(crate) fn new(min_free: u64) -> Self {
        Self {
            min_free,
            is_low: false,
            trouble: None,
        }
    }

    /// The bytes that must stay free.
    pub(crate) fn min_free(&self) -> u64 {
        self.min_free
    }

    /// So many bytes are free now. Returns whether that is too little, if it was otherwise before.
    pub(crate) fn free_disk(&mut self, bytes: u64) -> Option<bool> {
        let was_low = std::mem::replace(&mut self.is_low, bytes < self.min_free);
        (was_low != self.is_low).then_some(self.is_low)
    }

    /// A commit, a seal or a recovery failed.
    pub(crate) fn failed(&mut self, reason: Reason, now: Instant) {
        let failures = self.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures));
        self.trouble = Some(Trouble {
            reason,
            failures: failures.saturating_add(1),
            phase: Phase::Closed(now + pause.min(LONGEST_PAUSE)),
        });
    }

    /// Whether a failure is being waited out: the disk is left alone.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(
            &self.trouble,
            Some(Trouble {
                phase: Phase::Closed(_),
                ..
            })
        )
    }

    /// Whether it is time to recover.
    pub(crate) fn is_recovery_due(&self, now: Instant) -> bool {
        matches!(&self.trouble, Some(Trouble { phase: Phase::Closed(until), .. }) if *until <= now)
    }

    /// The files and the ledger are in line again.
    pub(crate) fn recovered(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.trouble {
            trouble.phase = Phase::OnTrial(now + TRIAL);
        }
    }

    /// Lines were made durable. Returns whether that ends a trouble.
    pub(crate) fn committed(&mut self) -> bool {
        self.trouble.take().is_some()
    }

    /// Time has passed. Returns whether that ends a trouble.
    pub(crate) fn pass(&mut self, now: Instant) -> bool {
        let is_over =
            matches!(&self.trouble, Some(Trouble { phase: Phase::OnTrial(until), .. }) if *until <= now);
        is_over && self.committed()
    }

    /// How the group is now.
    pub(crate) fn standing(&self) -> Standing {
        match &self.trouble {
            Some(trouble) if !(self.is_low && matches!(trouble.phase, Phase::OnTrial(_))) => {
                Standing::Failing {
                    reason: trouble.reason.clone(),
                    on_trial: matches!(trouble.phase, Phase::OnTrial(_)),
                }
            }
            _ if self.is_low => Standing::DiskLow,
            _ => Standing::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason() -> Reason {
        Reason {
            words: "the relay's disk is full".to_owned(),
            detail: "cannot write to /spool/x: no space".to_owned(),
        }
    }

    fn is_open(gate: &Gate) -> bool {
        gate.standing().refusal().is_none()
    }

    #[test]
    fn below_the_limit_nothing_is_taken_and_with_room_it_goes_on() {
        let mut gate = Gate::new(100);
        assert_eq!(gate.free_disk(100), None);
        assert!(is_open(&gate));
        assert_eq!(gate.free_disk(99), Some(true));
        assert_eq!(gate.free_disk(0), None, "said once");
        assert_eq!(gate.standing(), Standing::DiskLow);
        assert!(!is_open(&gate));
        assert_eq!(gate.free_disk(100), Some(false));
        assert_eq!(gate.standing(), Standing::Well);
    }

    #[test]
    fn failures_in_a_row_lengthen_the_pause_and_a_commit_ends_the_trouble() {
        let mut gate = Gate::new(0);
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            gate.failed(reason(), now);
            assert!(!is_open(&gate));
            let mut pause = Duration::ZERO;
            while !gate.is_recovery_due(now + pause) {
                pause += FIRST_PAUSE;
            }
            pauses.push(pause.as_millis());
            now += pause;
            gate.recovered(now);
            assert!(is_open(&gate), "on trial");
            assert!(gate.standing().trouble().is_some(), "and not yet well");
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert!(gate.committed());
        assert_eq!(gate.standing(), Standing::Well);
        gate.failed(reason(), now);
        assert!(gate.is_recovery_due(now + FIRST_PAUSE), "it begins anew");
    }

    #[test]
    fn a_recovered_group_that_hears_nothing_is_well_after_a_while() {
        let (mut gate, now) = (Gate::new(0), Instant::now());
        gate.failed(reason(), now);
        gate.recovered(now);
        assert!(!gate.pass(now + TRIAL / 2));
        assert!(gate.pass(now + TRIAL));
        assert_eq!(gate.standing(), Standing::Well);
    }

    #[test]
    fn a_group_on_trial_takes_nothing_while_the_disk_is_low() {
        let (mut gate, now) = (Gate::new(100), Instant::now());
        gate.failed(reason(), now);
        gate.free_disk(0);
        assert!(
            matches!(gate.standing(), Standing::Failing { .. }),
            "the worse of the two is shown"
        );
        gate.recovered(now);
        assert_eq!(gate.standing(), Standing::DiskLow);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Free(u64),
        Failed,
        Committed,
        Pass(u64),
    }

    proptest! {
        /// Whatever happens: once the disk has room and nothing fails any more, lines are taken within the longest
        /// pause, and all is well a trial later.
        #[test]
        fn it_always_comes_back(events in prop::collection::vec(prop_oneof![
            (0_u64..200).prop_map(Event::Free),
            Just(Event::Failed),
            Just(Event::Committed),
            (0_u64..20_000).prop_map(Event::Pass),
        ], 0..50)) {
            let (mut gate, mut now) = (Gate::new(100), Instant::now());
            for event in events {
                match event {
                    Event::Free(bytes) => drop(gate.free_disk(bytes)),
                    Event::Failed => gate.failed(reason(), now),
                    // Only an open gate lets through what can be committed.
                    Event::Committed if is_open(&gate) => drop(gate.committed()),
                    Event::Committed => {}
                    Event::Pass(ms) => {
                        now += Duration::from_millis(ms);
                        gate.pass(now);
                        if gate.is_recovery_due(now) {
                            gate.recovered(now);
                        }
                    }
                }
            }
            gate.free_disk(100);
            now += LONGEST_PAUSE;
            if gate.is_recovery_due(now) {
                gate.recovered(now);
            }
            prop_assert!(is_open(&gate));
            gate.pass(now + TRIAL);
            prop_assert_eq!(gate.standing(), Standing::Well);
        }
    }
}
