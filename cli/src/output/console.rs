//! Text on stdout and stderr.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use logferry_text::wrapped;
use serde::Serialize;

/// Characters of a progress line. A longer line could wrap on a terminal, and a wrapped line cannot be overwritten.
const PROGRESS_WIDTH: usize = 79;

/// How often progress on a terminal is updated.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Prints a message for people to stderr. Ignores a closed stderr.
pub(crate) fn print_error(message: &str) {
    let mut message = format!("logferry: {message}\n");
    if io::stderr().is_terminal() {
        message = message.lines().map(in_lines).collect();
    }
    print_hint(&message);
}

/// A line of a message in lines that fit a terminal. One that is indented is to be copied, and stays as it is.
fn in_lines(line: &str) -> String {
    if line.starts_with(' ') {
        format!("{line}\n")
    } else {
        wrapped(line)
    }
}

/// Prints to stderr. Ignores a closed stderr.
pub(crate) fn print_hint(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints to stdout. A reader that went away is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    print_while_read(text.as_bytes()).map(drop)
}

/// Prints to stdout; false if the reader went away.
pub(crate) fn print_while_read(text: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Prints a command's result: as JSON for programs, or as text for people.
pub(crate) fn print_result<T: Serialize>(
    json: bool,
    result: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(result)? + "\n"
    } else {
        text(result)
    };
    Ok(print(&text)?)
}

/// Asks a question at the terminal, on stderr; only `y` or `yes` is a yes. `None`: stdin is no terminal.
pub(crate) fn confirm(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    let answer = answer.trim();
    Ok(Some(
        ["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes)),
    ))
}

/// A line on stderr that shows progress. On a terminal it is overwritten in place.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    pub(crate) is_terminal: bool,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Ignores a closed stderr.
    pub(crate) fn show(&self, text: &str) {
        let _ = if self.is_terminal {
            let text: String = text.chars().take(PROGRESS_WIDTH).collect();
            write!(io::stderr(), "\r{text}\x1b[K")
        } else {
            writeln!(io::stderr(), "{text}")
        };
    }

    /// Removes the line from a terminal.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            self.show("");
        }
    }
}

/// Limits how often something is shown.
#[derive(Debug)]
pub(crate) struct ShowInterval {
    interval: Duration,
    shown_at: Option<Instant>,
}

impl ShowInterval {
    /// The first call of [`Self::is_due`] returns true.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            shown_at: None,
        }
    }

    /// [`Self::is_due`] first returns true after one interval.
    pub(crate) fn after_one(interval: Duration) -> Self {
        Self {
            interval,
            shown_at: Some(Instant::now()),
        }
    }

    /// Whether the interval is over. If it is, the next one begins.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.shown_at.is_none_or(|shown| now >= shown + self.interval);
        if is_due {
            self.shown_at = Some(now);
        }
        is_due
    }
}
