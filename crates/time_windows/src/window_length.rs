//! The length of a window, and durations as settings write them.

use std::fmt::Write as _;
use std::time::Duration;

/// Length of a window: whole seconds, 1 s to 1 h, dividing one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowLength(u32);

/// An invalid length of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} does not divide one hour; write whole seconds that do, such as 10s, 5m, 20m or 1h", duration_setting(*.0))]
pub struct WindowLengthError(Duration);

impl WindowLength {
    /// The length in seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// The length as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<Duration> for WindowLength {
    type Error = WindowLengthError;

    fn try_from(length: Duration) -> Result<Self, WindowLengthError> {
        const HOUR: u32 = 3600;
        match u32::try_from(length.as_secs()) {
            Ok(seconds @ 1..=HOUR) if length.subsec_nanos() == 0 && HOUR.is_multiple_of(seconds) => {
                Ok(Self(seconds))
            }
            _ => Err(WindowLengthError(length)),
        }
    }
}

/// Writes a duration as a setting does, such as `1h30m`. Fractions of a millisecond are dropped.
pub fn duration_setting(time: Duration) -> String {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut millis = time.as_millis();
    let mut text = String::new();
    for (name, unit) in units {
        if millis >= unit {
            write!(text, "{}{name}", millis / unit).expect("a String takes everything");
            millis %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_divide_an_hour_are_windows() {
        for seconds in [1, 10, 60, 300, 1200, 3600] {
            let window =
                WindowLength::try_from(Duration::from_secs(seconds.into())).expect("divides an hour");
            assert_eq!(window.seconds(), seconds);
        }
        for (millis, shown) in [
            (0, "0s"),
            (500, "500ms"),
            (1500, "1s500ms"),
            (7000, "7s"),
            (7_200_000, "2h"),
        ] {
            let said = WindowLength::try_from(Duration::from_millis(millis))
                .expect_err(shown)
                .to_string();
            let right = "write whole seconds that do, such as 10s, 5m, 20m or 1h";
            assert_eq!(said, format!("{shown} does not divide one hour; {right}"));
        }
    }
}
