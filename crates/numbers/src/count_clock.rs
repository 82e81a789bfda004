//! The clock by which lines are of the future or too old: a wrong one must not put them where they do not belong. Pure.

/// A line counts at most so far in the future; then its clock is wrong. Else it would make rows that are never removed.
const FUTURE_MAX: i64 = 86_400;

/// What the clock shows, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct CountClock {
    /// The time that it shows.
    pub now: i64,
    /// While it is doubted: the time that it showed when it was believed last.
    pub believed_before: Option<i64>,
}

impl CountClock {
    /// The present. On a clock that is ahead by mistake all lines would be too old, and on one that is behind all would be of the
    /// future.
    pub fn present(self) -> i64 {
        self.believed_before.unwrap_or(self.now)
    }

    /// The time by which lines are too old. The clock may have been wrong when it was believed last and be right now, or the other way
    /// round: a line that is not too old by one of the two is kept.
    pub fn earliest(self) -> i64 {
        self.present().min(self.now)
    }

    /// The time by which a line of this time counts.
    pub fn counted(self, time: i64) -> i64 {
        if time > self.now.max(self.present()).saturating_add(FUTURE_MAX) {
            self.present()
        } else {
            time
        }
    }
}
