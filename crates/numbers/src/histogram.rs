//! How long requests took, in classes of fixed bounds, so that a row has a bounded size. Pure.

/// The upper bounds of the classes, in microseconds. One more class has all that took longer.
pub const REQUEST_TIME_BOUNDS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// The classes.
pub(crate) const CLASSES: usize = REQUEST_TIME_BOUNDS.len() + 1;

/// The class of a time.
pub(crate) fn class_of(micros: u64) -> usize {
    REQUEST_TIME_BOUNDS.partition_point(|bound| *bound < micros)
}

/// The time that so large a share of the requests did not exceed, as the upper bound of its class; `None` without requests,
/// or if it is above all bounds.
pub(crate) fn quantile(classes: &[u64], share: f64) -> Option<u64> {
    let total: u64 = classes.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
    let wanted = share * total as f64;
    let mut seen = 0;
    let class = classes.iter().position(|count| {
        seen += count;
        #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
        let reaches = seen > 0 && seen as f64 >= wanted;
        reaches
    })?;
    REQUEST_TIME_BOUNDS.get(class).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_upper_bounds_of_classes() {
        let mut classes = [0; CLASSES];
        assert_eq!(quantile(&classes, 0.5), None);
        for micros in [1, 1_000, 1_001, 70_000_000] {
            classes[class_of(micros)] += 1;
        }
        assert_eq!(classes[0], 2);
        assert_eq!(quantile(&classes, 0.5), Some(1_000));
        assert_eq!(quantile(&classes, 0.75), Some(2_500));
        assert_eq!(quantile(&classes, 0.99), None, "above all bounds");
    }
}
