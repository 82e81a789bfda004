//! Many senders, spread over several groups of one relay: at a steady rate, and with a backlog each after an outage.
//!
//! Every sender is a real process with its own address, but all read the same log. The relay sees ordinary sources,
//! and the machine writes one log only.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_config::units::format_size;

use crate::measurement::figures::{float, mebibytes, megabytes_per_second, milliseconds, percentile};
use crate::measurement::table::{high, low, table};
use crate::testbed::line_writer::{LineWriter, WriteRate};
use crate::testbed::relay_testbed::{RelayTestbed, source_name};
use crate::testbed::source_log;

/// Interval of the ledger queries. Times are too long by up to this.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Log time of a backlog after an outage: six hours.
const BACKLOG_SECONDS: u64 = 6 * 3600;

/// Bytes of a line, about. It only decides how fast a backlog's log time passes.
const LINE_BYTES: u64 = 200;

/// The senders and the groups of the relay.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ManySenders {
    /// Sender processes, each with its own address in 127.0.0.0/8
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=1000))]
    senders: u16,
    /// Groups of the relay; the senders are spread over them
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=50))]
    groups: u8,
    /// The senders' `max_delay`
    #[arg(long, default_value = "200ms")]
    max_delay: String,
}

/// Every sender at the same steady rate: the time from each line's append to its commit.
pub(crate) fn capacity(
    binary: &Path,
    folder: &Path,
    setup: &ManySenders,
    line_rate: WriteRate,
) -> anyhow::Result<String> {
    let folder = folder.join("testbed");
    let mut testbed = RelayTestbed::start(binary, &folder, setup.groups)?;
    let log = folder.join("access.log");
    let mut writer = LineWriter::new(&log)?;
    setup.start(&mut testbed, &log)?;
    testbed.wait_for_lines(u64::from(setup.senders), POLL_INTERVAL)?;

    let (before, start) = (testbed.usage()?.relay.cpu, Instant::now());
    let sources: Vec<_> = (0..usize::from(setup.senders)).map(source_name).collect();
    let times = writer.time_lines(&mut testbed, &sources, line_rate)?;
    let (wall, usage) = (start.elapsed(), testbed.usage()?);
    testbed.finish(writer.written())?;
    let cores = |cpu: Duration| cpu.as_secs_f64() / wall.as_secs_f64();
    let figures = [
        milliseconds(percentile(&times, 50)),
        milliseconds(percentile(&times, 99)),
        milliseconds(percentile(&times, 100)),
        mebibytes(usage.relay.peak_bytes),
        cores(usage.relay.cpu.saturating_sub(before)),
        cores(usage.senders.iter().map(|sender| sender.cpu).sum()),
    ];
    let rows = [
        low("line to durable, p50, ms", 0, ["", ""]),
        low("line to durable, p99, ms", 0, ["< 1000", ""]),
        low("line to durable, worst, ms", 0, ["", ""]),
        low("relay, peak MiB", 1, ["< 256", ""]),
        low("relay, cores", 2, ["", ""]),
        low("all senders, cores", 2, ["", ""]),
    ];
    let WriteRate { rate, seconds, .. } = line_rate;
    let title = format!("{setup}, each {rate} lines/s for {seconds} s");
    Ok(table(&title, &rows, &[figures]))
}

/// All senders start at the same time with a backlog each.
pub(crate) fn reconnect(
    binary: &Path,
    folder: &Path,
    setup: &ManySenders,
    backlog: u64,
) -> anyhow::Result<String> {
    let path = folder.join("access.log");
    let lines_per_second = (backlog / LINE_BYTES / BACKLOG_SECONDS).max(1);
    let log = source_log::write(&path, backlog, lines_per_second)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let folder = folder.join("testbed");
    let mut testbed = RelayTestbed::start(binary, &folder, setup.groups)?;
    let start = Instant::now();
    setup.start(&mut testbed, &path)?;
    let started = start.elapsed();
    let (mut first_line, mut done) = (BTreeMap::new(), BTreeMap::new());
    let mut slowest_halfway = None;
    let all = log.lines * u64::from(setup.senders);
    while done.len() < usize::from(setup.senders) {
        let (committed, now) = (testbed.committed_by_source()?, start.elapsed());
        for (source, &lines) in &committed {
            first_line.entry(source.clone()).or_insert(now);
            if lines >= log.lines {
                done.entry(source.clone()).or_insert(now);
            }
        }
        let total: u64 = committed.values().sum();
        if total >= all / 2 && slowest_halfway.is_none() {
            slowest_halfway = committed.values().copied().min();
        }
        testbed.check_progress(total, all)?;
        thread::sleep(POLL_INTERVAL);
    }
    let (wall, usage) = (start.elapsed(), testbed.usage()?);
    testbed.finish(log.kept)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let (first_line, done) = (sorted(first_line), sorted(done));
    let figures = [
        megabytes_per_second(log.bytes * u64::from(setup.senders), wall),
        started.as_secs_f64(),
        percentile(&first_line, 50).as_secs_f64(),
        percentile(&first_line, 100).as_secs_f64(),
        float(slowest_halfway.unwrap_or(0)) / float(log.lines) * 100.0,
        percentile(&done, 50).as_secs_f64(),
        percentile(&done, 100).as_secs_f64(),
        mebibytes(usage.relay.peak_bytes),
    ];
    let rows = [
        high("all senders, MB/s", 0, ["", ""]),
        low("all senders started, s", 1, ["", ""]),
        low("half the senders' first line, s", 1, ["", ""]),
        low("last sender's first line, s", 1, ["", ""]),
        high("slowest when all half done, %", 0, ["", ""]),
        low("half the senders done, s", 1, ["", ""]),
        low("all senders done, s", 1, ["", ""]),
        low("relay, peak MiB", 1, ["< 256", ""]),
    ];
    let size = format_size(backlog);
    let title = format!("{setup}, each with a backlog of {size} over 6 hours, all at once");
    Ok(table(&title, &rows, &[figures]))
}

impl ManySenders {
    /// Starts all senders, without a pause between them.
    fn start(&self, testbed: &mut RelayTestbed, log: &Path) -> anyhow::Result<()> {
        (0..self.senders).try_for_each(|_| testbed.add_sender(log, &self.max_delay))
    }
}

impl Display for ManySenders {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (senders, groups, max_delay) = (self.senders, self.groups, &self.max_delay);
        write!(f, "{senders} senders in {groups} groups, max_delay {max_delay}")
    }
}

fn sorted(times: BTreeMap<String, Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.into_values().collect();
    times.sort();
    times
}
