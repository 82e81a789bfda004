//! When each record of a client is due. Pure: times in, times out.

use std::time::Duration;

use logferry_traffic::FeedRate;

/// One of several clients that take turns.
#[derive(Debug)]
pub(super) struct Schedule {
    timing: FeedRate,
    client: u64,
    clients: u64,
    /// No record is due from then on.
    end: Duration,
    given: u64,
}

impl Schedule {
    /// `client`: its number and how many there are.
    pub(super) fn new(timing: FeedRate, (client, clients): (usize, usize), end: Duration) -> Self {
        Self {
            timing,
            client: client as u64,
            clients: clients as u64,
            end,
            given: 0,
        }
    }

    /// When the next record of this client is due, after the start; `None`: never. `elapsed`: the time now.
    pub(super) fn next(&self, elapsed: Duration) -> Option<Duration> {
        let number = self.given.checked_mul(self.clients)?.checked_add(self.client)?;
        let due = self.timing.time_of(number);
        (due.max(elapsed_at_full_speed(self.timing, elapsed)) < self.end).then_some(due)
    }

    /// The record was sent.
    pub(super) fn sent(&mut self) {
        self.given += 1;
    }
}

/// Without a rate the clock alone ends the traffic.
fn elapsed_at_full_speed(timing: FeedRate, elapsed: Duration) -> Duration {
    if timing.rate == 0 { elapsed } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rate: u32, client: usize) -> Vec<u128> {
        let timing = FeedRate { rate, burst: None };
        let mut schedule = Schedule::new(timing, (client, 3), Duration::from_secs(1));
        let mut times = Vec::new();
        while let Some(due) = schedule.next(Duration::ZERO) {
            times.push(due.as_millis());
            schedule.sent();
        }
        times
    }

    #[test]
    fn clients_take_turns_and_together_have_the_rate() {
        assert_eq!(times(10, 0), [0, 300, 600, 900]);
        assert_eq!(times(10, 1), [100, 400, 700]);
        assert_eq!(times(10, 2), [200, 500, 800]);
    }

    #[test]
    fn without_a_rate_the_clock_ends_it() {
        let timing = FeedRate { rate: 0, burst: None };
        let schedule = Schedule::new(timing, (2, 3), Duration::from_secs(1));
        assert_eq!(schedule.next(Duration::from_millis(999)), Some(Duration::ZERO));
        assert_eq!(schedule.next(Duration::from_secs(1)), None);
    }
}
