//! Splitting a chunk's body into runs of lines that belong into one window.
//!
//! Pure: what came before in the stream is named, not known. [`Target::Previous`] stands for wherever the line
//! before went.

use std::ops::Range;

use logferry_config::{TimestampFormat, WindowLength};
use logferry_ledger::Window;
use logferry_windows::{LineClock, window_of};
use memchr::memchr;

/// Where a run of lines belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Where the line before went: no line of the run has a time, nor has one before it in the body.
    Previous,
    /// Into this window.
    Window(Window),
}

/// Lines next to each other that belong into the same window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where they belong.
    pub target: Target,
    /// Their bytes in the body.
    pub bytes: Range<usize>,
    /// Lines that end in the run.
    pub lines: u64,
}

/// A body, split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// The runs, in order; together they are the whole body.
    pub runs: Vec<Run>,
    /// The latest time of a line, in seconds since 1970.
    pub latest: Option<i64>,
}

impl Split {
    /// Lines that end in the body.
    pub(crate) fn lines(&self) -> u64 {
        self.runs.iter().map(|run| run.lines).sum()
    }
}

/// Splits `body` at the borders of windows. Its last line may lack its newline; its first is taken for a whole one.
pub(crate) fn split(body: &[u8], format: TimestampFormat, length: WindowLength) -> Split {
    let mut clock = LineClock::new(format);
    let mut split = Split::default();
    let mut start = 0;
    while let Some(rest) = body.get(start..).filter(|rest| !rest.is_empty()) {
        let newline = memchr(b'\n', rest);
        let end = newline.map_or(body.len(), |at| start + at + 1);
        let target = clock.read(&body[start..end]).map(|time| {
            split.latest = split.latest.max(Some(time.unix));
            Target::Window(window_of(time, length))
        });
        let lines = u64::from(newline.is_some());
        match split.runs.last_mut() {
            // Not `==` on the whole target: the zone is for the label only, and the first line's counts.
            Some(run) if target.is_none_or(|target| same_window(run.target, target)) => {
                run.bytes.end = end;
                run.lines += lines;
            }
            _ => split.runs.push(Run {
                target: target.unwrap_or(Target::Previous),
                bytes: start..end,
                lines,
            }),
        }
        start = end;
    }
    split
}

fn same_window(a: Target, b: Target) -> bool {
    match (a, b) {
        (Target::Window(a), Target::Window(b)) => a.start == b.start,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn twenty_minutes() -> WindowLength {
        WindowLength::try_from(Duration::from_mins(20)).expect("divides an hour")
    }

    fn shape(body: &[u8]) -> Vec<(Option<i64>, Range<usize>, u64)> {
        let split = split(body, TimestampFormat::Auto, twenty_minutes());
        let start = |target| match target {
            Target::Previous => None,
            Target::Window(window) => Some(window.start),
        };
        split
            .runs
            .into_iter()
            .map(|run| (start(run.target), run.bytes, run.lines))
            .collect()
    }

    #[test]
    fn lines_of_one_window_are_one_run_and_lines_without_time_follow() {
        let body =
            b"no time\n[21/Nov/2026:08:19:59 +0000] a\nmore of a\n[21/Nov/2026:08:20:00 +0000] b\nhalf";
        let first = 1_795_249_199 / 1200 * 1200;
        assert_eq!(
            shape(body),
            vec![
                (None, 0..8, 1),
                (Some(first), 8..49, 2),
                (Some(first + 1200), 49..body.len(), 1)
            ]
        );
    }

    #[test]
    fn an_empty_body_has_no_run() {
        assert_eq!(shape(b""), vec![]);
    }

    proptest! {
        #[test]
        fn runs_cover_the_body_at_line_borders(
            lines in prop::collection::vec((prop::option::of(0_u32..60), "[a-z]{0,5}"), 0..40),
            is_open: bool,
        ) {
            let mut body = Vec::new();
            for (minute, text) in &lines {
                if let Some(minute) = minute {
                    body.extend_from_slice(format!("[21/Nov/2026:08:{minute:02}:00 +0000] ").as_bytes());
                }
                body.extend_from_slice(text.as_bytes());
                body.push(b'\n');
            }
            if is_open {
                body.pop();
            }
            let split = split(&body, TimestampFormat::Auto, twenty_minutes());
            let mut at = 0;
            for run in &split.runs {
                prop_assert_eq!(run.bytes.start, at);
                prop_assert!(at == 0 || body[at - 1] == b'\n');
                at = run.bytes.end;
            }
            prop_assert_eq!(at, body.len());
            let newlines = memchr::memchr_iter(b'\n', &body).count();
            prop_assert_eq!(split.lines(), u64::try_from(newlines).expect("small"));
            prop_assert!(split.runs.windows(2).all(|pair| !same_window(pair[0].target, pair[1].target)));
        }
    }
}
