//! Splitting of a chunk's body into runs of lines of one window.
//!
//! Pure, and by and by, while a body arrives: its bytes are still in the processor's cache then. Lines without a time belong to the window of the line before them. If that line is in an earlier chunk the
//! window is not known here; such a run has the target [`WindowTarget::Previous`].

use std::ops::Range;

use logferry_config::WindowLength;
use logferry_fields::LineClock;
use logferry_ledger::Window;
use logferry_time_windows::{LineTime, window_of};
use memchr::memchr;

/// The window of a run of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowTarget {
    /// The window of the line before the body: no line of the run has a time.
    Previous,
    Window(Window),
}

/// Consecutive lines of the same window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineRun {
    pub target: WindowTarget,
    /// Their bytes in the body.
    pub bytes: Range<usize>,
    /// Number of line ends in the run.
    pub lines: u64,
}

/// A body as runs of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WindowSplit {
    /// The runs, in order. Together they are the whole body.
    pub runs: Vec<LineRun>,
    /// The latest time of a line, in seconds since 1970.
    pub latest: Option<i64>,
}

impl WindowSplit {
    /// Number of line ends in the body.
    pub(crate) fn lines(&self) -> u64 {
        self.runs.iter().map(|run| run.lines).sum()
    }

    pub(crate) fn starts_with_time(&self) -> bool {
        let first = self.runs.first();
        first.is_some_and(|run| run.target != WindowTarget::Previous)
    }
}

/// Splits a body while it arrives. Its first line is treated as a whole line.
#[derive(Debug)]
pub(crate) struct WindowSplitter<'f> {
    clock: LineClock<'f>,
    length: WindowLength,
    split: WindowSplit,
    /// Where the next line begins.
    start: usize,
    /// Up to here it has no end.
    searched: usize,
    /// The last time of a line, and its window. Most lines have the time of the line before.
    last: Option<(LineTime, Window)>,
}

impl<'f> WindowSplitter<'f> {
    pub(crate) fn new(clock: LineClock<'f>, length: WindowLength) -> Self {
        Self {
            clock,
            length,
            split: WindowSplit::default(),
            start: 0,
            searched: 0,
            last: None,
        }
    }

    /// Takes the whole lines of `body`, which is what has arrived so far.
    pub(crate) fn read(&mut self, body: &[u8]) {
        while let Some(at) = body.get(self.searched..).and_then(|unread| memchr(b'\n', unread)) {
            self.line(body, self.searched + at + 1, 1);
        }
        self.searched = body.len();
    }

    /// The split of the complete body. Its last line may lack the newline.
    pub(crate) fn finish(mut self, body: &[u8]) -> WindowSplit {
        self.read(body);
        if self.start < body.len() {
            self.line(body, body.len(), 0);
        }
        self.split
    }

    /// Takes the line that ends at `end`, with so many newlines.
    fn line(&mut self, body: &[u8], end: usize, lines: u64) {
        let start = std::mem::replace(&mut self.start, end);
        self.searched = end;
        let line = body.get(start..end).unwrap_or_default();
        let time = self.clock.read(line).map(|time| (time.unix, self.window(time)));
        let target = time.map(|(_, window)| WindowTarget::Window(window));
        let split = &mut self.split;
        split.latest = split.latest.max(time.map(|(unix, _)| unix));
        match split.runs.last_mut() {
            // Targets are not compared with `==`: the zone matters for the label only, and the first line's zone counts.
            Some(run) if target.is_none_or(|target| is_same_window(run.target, target)) => {
                run.bytes.end = end;
                run.lines += lines;
            }
            _ => split.runs.push(LineRun {
                target: target.unwrap_or(WindowTarget::Previous),
                bytes: start..end,
                lines,
            }),
        }
    }

    fn window(&mut self, time: LineTime) -> Window {
        match self.last {
            Some((last, window)) if last == time => window,
            _ => {
                let window = window_of(time, self.length);
                self.last = Some((time, window));
                window
            }
        }
    }
}

/// Splits a complete `body` where the window changes.
pub(crate) fn split_by_window(body: &[u8], clock: LineClock<'_>, length: WindowLength) -> WindowSplit {
    WindowSplitter::new(clock, length).finish(body)
}

fn is_same_window(a: WindowTarget, b: WindowTarget) -> bool {
    match (a, b) {
        (WindowTarget::Window(a), WindowTarget::Window(b)) => a.start == b.start,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use logferry_config::TimestampFormat;
    use logferry_fields::Format;
    use proptest::prelude::*;

    use super::*;

    fn twenty_minutes() -> WindowLength {
        WindowLength::try_from(Duration::from_mins(20)).expect("divides an hour")
    }

    fn split(body: &[u8]) -> WindowSplit {
        let format = Format::default();
        let clock = LineClock::new(&format, TimestampFormat::Auto, 0);
        split_by_window(body, clock, twenty_minutes())
    }

    fn shape(body: &[u8]) -> Vec<(Option<i64>, Range<usize>, u64)> {
        let split = split(body);
        let start = |target| match target {
            WindowTarget::Previous => None,
            WindowTarget::Window(window) => Some(window.start),
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

    fn body(lines: &[(Option<u32>, String)], is_open: bool) -> Vec<u8> {
        let mut body = String::new();
        for (minute, text) in lines {
            if let Some(minute) = minute {
                let minute = format!("[21/Nov/2026:08:{minute:02}:00 +0000] ");
                body.push_str(&minute);
            }
            body.extend([text.as_str(), "\n"]);
        }
        if is_open {
            body.pop();
        }
        body.into_bytes()
    }

    proptest! {
        #[test]
        fn runs_cover_the_body_and_end_at_line_ends(
            lines in prop::collection::vec((prop::option::of(0_u32..60), "[a-z]{0,5}"), 0..40),
            is_open: bool,
        ) {
            let body = body(&lines, is_open);
            let split = split(&body);
            let mut at = 0;
            for run in &split.runs {
                prop_assert_eq!(run.bytes.start, at);
                prop_assert!(at == 0 || body[at - 1] == b'\n');
                at = run.bytes.end;
            }
            prop_assert_eq!(at, body.len());
            let newlines = memchr::memchr_iter(b'\n', &body).count();
            prop_assert_eq!(split.lines(), u64::try_from(newlines).expect("small"));
            prop_assert!(split.runs.windows(2).all(|pair| !is_same_window(pair[0].target, pair[1].target)));
        }
    }
}
