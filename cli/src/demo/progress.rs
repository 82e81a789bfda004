//! How far the demo is, as a live table: redrawn in place on a terminal, a block every few seconds elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::exit;
use crate::table::{self, Side, Table};

/// Between two blocks where the output is no terminal.
const BLOCK_EVERY: Duration = Duration::from_secs(5);

/// One source at one moment, in lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceProgress {
    pub(crate) source: String,
    /// Requests its log got.
    pub(crate) written: u64,
    /// Health checks its log got.
    pub(crate) health_checks: u64,
    /// Durable at the relay.
    pub(crate) received: u64,
    /// In batches that stand at the destination.
    pub(crate) delivered: u64,
}

impl SourceProgress {
    /// Lines that the relay does not have yet.
    fn lag(&self) -> u64 {
        self.written.saturating_sub(self.received)
    }

    /// Whether every line written is at the destination.
    pub(crate) fn is_done(&self) -> bool {
        self.delivered >= self.written
    }
}

/// Shows progress on stdout.
pub(crate) struct Display {
    /// Rows of the last block, on a terminal: the next is drawn over them.
    drawn: usize,
    is_terminal: bool,
    shown_at: Option<Instant>,
}

impl Display {
    pub(crate) fn new() -> Self {
        Self {
            drawn: 0,
            is_terminal: io::stdout().is_terminal(),
            shown_at: None,
        }
    }

    /// Shows `progress` if it is time to.
    pub(crate) fn show(&mut self, phase: &str, progress: &[SourceProgress]) -> io::Result<()> {
        let is_due = self.shown_at.is_none_or(|at| at.elapsed() >= BLOCK_EVERY);
        if !self.is_terminal && !is_due {
            return Ok(());
        }
        self.shown_at = Some(Instant::now());
        self.draw(phase, progress)
    }

    /// Shows `progress` now.
    pub(crate) fn draw(&mut self, phase: &str, progress: &[SourceProgress]) -> io::Result<()> {
        let block = block(phase, progress);
        let mut text = Vec::new();
        if self.drawn > 0 {
            // Up to the first row of the last block, and clear from there (ECMA-48, CPL and ED).
            write!(text, "\x1b[{}F\x1b[J", self.drawn)?;
        }
        text.extend_from_slice(block.as_bytes());
        if self.is_terminal {
            self.drawn = block.lines().count();
        }
        exit::print(&String::from_utf8_lossy(&text))
    }
}

fn block(phase: &str, progress: &[SourceProgress]) -> String {
    let right = |title| (title, Side::Right);
    let mut table = Table::new([
        ("source", Side::Left),
        right("written"),
        right("excluded"),
        right("received"),
        right("delivered"),
        right("lag"),
    ]);
    for source in progress.iter().chain([&total(progress)]) {
        table.row([
            source.source.clone(),
            table::count(source.written + source.health_checks),
            table::count(source.health_checks),
            table::count(source.received),
            table::count(source.delivered),
            table::count(source.lag()),
        ]);
    }
    format!("{phase}\n{table}\n")
}

fn total(progress: &[SourceProgress]) -> SourceProgress {
    let sum = |value: fn(&SourceProgress) -> u64| progress.iter().map(value).sum();
    SourceProgress {
        source: "all".to_owned(),
        written: sum(|source| source.written),
        health_checks: sum(|source| source.health_checks),
        received: sum(|source| source.received),
        delivered: sum(|source| source.delivered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_has_a_row_per_source_and_a_total() {
        let source = |name: &str, lines| SourceProgress {
            source: name.to_owned(),
            written: lines,
            health_checks: 10,
            received: lines - 100,
            delivered: lines - 1_000,
        };
        assert_eq!(
            block(
                "writing, 3 s left",
                &[source("127.0.0.11", 12_000), source("127.0.0.12", 3_000)]
            ),
            "writing, 3 s left\n\
             source      written  excluded  received  delivered  lag\n\
             127.0.0.11   12,010        10    11,900     11,000  100\n\
             127.0.0.12    3,010        10     2,900      2,000  100\n\
             all          15,020        20    14,800     13,000  200\n\n"
        );
    }
}
