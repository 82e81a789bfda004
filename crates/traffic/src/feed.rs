//! Traffic at a fixed rate, with or without bursts: the lines that are due now.
//!
//! Invariant: after a time `t` exactly `rate * t` lines were returned, and what bursts add, whatever the times of the calls.
//! A slow writer catches up, and the rate does not drift.

use std::time::Duration;

use jiff::Timestamp;

use crate::application::ApplicationTraffic;
use crate::burst::Burst;
use crate::line::{LineKind, Traffic};

/// Most lines in one slice: about 200 KiB, a good size for one write to a file or pipe.
const SLICE_LINES_MAX: u64 = 1024;

/// How many lines, and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Lines per second; 0: as fast as possible.
    pub rate: u32,
    /// The total number of lines; `None`: no end.
    pub lines: Option<u64>,
    /// The time after which no more lines are due; `None`: no end.
    pub time: Option<Duration>,
}

/// What is due at a moment.
#[derive(Debug, PartialEq, Eq)]
pub enum Slice<'a> {
    /// These lines, now.
    Lines {
        /// Whole lines.
        bytes: &'a [u8],
        /// Visitors' requests among them.
        requests: u64,
        /// Health checks among them.
        health_checks: u64,
    },
    /// Nothing is due until this time since the start.
    Wait(Duration),
    /// There are no more lines.
    End,
}

/// Where the lines of a feed come from.
#[derive(Debug, Clone)]
pub enum LineSource {
    /// nginx's access log.
    Access(Traffic),
    /// An application's log.
    Application(ApplicationTraffic),
}

impl From<Traffic> for LineSource {
    fn from(traffic: Traffic) -> Self {
        Self::Access(traffic)
    }
}

impl From<ApplicationTraffic> for LineSource {
    fn from(traffic: ApplicationTraffic) -> Self {
        Self::Application(traffic)
    }
}

impl LineSource {
    fn line(&mut self, at: Timestamp, out: &mut Vec<u8>) -> LineKind {
        match self {
            Self::Access(traffic) => traffic.line(at, out),
            Self::Application(traffic) => {
                traffic.line(at, out);
                LineKind::Request
            }
        }
    }
}

/// The lines of one log at a fixed rate.
#[derive(Debug)]
pub struct Feed {
    lines: LineSource,
    timing: FeedRate,
    quota: Quota,
    given: u64,
    buffer: Vec<u8>,
}

impl Feed {
    /// The lines of `lines` as `quota` allows.
    pub fn new(lines: impl Into<LineSource>, quota: Quota) -> Self {
        Self {
            lines: lines.into(),
            timing: FeedRate {
                rate: quota.rate,
                burst: None,
            },
            quota,
            given: 0,
            buffer: Vec::new(),
        }
    }

    /// The same with bursts.
    #[must_use]
    pub fn with_bursts(mut self, burst: Option<Burst>) -> Self {
        self.timing.burst = burst;
        self
    }

    /// What is due `elapsed` after the start; its lines carry the time `at`.
    pub fn slice(&mut self, elapsed: Duration, at: Timestamp) -> Slice<'_> {
        let left = self.quota.lines.unwrap_or(u64::MAX).saturating_sub(self.given);
        if left == 0 || self.quota.time.is_some_and(|time| elapsed >= time) {
            return Slice::End;
        }
        let due = self.timing.due(elapsed).saturating_sub(self.given);
        let due = due.min(left).min(SLICE_LINES_MAX);
        if due == 0 {
            return Slice::Wait(self.timing.time_of(self.given));
        }
        self.buffer.clear();
        let mut requests = 0;
        for _ in 0..due {
            requests += u64::from(self.lines.line(at, &mut self.buffer) == LineKind::Request);
        }
        self.given += due;
        Slice::Lines {
            bytes: &self.buffer,
            requests,
            health_checks: due - requests,
        }
    }
}

/// When each line is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedRate {
    /// Lines per second; 0: all at once.
    pub rate: u32,
    /// Bursts on top of it.
    pub burst: Option<Burst>,
}

impl FeedRate {
    /// The number of lines due by `elapsed`: the first at once, the others at equal intervals.
    pub fn due(self, elapsed: Duration) -> u64 {
        if self.rate == 0 {
            return u64::MAX;
        }
        let nanos = elapsed.as_nanos();
        let even = self.burst.map_or(nanos, |burst| burst.even_time(nanos));
        let lines = even * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(lines).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// When the line with this number (from 0) is due.
    pub fn time_of(self, line: u64) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let even = (u128::from(line) * 1_000_000_000).div_ceil(u128::from(self.rate));
        let nanos = self.burst.map_or(even, |burst| burst.time_of(even));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrafficOptions;

    fn feed(rate: u32, lines: Option<u64>, time: Option<Duration>) -> Feed {
        Feed::new(
            Traffic::new(TrafficOptions::default()),
            Quota { rate, lines, time },
        )
    }

    /// Runs a feed to its end with a simulated clock; returns the time of each line.
    fn times(mut feed: Feed) -> Vec<Duration> {
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        loop {
            match feed.slice(now, Timestamp::UNIX_EPOCH) {
                Slice::Lines {
                    bytes,
                    requests,
                    health_checks,
                } => {
                    let ends = bytes.split(|&byte| byte == b'\n').count() as u64 - 1;
                    assert_eq!(ends, requests + health_checks);
                    times.extend((0..requests).map(|_| now));
                }
                Slice::Wait(until) => {
                    assert!(until > now, "a wait that is over");
                    now = until;
                }
                Slice::End => return times,
            }
        }
    }

    #[test]
    fn lines_come_evenly_at_the_rate() {
        let times = times(feed(4, Some(6), None));
        assert_eq!(times, [0, 250, 500, 750, 1000, 1250].map(Duration::from_millis));
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let times = times(feed(7, None, Some(Duration::from_secs(100))));
        assert_eq!(times.len(), 700);
    }

    #[test]
    fn late_caller_gets_all_that_is_due() {
        let mut feed = feed(100, None, None);
        let Slice::Lines { requests, .. } = feed.slice(Duration::from_secs(3), Timestamp::UNIX_EPOCH) else {
            panic!("three seconds' lines are due")
        };
        assert_eq!(requests, 301);
    }

    #[test]
    fn bursts_come_on_top_of_the_rate() {
        let burst = Burst {
            every: Duration::from_secs(4),
            factor: 10,
        };
        let times = times(feed(4, None, Some(Duration::from_secs(10))).with_bursts(Some(burst)));
        let in_second = |second| times.iter().filter(|time| time.as_secs() == second).count();
        assert_eq!(
            (0..10).map(in_second).collect::<Vec<_>>(),
            [4, 4, 4, 4, 40, 4, 4, 4, 40, 4]
        );
    }

    #[test]
    fn rate_zero_never_waits() {
        assert_eq!(times(feed(0, Some(5_000), None)), vec![Duration::ZERO; 5_000]);
    }

    #[test]
    fn quota_of_nothing_ends_at_once() {
        assert_eq!(times(feed(0, Some(0), None)), []);
        assert_eq!(times(feed(9, None, Some(Duration::ZERO))), []);
    }
}
