//! A backlog, shipped at full speed: throughput, CPU time and memory.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_config::units::format_size;

use crate::process::{Usage, timed};
use crate::report::{Good, Row, mebibytes, megabytes_per_second, seconds_per_gigabyte, table};
use crate::site::{Site, SiteUsage};
use crate::source_log::{self, BUSY_LINES_PER_SECOND, Model};

/// The senders' `max_delay`; every other setting is the default. The last chunk of a backlog is not full and waits so
/// long for more lines, which is no part of the throughput.
const MAX_DELAY: &str = "20ms";

/// Between two looks at a backlog: well under one percent of a run, and of a core.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One run: file to durable.
#[derive(Debug)]
struct Run {
    wall: Duration,
    usage: SiteUsage,
}

/// Ships one backlog several times, in turn with `cp` + fsync of it.
pub(crate) fn ingest(binary: &Path, folder: &Path, size: u64, runs: NonZeroUsize) -> anyhow::Result<String> {
    let log = folder.join("access.log");
    let model = make_log(&log, size)?;
    let mut measured = Vec::new();
    for _ in 0..runs.get() {
        let copied = copy(&log, &folder.join("copy"))?;
        measured.push((copied, ship(binary, &folder.join("site"), &log, 1, model)?));
    }
    let title = format!("ingest of {}, {runs} runs", describe(size, model));
    Ok(table(&title, &ingest_rows(model.bytes, &measured)))
}

fn ingest_rows(bytes: u64, measured: &[((Duration, Duration), Run)]) -> Vec<Row> {
    let row = |name, decimals, good, targets, value: &dyn Fn(&(Duration, Duration), &Run) -> f64| Row {
        name,
        values: measured.iter().map(|(copied, run)| value(copied, run)).collect(),
        decimals,
        good,
        targets,
    };
    let sender = |run: &Run| total(&run.usage.senders);
    vec![
        row("cp + fsync, MB/s", 0, Good::High, ["", ""], &|(wall, _), _| {
            megabytes_per_second(bytes, *wall)
        }),
        row("cp + fsync, CPU-s/GB", 2, Good::Low, ["", ""], &|(_, cpu), _| {
            seconds_per_gigabyte(*cpu, bytes)
        }),
        row("file to durable, MB/s", 0, Good::High, ["", ""], &|_, run| {
            megabytes_per_second(bytes, run.wall)
        }),
        row(
            "  ÷ cp + fsync",
            2,
            Good::High,
            ["≥ 0.5", "≥ 0.8"],
            &|(wall, _), run| wall.as_secs_f64() / run.wall.as_secs_f64(),
        ),
        row(
            "sender, CPU-s/GB",
            2,
            Good::Low,
            ["≤ 1.2", "≤ 0.9"],
            &|_, run| seconds_per_gigabyte(sender(run).cpu, bytes),
        ),
        row(
            "relay, CPU-s/GB",
            2,
            Good::Low,
            ["≤ 2.0", "≤ 1.6"],
            &|_, run| seconds_per_gigabyte(run.usage.relay.cpu, bytes),
        ),
        row(
            "sender, peak MiB",
            1,
            Good::Low,
            ["≤ 32", "≤ 16"],
            &|_, run| mebibytes(sender(run).peak_bytes),
        ),
        row(
            "relay, peak MiB",
            1,
            Good::Low,
            ["≤ 128", "≤ 64"],
            &|_, run| mebibytes(run.usage.relay.peak_bytes),
        ),
    ]
}

/// Ships one backlog from each of many senders at once.
pub(crate) fn senders(binary: &Path, folder: &Path, count: u8, size: u64) -> anyhow::Result<String> {
    let log = folder.join("access.log");
    let model = make_log(&log, size)?;
    let run = ship(binary, &folder.join("site"), &log, count, model)?;
    let (bytes, all) = (model.bytes * u64::from(count), total(&run.usage.senders));
    let row = |name, value, decimals, good, targets| Row {
        name,
        values: vec![value],
        decimals,
        good,
        targets,
    };
    let speed = megabytes_per_second(bytes, run.wall);
    let sender_cost = seconds_per_gigabyte(all.cpu, bytes);
    let relay_cost = seconds_per_gigabyte(run.usage.relay.cpu, bytes);
    let relay_peak = mebibytes(run.usage.relay.peak_bytes);
    let rows = [
        row("all senders, MB/s", speed, 0, Good::High, ["", ""]),
        row("senders, CPU-s/GB", sender_cost, 2, Good::Low, ["", ""]),
        row("relay, CPU-s/GB", relay_cost, 2, Good::Low, ["", ""]),
        row(
            "largest sender, peak MiB",
            mebibytes(all.peak_bytes),
            1,
            Good::Low,
            ["≤ 32", "≤ 16"],
        ),
        row("relay, peak MiB", relay_peak, 1, Good::Low, ["≤ 128", "≤ 64"]),
    ];
    let title = format!("{count} senders at full speed, each {}", describe(size, model));
    Ok(table(&title, &rows))
}

fn make_log(path: &Path, size: u64) -> anyhow::Result<Model> {
    source_log::write(path, size, BUSY_LINES_PER_SECOND)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Copies and syncs the log with the system's own tools; the time on the clock, and of the CPU.
fn copy(from: &Path, to: &Path) -> anyhow::Result<(Duration, Duration)> {
    settle();
    let mut command = Command::new("sh");
    command.args(["-c", "cp \"$1\" \"$2\" && sync \"$2\"", "copy"]);
    let taken = timed(command.arg(from).arg(to))?;
    fs::remove_file(to).with_context(|| format!("cannot remove {}", to.display()))?;
    Ok(taken)
}

/// Ships the log from `count` senders, and proves the result.
fn ship(binary: &Path, folder: &Path, log: &Path, count: u8, model: Model) -> anyhow::Result<Run> {
    settle();
    let mut site = Site::start(binary, folder)?;
    let start = Instant::now();
    for _ in 0..count {
        site.add_sender(log, MAX_DELAY)?;
    }
    site.wait_for_lines(model.lines * u64::from(count), LOOK_EVERY)?;
    let run = Run {
        wall: start.elapsed(),
        usage: site.usage()?,
    };
    site.finish(model.kept)?;
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(run)
}

/// Waits until the disk has nothing left of what was before.
fn settle() {
    nix::unistd::sync();
}

/// The CPU time of all, and the memory of the largest.
fn total(usages: &[Usage]) -> Usage {
    Usage {
        cpu: usages.iter().map(|usage| usage.cpu).sum(),
        peak_bytes: usages.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0),
    }
}

fn describe(size: u64, model: Model) -> String {
    let dropped = model.lines - model.kept.lines;
    format!(
        "{} ({} lines, {dropped} of them dropped by rule)",
        format_size(size),
        model.lines
    )
}
