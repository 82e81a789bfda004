//! The table of results: best, median and worst of each figure, with its targets.

use std::fmt::Write as _;

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    decimals: usize,
    is_high_good: bool,
    /// The target to reach now, and the project's final target; empty where there is none.
    targets: [&'static str; 2],
}

/// A figure of which the highest value is the best.
pub(crate) const fn high(name: &'static str, decimals: usize, targets: [&'static str; 2]) -> Row {
    Row {
        name,
        decimals,
        is_high_good: true,
        targets,
    }
}

/// A figure of which the lowest value is the best.
pub(crate) const fn low(name: &'static str, decimals: usize, targets: [&'static str; 2]) -> Row {
    Row {
        is_high_good: false,
        ..high(name, decimals, targets)
    }
}

/// The table. Each run has one value for each row.
pub(crate) fn table<const ROWS: usize>(title: &str, rows: &[Row; ROWS], runs: &[[f64; ROWS]]) -> String {
    let mut text = format!(
        "{title}\n\n{:32}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        "", "best", "median", "worst", "target", "project"
    );
    for (index, row) in rows.iter().enumerate() {
        let values = runs.iter().filter_map(|run| run.get(index)).copied();
        let (decimals, [target, project]) = (row.decimals, row.targets);
        let [best, median, worst] = row.spread(values.collect());
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
    fn spread(&self, mut values: Vec<f64>) -> [f64; 3] {
        values.sort_by(f64::total_cmp);
        if self.is_high_good {
            values.reverse();
        }
        let at = |index| values.get(index).copied().unwrap_or(f64::NAN);
        [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_the_good_end() {
        let values = || vec![2.0, 1.0, 4.0, 3.0];
        let spread = |row: Row| row.spread(values()).map(|value| value.to_string());
        assert_eq!(spread(low("", 1, ["", ""])), ["1", "3", "4"]);
        assert_eq!(spread(high("", 1, ["", ""])), ["4", "2", "1"]);
    }
}
