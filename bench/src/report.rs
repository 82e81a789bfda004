//! Figures as a table for people.

use std::fmt::Write as _;
use std::time::Duration;

/// Which end of a figure is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    High,
    Low,
}

/// One figure, from each run.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) decimals: usize,
    pub(crate) good: Good,
    /// What it must reach now, and what the project wants; empty where there is none.
    pub(crate) targets: [&'static str; 2],
}

/// The table: best, median and worst of each figure beside its targets.
pub(crate) fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "{title}\n\n{:32}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        "", "best", "median", "worst", "target", "project"
    );
    for row in rows {
        let decimals = row.decimals;
        let [best, median, worst] = row.spread();
        let [target, project] = row.targets;
        let _ = writeln!(
            text,
            "{:32}{best:>10.decimals$}{median:>10.decimals$}{worst:>10.decimals$}{target:>10}{project:>10}",
            row.name
        );
    }
    text
}

impl Row {
    /// Best, median (of an even number, the worse of the middle two) and worst.
    fn spread(&self) -> [f64; 3] {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        if self.good == Good::High {
            values.reverse();
        }
        let at = |index| values.get(index).copied().unwrap_or(f64::NAN);
        [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
    }
}

/// 10^6 bytes a second.
pub(crate) fn megabytes_per_second(bytes: u64, time: Duration) -> f64 {
    float(bytes) / 1e6 / time.as_secs_f64()
}

/// Seconds of CPU for 10^9 bytes.
pub(crate) fn seconds_per_gigabyte(cpu: Duration, bytes: u64) -> f64 {
    cpu.as_secs_f64() / (float(bytes) / 1e9)
}

/// 2^20 bytes.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    float(bytes) / f64::from(1_u32 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_the_good_end() {
        let row = |good| Row {
            name: "",
            values: vec![2.0, 1.0, 4.0, 3.0],
            decimals: 1,
            good,
            targets: ["", ""],
        };
        assert_eq!(row(Good::Low).spread().map(|v| v.to_string()), ["1", "3", "4"]);
        assert_eq!(row(Good::High).spread().map(|v| v.to_string()), ["4", "2", "1"]);
    }

    #[test]
    fn units_are_the_documented_ones() {
        let second = Duration::from_secs(1);
        assert_eq!(megabytes_per_second(3_000_000, second).to_string(), "3");
        assert_eq!(seconds_per_gigabyte(second, 500_000_000).to_string(), "2");
        assert_eq!(mebibytes(3 << 20).to_string(), "3");
    }
}
