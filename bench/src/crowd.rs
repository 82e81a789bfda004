//! A crowd of senders, spread over several groups of one relay: at a steady pace, and with a backlog each after an
//! outage.
//!
//! All senders are real processes with an address of their own, but read the same log: to the relay they are sources
//! like any other, and the disk and this machine's writer are spared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_config::units::format_size;

use crate::latency::{LineWriter, percentile};
use crate::report::{Good, Row, float, mebibytes, megabytes_per_second, table};
use crate::site::Site;
use crate::source_log;

/// Between two looks at the ledger: the figures may be too high by as much.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Log time that a herd's backlog spans: six hours.
const HERD_SECONDS: u64 = 6 * 3600;

/// Bytes of a line, nearly: only the pace of a herd's log time hangs on it.
const LINE_BYTES: u64 = 200;

/// Who sends, and to how many groups.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Crowd {
    /// Sender processes, each with an address of its own in 127.0.0.0/8
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=1000))]
    senders: u16,
    /// Groups of the relay that they are spread over
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=50))]
    groups: u8,
    /// The senders' `max_delay`
    #[arg(long, default_value = "200ms")]
    max_delay: String,
}

/// Every sender at the same steady pace: how soon each line is durable. `flush`: how often the log is written to, as
/// with nginx's `flush=`.
pub(crate) fn capacity(
    binary: &Path,
    folder: &Path,
    crowd: &Crowd,
    rate: u32,
    seconds: u32,
    flush: Duration,
) -> anyhow::Result<String> {
    let folder = folder.join("site");
    let mut site = Site::start_with_groups(binary, &folder, crowd.groups)?;
    let log = folder.join("access.log");
    let mut writer = LineWriter::new(&log).with_context(|| format!("cannot make {}", log.display()))?;
    // The first line makes the senders known to the relay. It is not measured.
    writer.append()?;
    crowd.start(&mut site, &log)?;
    site.wait_for_lines(u64::from(crowd.senders), LOOK_EVERY)?;

    let before = site.usage()?.relay.cpu;
    let start = Instant::now();
    let (mut appended, mut times) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let lines = usize::try_from(rate * seconds)?;
    let all = lines * usize::from(crowd.senders);
    let mut next_flush = start;
    while times.len() < all {
        let due = start.elapsed().as_millis() * u128::from(rate) / 1000;
        if Instant::now() >= next_flush {
            next_flush += flush;
            for _ in appended.len()..usize::try_from(due)?.min(lines) {
                appended.push(Instant::now());
                writer.append()?;
            }
        }
        let now = Instant::now();
        for (source, durable) in site.durable_by_source()? {
            let (durable, seen) = (usize::try_from(durable)? - 1, seen.entry(source).or_default());
            let newly = appended.get(*seen..durable).unwrap_or_default();
            times.extend(newly.iter().map(|&at| now.saturating_duration_since(at)));
            *seen = durable;
        }
        site.check_progress(u64::try_from(times.len())?, u64::try_from(all)?)?;
        thread::sleep(LOOK_EVERY);
    }
    let (wall, usage) = (start.elapsed(), site.usage()?);
    site.finish(writer.written)?;
    times.sort();
    let low_row = |name, value, decimals, targets| one(name, value, decimals, Good::Low, targets);
    let at = |percent| percentile(&times, percent).as_secs_f64() * 1e3;
    let share = |cpu: Duration| cpu.as_secs_f64() / wall.as_secs_f64();
    let senders: Duration = usage.senders.iter().map(|sender| sender.cpu).sum();
    let rows = [
        low_row("line to durable, p50, ms", at(50), 0, ["", ""]),
        low_row("line to durable, p99, ms", at(99), 0, ["< 1000", ""]),
        low_row("line to durable, worst, ms", at(100), 0, ["", ""]),
        low_row(
            "relay, peak MiB",
            mebibytes(usage.relay.peak_bytes),
            1,
            ["< 256", ""],
        ),
        low_row(
            "relay, cores",
            share(usage.relay.cpu.saturating_sub(before)),
            2,
            ["", ""],
        ),
        low_row("all senders, cores", share(senders), 2, ["", ""]),
    ];
    let title = format!("{crowd}, each {rate} lines/s for {seconds} s");
    Ok(table(&title, &rows))
}

