//! Figures and their units.

use std::time::Duration;

/// 10^6 bytes per second.
pub(crate) fn megabytes_per_second(bytes: u64, time: Duration) -> f64 {
    float(bytes) / 1e6 / time.as_secs_f64()
}

/// CPU seconds per 10^9 bytes.
pub(crate) fn seconds_per_gigabyte(cpu: Duration, bytes: u64) -> f64 {
    cpu.as_secs_f64() / (float(bytes) / 1e9)
}

/// 2^20 bytes.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    float(bytes) / f64::from(1_u32 << 20)
}

/// Milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The time that `percent` of the sorted `times` do not exceed.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_documented_ones() {
        let second = Duration::from_secs(1);
        assert_eq!(megabytes_per_second(3_000_000, second).to_string(), "3");
        assert_eq!(seconds_per_gigabyte(second, 500_000_000).to_string(), "2");
        assert_eq!(mebibytes(3 << 20).to_string(), "3");
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).as_millis();
        assert_eq!([at(50), at(99), at(100)], [100, 198, 200]);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
