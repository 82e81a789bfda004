//! What became of the records.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::output::console;
use crate::output::exit::Result;

/// The counts of one client, or of all.
#[derive(Debug, Default)]
pub(super) struct SimulationTally {
    /// Records.
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) bytes: u64,
    /// Requests that were sent again.
    pub(super) retries: u64,
    /// Of each acknowledged request, in microseconds.
    pub(super) latencies: Vec<u32>,
    /// The last thing that went wrong.
    pub(super) problem: Option<String>,
}

impl SimulationTally {
    pub(super) fn add(mut self, other: Self) -> Self {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.latencies.extend(other.latencies);
        self.problem = other.problem.or(self.problem);
        self
    }

    pub(super) fn answered(&mut self, records: usize, latency: Duration) {
        self.acknowledged += records as u64;
        self.latencies
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Whether every record was acknowledged.
    pub(super) fn is_whole(&self) -> bool {
        self.acknowledged == self.sent
    }

    pub(super) fn print(&self, elapsed: Duration, is_json: bool) -> Result<()> {
        let text = if is_json {
            self.json(elapsed)
        } else {
            self.text(elapsed)
        };
        console::print(&text)?;
        Ok(())
    }

    fn text(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.acknowledged as f64 / seconds;
        let mut text = format!(
            "sent           {} records, {} bytes\nacknowledged   {} in {seconds:.1} s ({rate:.0}/s)\nrefused        {}\n\
             not answered   {}\nretries        {}\n",
            self.sent,
            self.bytes,
            self.acknowledged,
            self.refused,
            self.unanswered(),
            self.retries
        );
        match self.percentiles() {
            Some([p50, p90, p99, most]) => {
                let _ = writeln!(
                    text,
                    "latency        p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {most:.1} ms"
                );
            }
            None => text.push_str("latency        not measured: nothing was answered one by one\n"),
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "last problem   {problem}");
        }
        text
    }

    fn json(&self, elapsed: Duration) -> String {
        let latency = self
            .percentiles()
            .map(|[p50, p90, p99, most]| json!({"p50": p50, "p90": p90, "p99": p99, "max": most}));
        let report = json!({
            "sent": self.sent, "bytes": self.bytes, "acknowledged": self.acknowledged, "refused": self.refused,
            "unanswered": self.unanswered(), "retries": self.retries, "seconds": elapsed.as_secs_f64(),
            "latency_ms": latency, "problem": self.problem,
        });
        format!("{report}\n")
    }

    fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.acknowledged + self.refused)
    }

    /// In milliseconds: the median, 90 and 99 of 100, and the longest.
    fn percentiles(&self) -> Option<[f64; 4]> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let of_hundred = |share: usize| {
            let at = (sorted.len() * share).div_ceil(100).saturating_sub(1);
            sorted
                .get(at.min(last))
                .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
        };
        Some([of_hundred(50), of_hundred(90), of_hundred(99), of_hundred(100)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let mut tally = SimulationTally::default();
        for millis in (1..=200).rev() {
            tally.answered(1, Duration::from_millis(millis));
        }
        assert_eq!(tally.percentiles(), Some([100.0, 180.0, 198.0, 200.0]));
        assert_eq!(SimulationTally::default().percentiles(), None);
    }

    #[test]
    fn what_nobody_answered_is_told() {
        let tally = SimulationTally {
            sent: 10,
            acknowledged: 7,
            refused: 1,
            ..SimulationTally::default()
        };
        assert!(tally.text(Duration::from_secs(1)).contains("not answered   2\n"));
        assert!(!tally.is_whole());
    }
}
