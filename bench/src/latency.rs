//! Single lines, at the pace of a quiet host: how soon each is durable.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_ledger::BatchContents;
use logferry_traffic::{LogFile, Traffic, TrafficOptions};

use crate::site::{self, Site};
use crate::source_log::keep;

/// The settings of `max_delay` that are measured, with the limits of p50 and p99: none, and the default.
const SETTINGS: [(&str, &str); 2] = [("0s", "≤ 10 / 50"), ("1s", "≤ 1010 / 1050")];

/// Between two looks at the ledger: the figures may be too high by as much.
const LOOK_EVERY: Duration = Duration::from_micros(500);

const LINES_PER_SECOND: u32 = 100;

/// Appends lines for so many seconds, for each setting; a table of the times.
pub(crate) fn latency(binary: &Path, folder: &Path, seconds: u32) -> anyhow::Result<String> {
    let mut text = format!(
        "append to durable at the relay, {LINES_PER_SECOND} lines/s for {seconds} s, ms\n\n\
         {:12}{:>10}{:>10}{:>10}{:>20}\n",
        "max_delay", "p50", "p99", "worst", "target p50 / p99"
    );
    for (max_delay, target) in SETTINGS {
        let folder = folder.join(max_delay);
        let times = line_times(binary, &folder, max_delay, seconds)?;
        let [p50, p99, worst] = [50, 99, 100].map(|percent| percentile(&times, percent).as_secs_f64() * 1e3);
        let _ = writeln!(
            text,
            "{max_delay:12}{p50:>10.1}{p99:>10.1}{worst:>10.1}{target:>20}"
        );
    }
    Ok(text)
}

/// The time that so many in a hundred of the sorted `times` do not exceed.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// From append to durable, of each line of so many seconds.
fn line_times(binary: &Path, folder: &Path, max_delay: &str, seconds: u32) -> anyhow::Result<Vec<Duration>> {
    let mut site = Site::start(binary, folder)?;
    let log = folder.join("access.log");
    let mut writer = LineWriter::new(&log).with_context(|| format!("cannot make {}", log.display()))?;
    // The first line makes the sender known to the relay. It is not measured.
    writer.append()?;
    site.add_sender(&log, max_delay)?;
    site.wait_for_lines(1, LOOK_EVERY)?;
    let times = follow(&mut site, &mut writer, &site::source(0), seconds)?;
    site.finish(writer.written)?;
    Ok(times)
}

/// Appends lines at their pace for so many seconds; from append to durable, of each, in order. `source` reads that log
/// and no other, and all that was written before is durable.
pub(crate) fn follow(
    site: &mut Site,
    writer: &mut LineWriter,
    source: &str,
    seconds: u32,
) -> anyhow::Result<Vec<Duration>> {
    let (before, lines) = (writer.written.lines, seconds * LINES_PER_SECOND);
    let (mut appended, mut times) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut next = 0;
    while times.len() < lines as usize {
        if next < lines && Instant::now() >= start + Duration::from_secs(1) * next / LINES_PER_SECOND {
            next += 1;
            appended.push(Instant::now());
            writer.append()?;
        }
        let durable = site.durable_of(source)?;
        let durable = durable.saturating_sub(before);
        site.check_progress(before + durable, before + u64::from(lines))?;
        let newly = appended.get(times.len()..usize::try_from(durable)?);
        times.extend(newly.unwrap_or_default().iter().map(Instant::elapsed));
        thread::sleep(LOOK_EVERY);
    }
    times.sort();
    Ok(times)
}

/// A log that grows line by line, and what it holds.
#[derive(Debug)]
pub(crate) struct LineWriter {
    file: LogFile,
    traffic: Traffic,
    line: Vec<u8>,
    pub(crate) written: BatchContents,
}

impl LineWriter {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let options = TrafficOptions {
            seed: 1,
            ids: None,
            health_every: None,
            zone: TimeZone::UTC,
        };
        Ok(Self {
            file: LogFile::open(path)?,
            traffic: Traffic::new(options),
            line: Vec::new(),
            written: BatchContents::default(),
        })
    }

    pub(crate) fn append(&mut self) -> io::Result<()> {
        self.line.clear();
        self.traffic.line(Timestamp::now(), &mut self.line);
        keep(&mut self.written, &self.line);
        self.file.append(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).as_millis();
        assert_eq!([at(50), at(99), at(100)], [100, 198, 200]);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
