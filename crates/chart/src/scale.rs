//! The marks of an axis: round numbers, at most four above zero.

/// Marks above zero, at most.
const MARKS_MAX: u64 = 4;

/// Steps between marks of a time, in seconds.
const TIME_STEPS: [u64; 19] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
];

/// The step between marks for numbers up to `max`: 1, 2 or 5 and zeros.
pub(crate) fn step_of_counts(max: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if max.div_ceil(step) <= MARKS_MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// The step between marks for times up to `max` seconds.
pub(crate) fn step_of_times(max: u64) -> u64 {
    let found = TIME_STEPS.into_iter().find(|step| max.div_ceil(*step) <= 2);
    found.unwrap_or_else(|| step_of_counts(max.div_ceil(86_400)).saturating_mul(86_400))
}

/// `950`, `1.2k`, `24k`, `1.5M`.
pub(crate) fn short_count(number: u64) -> String {
    let units = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| number >= *unit) else {
        return number.to_string();
    };
    match (number / unit, number % unit * 10 / unit) {
        (whole, 0) => format!("{whole}{name}"),
        (whole, tenths) => format!("{whole}.{tenths}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        let steps = [0, 1, 4, 5, 8, 9, 20, 21, 99, 1_300_000, u64::MAX].map(step_of_counts);
        assert_eq!(steps[..10], [1, 1, 1, 2, 2, 5, 5, 10, 50, 500_000]);
        assert!(steps[10] > 1 << 60);
        assert_eq!(
            [0, 2, 61, 5000, 400_000].map(step_of_times),
            [1, 1, 60, 3600, 172_800]
        );
    }

    #[test]
    fn counts_are_short() {
        let shown = [0, 999, 1_000, 1_250, 24_000, 1_500_000].map(short_count);
        assert_eq!(shown, ["0", "999", "1k", "1.2k", "24k", "1.5M"]);
    }
}
