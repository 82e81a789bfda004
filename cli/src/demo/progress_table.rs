//! The demo's progress as a table: redrawn in place on a terminal, printed every few seconds elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use logferry_text::{Table, count};

use crate::output::console::{self, ShowInterval};

/// Time between two tables where stdout is no terminal.
const TABLE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of one source, in lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceRow {
    pub(crate) source: String,
    /// Requests in its log.
    pub(crate) written: u64,
    /// Health checks in its log.
    pub(crate) health_checks: u64,
    /// Stored at the relay.
    pub(crate) received: u64,
    /// In batches at the destination.
    pub(crate) delivered: u64,
}

impl SourceRow {
    /// Whether every line written is at the destination.
    pub(crate) fn is_done(&self) -> bool {
        self.delivered >= self.written
    }
}

/// Shows progress on stdout.
pub(crate) struct ProgressTable {
    /// Lines of the last table on a terminal. The next one overwrites them.
    drawn: usize,
    is_terminal: bool,
    interval: ShowInterval,
}

impl ProgressTable {
    pub(crate) fn new() -> Self {
        Self {
            drawn: 0,
            is_terminal: io::stdout().is_terminal(),
            interval: ShowInterval::new(TABLE_INTERVAL),
        }
    }

    /// Shows the progress, on a terminal always, elsewhere once per interval.
    pub(crate) fn show(&mut self, phase: &str, progress: &[SourceRow]) -> io::Result<()> {
        if self.is_terminal || self.interval.is_due() {
            self.draw(phase, progress)?;
        }
        Ok(())
    }

    /// Shows the progress now.
    pub(crate) fn draw(&mut self, phase: &str, progress: &[SourceRow]) -> io::Result<()> {
        let table = table(phase, progress);
        let mut text = String::new();
        if self.drawn > 0 {
            // Cursor to the first line of the last table, and clear from there (ECMA-48, CPL and ED).
            text = format!("\x1b[{}F\x1b[J", self.drawn);
        }
        text += &table;
        if self.is_terminal {
            self.drawn = table.lines().count();
        }
        console::print(&text)
    }
}

fn table(phase: &str, progress: &[SourceRow]) -> String {
    let mut table = Table::new([
        "source",
        ">written",
        ">excluded",
        ">received",
        ">delivered",
        ">lag",
    ]);
    for source in progress.iter().chain([&total(progress)]) {
        table.row([
            source.source.clone(),
            count(source.written + source.health_checks),
            count(source.health_checks),
            count(source.received),
            count(source.delivered),
            count(source.written.saturating_sub(source.received)),
        ]);
    }
    format!("{phase}\n{table}\n")
}

fn total(progress: &[SourceRow]) -> SourceRow {
    let sum = |value: fn(&SourceRow) -> u64| progress.iter().map(value).sum();
    SourceRow {
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
    fn table_has_a_row_per_source_and_a_total() {
        let source = |name: &str, lines| SourceRow {
            source: name.to_owned(),
            written: lines,
            health_checks: 10,
            received: lines - 100,
            delivered: lines - 1_000,
        };
        let progress = [source("127.0.0.11", 12_000), source("127.0.0.12", 3_000)];
        assert_eq!(
            table("writing, 3 s left", &progress),
            "writing, 3 s left\n\
             source      written  excluded  received  delivered  lag\n\
             127.0.0.11   12,010        10    11,900     11,000  100\n\
             127.0.0.12    3,010        10     2,900      2,000  100\n\
             all          15,020        20    14,800     13,000  200\n\n"
        );
    }
}
