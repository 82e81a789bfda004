//! A group's reports of its own state to the ledger, and when they are due. Pure: events and time are arguments.
//!
//! A report is a write. So there is at most one in [`BUSY_INTERVAL`], except when a fault begins or ends. If nothing
//! changes there is one in [`IDLE_INTERVAL`], which shows that the group is alive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_ledger::{GroupReport, GroupState};
use logferry_protocol::names::GroupName;

use crate::health::availability::Availability;

/// Shortest time between two reports.
const BUSY_INTERVAL: Duration = Duration::from_secs(5);

/// Longest time between two reports. Readers ignore a report that is three times as old.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);

/// Averaging window of the rate.
const RATE_WINDOW: Duration = Duration::from_mins(1);

/// Counts a group's lines, and makes its reports.
#[derive(Debug)]
pub(crate) struct StatusReporter {
    rate: LineRate,
    last: GroupReport,
    next: Instant,
    latest: Instant,
}

impl StatusReporter {
    /// A group that starts now, at wall-clock time `at`.
    pub(crate) fn new(group: GroupName, now: Instant, at: Timestamp) -> Self {
        let last = GroupReport {
            group,
            reported_at: at,
            started_at: at,
            state: GroupState::Ok,
            reason: None,
            lines_per_second: 0.0,
            in_flight: 0,
            refused: 0,
        };
        Self {
            rate: LineRate::new(now),
            last,
            next: now,
            // The first report is due at once.
            latest: now,
        }
    }

    /// Counts lines that were made durable.
    pub(crate) fn stored(&mut self, lines: u64) {
        self.rate.lines += lines;
    }

    /// The report that is due now, if any. `waiting`: why lines of some sources wait. The pair is the number of requests in flight and rejected.
    pub(crate) fn due_report(
        &mut self,
        availability: &Availability,
        waiting: Option<String>,
        (in_flight, refused): (u64, u64),
        now: Instant,
        at: Timestamp,
    ) -> Option<GroupReport> {
        let state = match availability {
            Availability::Accepting => GroupState::Ok,
            Availability::DiskLow => GroupState::Low,
            Availability::Failing { .. } => GroupState::Failing,
        };
        if now < self.next && state == self.last.state {
            return None;
        }
        self.next = now + BUSY_INTERVAL;
        let report = GroupReport {
            group: self.last.group.clone(),
            reported_at: self.last.reported_at,
            started_at: self.last.started_at,
            state,
            reason: availability.fault().or(waiting),
            lines_per_second: self.rate.sample(now),
            in_flight,
            refused,
        };
        if report == self.last && now < self.latest {
            return None;
        }
        self.latest = now + IDLE_INTERVAL;
        self.last = GroupReport {
            reported_at: at,
            ..report
        };
        Some(self.last.clone())
    }
}

/// Lines per second over the last minute.
#[derive(Debug)]
struct LineRate {
    lines: u64,
    /// The number of lines at each sample. The oldest sample is a minute old, or the start.
    samples: VecDeque<(Instant, u64)>,
}

impl LineRate {
    fn new(now: Instant) -> Self {
        Self {
            lines: 0,
            samples: VecDeque::from([(now, 0)]),
        }
    }

    /// The rate up to now, rounded to a tenth.
    fn sample(&mut self, now: Instant) -> f64 {
        self.samples.push_back((now, self.lines));
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| *at + RATE_WINDOW <= now)
        {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, self.lines));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds == 0.0 {
            return 0.0;
        }
        let lines = u32::try_from(self.lines - before).unwrap_or(u32::MAX);
        (f64::from(lines) / seconds * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock {
        start: Instant,
        reporter: StatusReporter,
    }

    impl Clock {
        fn new() -> Self {
            let start = Instant::now();
            let group = "web-1".parse().expect("a name");
            let reporter = StatusReporter::new(group, start, Timestamp::UNIX_EPOCH);
            Self { start, reporter }
        }

        fn due_report(&mut self, seconds: u64, requests: (u64, u64)) -> Option<GroupReport> {
            let after = Duration::from_secs(seconds);
            let at = Timestamp::UNIX_EPOCH + after;
            self.reporter
                .due_report(&Availability::Accepting, None, requests, self.start + after, at)
        }
    }

    #[test]
    fn a_busy_group_reports_every_few_seconds_and_an_idle_one_still_reports() {
        let mut clock = Clock::new();
        let reported: Vec<_> = (0..20)
            .filter(|second| clock.due_report(*second, (0, *second)).is_some())
            .collect();
        assert_eq!(reported, [0, 5, 10, 15]);
        let reported: Vec<_> = (20..120)
            .filter(|second| clock.due_report(*second, (0, 15)).is_some())
            .collect();
        assert_eq!(reported, [45, 75, 105]);
    }

    #[test]
    fn the_rate_is_an_average_over_the_last_minute() {
        let mut clock = Clock::new();
        let mut rates = Vec::new();
        for second in 0..180 {
            if let Some(report) = clock.due_report(second, (second, 0)) {
                rates.push(report.lines_per_second.to_string());
            }
            // 100 lines a second for the first minute.
            clock.reporter.stored(if second < 60 { 100 } else { 0 });
        }
        assert_eq!(rates[..3], ["0", "100", "100"]);
        assert_eq!(
            [&rates[12], &rates[18], &rates[24]],
            ["100", "50", "0"],
            "after a minute, a minute and a half, and two"
        );
        assert!(clock.reporter.rate.samples.len() <= 14);
    }

    #[test]
    fn a_fault_is_reported_at_once_with_its_reason() {
        let mut clock = Clock::new();
        assert!(clock.due_report(0, (0, 0)).is_some());
        let now = clock.start;
        let mut low = || {
            clock
                .reporter
                .due_report(&Availability::DiskLow, None, (0, 0), now, Timestamp::UNIX_EPOCH)
        };
        let report = low().expect("at once");
        assert_eq!(report.state, GroupState::Low);
        assert!(report.reason.is_some());
        assert_eq!(low(), None, "and once");
        assert!(clock.due_report(1, (0, 0)).is_some(), "so is its end");
    }
}
