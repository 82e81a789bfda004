//! What became of one window of one source. Pure.

use jiff::Timestamp;
use logferry_ledger::{BatchOutline, BatchState, SourceReach, Window};

/// A source that was heard of in so many seconds before now is there.
const HEARD_WITHIN: i64 = 300;

/// The state of a window of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CellState {
    /// All its parts are at every destination.
    Delivered,
    /// Sealed, and not delivered everywhere, or its source may have more lines of it.
    Waiting,
    /// A destination refused it; it is tried again.
    Refused,
    /// It takes lines.
    Open,
    /// The source was there and had no lines.
    Quiet,
    /// The source was not heard of, then or since.
    Missing,
    /// Lines were lost before they could be sent.
    Gap,
    /// It has not begun, or the source was not known then.
    Nothing,
}

impl CellState {
    /// All of them, for the legend.
    pub(crate) const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Waiting,
        Self::Refused,
        Self::Open,
        Self::Quiet,
        Self::Missing,
        Self::Gap,
    ];

    /// Its class in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Delivered => "d",
            Self::Waiting => "w",
            Self::Refused => "f",
            Self::Open => "o",
            Self::Quiet => "q",
            Self::Missing => "m",
            Self::Gap => "g",
            Self::Nothing => "n",
        }
    }

    /// Its sign, so that no colour has to be seen.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Delivered => "✓",
            Self::Waiting => "w",
            Self::Refused => "!",
            Self::Open => "o",
            Self::Quiet => "·",
            Self::Missing => "?",
            Self::Gap => "G",
            Self::Nothing => "",
        }
    }

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Open => "open",
            Self::Quiet => "quiet",
            Self::Missing => "missing",
            Self::Gap => "gap",
            Self::Nothing => "nothing",
        }
    }

    /// What it means.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Delivered => "every line is at every destination",
            Self::Waiting => "sealed; it waits for delivery, or for lines that the source may still have",
            Self::Refused => "a destination refused it; it is tried again",
            Self::Open => "still takes lines",
            Self::Quiet => "the source reported, and had no lines",
            Self::Missing => "the source was not heard of, then or since",
            Self::Gap => "bytes were lost at the source before they were sent",
            Self::Nothing => "not begun, or the source was not known yet",
        }
    }
}

/// The state of the window from `start` to `end` (seconds since 1970), by its batches.
pub(crate) fn cell_state(
    batches: &[&BatchOutline],
    (start, end): (i64, i64),
    source: &SourceReach,
    has_gap: bool,
    now: i64,
) -> CellState {
    if has_gap {
        return CellState::Gap;
    }
    let has = |state| batches.iter().any(|batch| batch.state == state);
    if has(BatchState::Failed) {
        return CellState::Refused;
    }
    if has(BatchState::Ready) {
        return CellState::Waiting;
    }
    if has(BatchState::Open) {
        return CellState::Open;
    }
    let window = Window {
        start,
        seconds: u32::try_from(end - start).unwrap_or(u32::MAX),
        utc_offset: 0,
    };
    if !batches.is_empty() {
        // The rule of the manifests: a source that stopped, or is behind, may have more.
        return if source.may_have_lines(window) {
            CellState::Waiting
        } else {
            CellState::Delivered
        };
    }
    let first = source.first_seen.map(Timestamp::as_second);
    let last = source.last_contact.map_or(i64::MIN, Timestamp::as_second);
    // The window that has just begun is not missed yet.
    let is_there = end > now && last >= start.min(now - HEARD_WITHIN);
    match first {
        _ if start > now => CellState::Nothing,
        Some(first) if end <= first => CellState::Nothing,
        Some(_) if end <= last || is_there => CellState::Quiet,
        _ => CellState::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(state: BatchState) -> BatchOutline {
        BatchOutline {
            source: "198.51.100.1".to_owned(),
            window: Window {
                start: 1200,
                seconds: 1200,
                utc_offset: 0,
            },
            state,
            bytes: 0,
            sent_at: None,
        }
    }

    /// A source that has reported, with nothing left, at its last contact.
    fn seen(first: i64, last: i64) -> SourceReach {
        let last = Timestamp::from_second(last).ok();
        SourceReach {
            first_seen: Timestamp::from_second(first).ok(),
            last_contact: last,
            reported_at: last,
            lag_bytes: Some(0),
            ..SourceReach::default()
        }
    }

    #[test]
    fn the_worst_part_decides() {
        let [open, ready, sent, failed] = BatchState::ALL.map(batch);
        let state = |batches: &[&BatchOutline], has_gap| {
            cell_state(batches, (1200, 2400), &seen(0, 9000), has_gap, 9000)
        };
        assert_eq!(state(&[&sent], false), CellState::Delivered);
        assert_eq!(state(&[&sent, &open], false), CellState::Open);
        assert_eq!(state(&[&sent, &ready], false), CellState::Waiting);
        assert_eq!(state(&[&ready, &failed, &sent], false), CellState::Refused);
        assert_eq!(state(&[&sent], true), CellState::Gap);
    }

    #[test]
    fn a_window_without_lines_is_quiet_only_if_the_source_was_heard_of_after_it() {
        let state = |seen: SourceReach, now| cell_state(&[], (1200, 2400), &seen, false, now);
        assert_eq!(state(seen(0, 2400), 9000), CellState::Quiet);
        assert_eq!(state(seen(0, 2300), 9000), CellState::Missing);
        assert_eq!(state(seen(0, 2300), 2350), CellState::Quiet);
        assert_eq!(state(seen(0, 1150), 1205), CellState::Quiet, "it has just begun");
        assert_eq!(
            state(seen(0, 1150), 2350),
            CellState::Missing,
            "still, since then"
        );
        assert_eq!(state(seen(3000, 9000), 9000), CellState::Nothing);
        assert_eq!(state(seen(0, 900), 1000), CellState::Nothing);
        let never = SourceReach::default();
        assert_eq!(state(never, 9000), CellState::Missing);
    }
    #[test]
    fn a_window_is_delivered_only_when_its_source_has_no_more_lines_of_it() {
        let sent = batch(BatchState::Sent);
        let state = |source: &SourceReach| cell_state(&[&sent], (1200, 2400), source, false, 9000);
        assert_eq!(state(&seen(0, 2430)), CellState::Delivered);
        assert_eq!(
            state(&seen(0, 1500)),
            CellState::Waiting,
            "it stopped in the window"
        );
        let behind = SourceReach {
            lag_bytes: Some(10),
            lagging_reached: Some(2000),
            ..seen(0, 9000)
        };
        assert_eq!(state(&behind), CellState::Waiting);
        let past = SourceReach {
            lagging_reached: Some(2400),
            ..behind
        };
        assert_eq!(state(&past), CellState::Delivered);
    }
}