/// Every sender with a backlog, all at once.
pub(crate) fn herd(binary: &Path, folder: &Path, crowd: &Crowd, backlog: u64) -> anyhow::Result<String> {
    let log = folder.join("access.log");
    let pace = (backlog / LINE_BYTES / HERD_SECONDS).max(1);
    let model =
        source_log::write(&log, backlog, pace).with_context(|| format!("cannot write {}", log.display()))?;
    let folder = folder.join("site");
    let mut site = Site::start_with_groups(binary, &folder, crowd.groups)?;
    let start = Instant::now();
    crowd.start(&mut site, &log)?;
    let started = start.elapsed().as_secs_f64();
    let mut done: BTreeMap<String, Duration> = BTreeMap::new();
    let (mut first, mut halfway) = (BTreeMap::new(), None);
    let all = model.lines * u64::from(crowd.senders);
    while done.len() < usize::from(crowd.senders) {
        let (durable, now) = (site.durable_by_source()?, start.elapsed());
        for (source, &lines) in &durable {
            first.entry(source.clone()).or_insert(now);
            if lines >= model.lines {
                done.entry(source.clone()).or_insert(now);
            }
        }
        let total: u64 = durable.values().sum();
        if total >= all / 2 && halfway.is_none() {
            halfway = Some(durable.values().copied().min().unwrap_or(0));
        }
        site.check_progress(total, all)?;
        thread::sleep(LOOK_EVERY);
    }
    let (wall, usage) = (start.elapsed(), site.usage()?);
    site.finish(model.kept)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let (first, done) = (sorted(first), sorted(done));
    let bytes = model.bytes * u64::from(crowd.senders);
    let least = float(halfway.unwrap_or(0)) / float(model.lines) * 100.0;
    let seconds = |times: &[Duration], percent| percentile(times, percent).as_secs_f64();
    let low_row = |name, value, decimals, targets| one(name, value, decimals, Good::Low, targets);
    let rows = [
        one(
            "all senders, MB/s",
            megabytes_per_second(bytes, wall),
            0,
            Good::High,
            ["", ""],
        ),
        low_row("all senders started, s", started, 1, ["", ""]),
        low_row(
            "half the senders' first line, s",
            seconds(&first, 50),
            1,
            ["", ""],
        ),
        low_row("last sender's first line, s", seconds(&first, 100), 1, ["", ""]),
        one("least of one, all half done, %", least, 0, Good::High, ["", ""]),
        low_row("half the senders done, s", seconds(&done, 50), 1, ["", ""]),
        low_row("all senders done, s", seconds(&done, 100), 1, ["", ""]),
        low_row(
            "relay, peak MiB",
            mebibytes(usage.relay.peak_bytes),
            1,
            ["< 256", ""],
        ),
    ];
    let title = format!(
        "{crowd}, each with a backlog of {} over 6 hours, all at once",
        format_size(backlog)
    );
    Ok(table(&title, &rows))
}

impl Crowd {
    /// Starts all senders, as many at once as the machine can.
    fn start(&self, site: &mut Site, log: &Path) -> anyhow::Result<()> {
        for _ in 0..self.senders {
            site.add_sender(log, &self.max_delay)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} senders in {} groups, max_delay {}",
            self.senders, self.groups, self.max_delay
        )
    }
}

fn sorted(times: BTreeMap<String, Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.into_values().collect();
    times.sort();
    times
}

fn one(name: &'static str, value: f64, decimals: usize, good: Good, targets: [&'static str; 2]) -> Row {
    Row {
        name,
        values: vec![value],
        decimals,
        good,
        targets,
    }
}
