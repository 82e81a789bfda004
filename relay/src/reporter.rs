//! What a group reports of itself to the ledger, and when. Pure: it is told what happened and the time.
//!
//! A report is a write, so there is one in [`BUSY`] at most, but for when a trouble begins or ends, and of a group in which
//! nothing changes one in [`AT_REST`], which shows that it is alive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_ledger::{GroupReport, GroupState};
use logferry_protocol::names::GroupName;

use crate::gate::Standing;

/// The least time between two reports.
const BUSY: Duration = Duration::from_secs(5);

/// The most time between two reports. Who reads them takes one that is three times as old for one of the past.
const AT_REST: Duration = Duration::from_secs(30);

/// The rate is of so long a time.
const RATE_SPAN: Duration = Duration::from_mins(1);

/// Counts a group's lines, and says when it is to report.
#[derive(Debug)]
pub(crate) struct Reporter {
    rate: Rate,
    last: GroupReport,
    next: Instant,
    latest: Instant,
}

impl Reporter {
    /// A group that starts now, at `at` by the clock on the wall.
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
            rate: Rate::new(now),
            last,
            next: now,
            // The first report is due at once.
            latest: now,
        }
    }

    /// So many lines were made durable.
    pub(crate) fn stored(&mut self, lines: u64) {
        self.rate.lines += lines;
    }

    /// The report to be made now, if one is due: of how the group is, and of its requests in flight and refused.
    pub(crate) fn due(
        &mut self,
        standing: &Standing,
        (in_flight, refused): (u64, u64),
        now: Instant,
        at: Timestamp,
    ) -> Option<GroupReport> {
        let state = match standing {
            Standing::Well => GroupState::Ok,
            Standing::DiskLow => GroupState::Low,
            Standing::Failing { .. } => GroupState::Failing,
        };
        if now < self.next && state == self.last.state {
            return None;
        }
        self.next = now + BUSY;
        let report = GroupReport {
            group: self.last.group.clone(),
            reported_at: self.last.reported_at,
            started_at: self.last.started_at,
            state,
            reason: standing.trouble(),
            lines_per_second: self.rate.look(now),
            in_flight,
            refused,
        };
        if report == self.last && now < self.latest {
            return None;
        }
        self.latest = now + AT_REST;
        self.last = GroupReport {
            reported_at: at,
            ..report
        };
        Some(self.last.clone())
    }
}

/// Lines per second over the last minute.
#[derive(Debug)]
struct Rate {
    lines: u64,
    /// How many lines there were at each look; the oldest is a minute old, or the start.
    looks: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            lines: 0,
            looks: VecDeque::from([(now, 0)]),
        }
    }

    /// The rate up to now, to a tenth.
    fn look(&mut self, now: Instant) -> f64 {
        self.looks.push_back((now, self.lines));
        while self.looks.get(1).is_some_and(|(at, _)| *at + RATE_SPAN <= now) {
            self.looks.pop_front();
        }
        let (since, before) = self.looks.front().copied().unwrap_or((now, self.lines));
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
        reporter: Reporter,
    }

    impl Clock {
        fn new() -> Self {
            let start = Instant::now();
            let group = "web-1".parse().expect("a name");
            let reporter = Reporter::new(group, start, Timestamp::UNIX_EPOCH);
            Self { start, reporter }
        }

        fn due(&mut self, seconds: u64, requests: (u64, u64)) -> Option<GroupReport> {
            let after = Duration::from_secs(seconds);
            let at = Timestamp::UNIX_EPOCH + after;
            self.reporter
                .due(&Standing::Well, requests, self.start + after, at)
        }
    }

    #[test]
    fn a_busy_group_reports_every_few_seconds_and_an_idle_one_shows_that_it_is_alive() {
        let mut clock = Clock::new();
        let reported: Vec<_> = (0..20)
            .filter(|second| clock.due(*second, (0, *second)).is_some())
            .collect();
        assert_eq!(reported, [0, 5, 10, 15]);
        let reported: Vec<_> = (20..120)
            .filter(|second| clock.due(*second, (0, 15)).is_some())
            .collect();
        assert_eq!(reported, [45, 75, 105]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut clock = Clock::new();
        let mut rates = Vec::new();
        for second in 0..180 {
            if let Some(report) = clock.due(second, (second, 0)) {
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
        assert!(clock.reporter.rate.looks.len() <= 14);
    }

    #[test]
    fn a_trouble_is_reported_at_once_with_its_reason() {
        let mut clock = Clock::new();
        assert!(clock.due(0, (0, 0)).is_some());
        let now = clock.start;
        let mut low = || {
            clock
                .reporter
                .due(&Standing::DiskLow, (0, 0), now, Timestamp::UNIX_EPOCH)
        };
        let report = low().expect("at once");
        assert_eq!(report.state, GroupState::Low);
        assert!(report.reason.is_some());
        assert_eq!(low(), None, "and once");
        assert!(clock.due(1, (0, 0)).is_some(), "so is its end");
    }
}
