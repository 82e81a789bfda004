//! A log that grows line by line, and the time from each line's append to its commit at the relay.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use logferry_ledger::BatchContents;
use logferry_traffic::{LogFile, Traffic, TrafficOptions};

use super::relay_testbed::RelayTestbed;
use super::source_log::count_line;

/// How fast lines are appended, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteRate {
    /// Lines per second.
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    /// Interval of the writes, as with nginx's `flush=`; zero: line by line.
    pub(crate) flush: Duration,
    /// Interval of the ledger queries. Times are too long by up to this.
    pub(crate) poll: Duration,
}

/// A growing log and its contents so far.
#[derive(Debug)]
pub(crate) struct LineWriter {
    file: LogFile,
    traffic: Traffic,
    line: Vec<u8>,
    written: BatchContents,
}

impl LineWriter {
    /// Creates the log with one line. That line makes its senders known to the relay and is not timed.
    pub(crate) fn new(log: &Path) -> anyhow::Result<Self> {
        let mut writer = Self {
            file: LogFile::open(log).with_context(|| format!("cannot create {}", log.display()))?,
            traffic: Traffic::new(TrafficOptions::default()),
            line: Vec::new(),
            written: BatchContents::default(),
        };
        writer.append()?;
        Ok(writer)
    }

    /// The contents of the log.
    pub(crate) const fn written(&self) -> BatchContents {
        self.written
    }

    fn append(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        self.traffic.line(Timestamp::now(), &mut self.line);
        count_line(&mut self.written, &self.line);
        self.file.append(&self.line).context("cannot append to the log")
    }

    /// Appends lines at `pace`. Returns the sorted times from append to commit, one for each line and each of
    /// `sources`. All sources read this log, and all its earlier lines are committed.
    pub(crate) fn time_lines(
        &mut self,
        testbed: &mut RelayTestbed,
        sources: &[String],
        line_rate: WriteRate,
    ) -> anyhow::Result<Vec<Duration>> {
        let before = usize::try_from(self.written.lines)?;
        let lines = usize::try_from(line_rate.rate * line_rate.seconds)?;
        let (mut appended, mut times) = (Vec::new(), Vec::new());
        let mut counted = vec![0; sources.len()];
        let start = Instant::now();
        let mut next_flush = start;
        while times.len() < lines * sources.len() {
            if Instant::now() >= next_flush {
                next_flush += line_rate.flush;
                let due = start.elapsed().as_micros() * u128::from(line_rate.rate) / 1_000_000 + 1;
                for _ in appended.len()..usize::try_from(due)?.min(lines) {
                    appended.push(Instant::now());
                    self.append()?;
                }
            }
            let committed = testbed.committed_by_source()?;
            for (source, counted) in sources.iter().zip(&mut counted) {
                let total = usize::try_from(committed.get(source).copied().unwrap_or(0))?;
                let total = total.saturating_sub(before);
                let new = appended.get(*counted..total).unwrap_or_default();
                times.extend(new.iter().map(Instant::elapsed));
                *counted = total;
            }
            let earlier = before * sources.len();
            let (at, of) = (earlier + times.len(), earlier + lines * sources.len());
            testbed.check_progress(u64::try_from(at)?, u64::try_from(of)?)?;
            thread::sleep(line_rate.poll);
        }
        times.sort();
        Ok(times)
    }
}
