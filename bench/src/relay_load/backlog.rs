//! A backlog, shipped at full speed: throughput, CPU time and memory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_config::units::format_size;

use crate::measurement::disk_limit::{NextPiece, append_and_sync};
use crate::measurement::figures::{mebibytes, megabytes_per_second, seconds_per_gigabyte};
use crate::measurement::process::{ToolRun, Usage, run_tool};
use crate::measurement::table::{high, low, table};
use crate::testbed::relay_testbed::{RelayTestbed, TestbedUsage};
use crate::testbed::source_log::{self, BUSY_LINES_PER_SECOND, SourceLog};

/// The senders' `max_delay`; every other setting has its default. A backlog's last chunk is not full and waits this
/// long for more lines, which does not count as throughput.
const MAX_DELAY: &str = "20ms";

/// Interval of the ledger queries: well under one percent of a run, and of a core.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Ships one backlog `runs` times, each time after a `cp` + fsync of it.
pub(crate) fn ingest(binary: &Path, folder: &Path, size: u64, runs: usize) -> anyhow::Result<String> {
    let path = folder.join("access.log");
    let log = write_log(&path, size)?;
    let mut figures = Vec::new();
    for _ in 0..runs {
        let copied = copy_and_sync(&path, &folder.join("copy"))?;
        let limit = |next| append_and_sync(&path, &folder.join("copy"), next);
        let (in_turn, overlapped) = (limit(NextPiece::AfterSync)?, limit(NextPiece::DuringSync)?);
        let (wall, usage) = ship(binary, &folder.join("testbed"), &path, 1, log)?;
        let (sender, relay) = (total(&usage.senders), usage.relay);
        figures.push([
            megabytes_per_second(log.bytes, copied.wall),
            seconds_per_gigabyte(copied.cpu, log.bytes),
            megabytes_per_second(log.bytes, in_turn),
            megabytes_per_second(log.bytes, overlapped),
            megabytes_per_second(log.bytes, wall),
            copied.wall.as_secs_f64() / wall.as_secs_f64(),
            overlapped.as_secs_f64() / wall.as_secs_f64(),
            seconds_per_gigabyte(sender.cpu, log.bytes),
            seconds_per_gigabyte(relay.cpu, log.bytes),
            mebibytes(sender.peak_bytes),
            mebibytes(relay.peak_bytes),
        ]);
    }
    let rows = [
        high("cp + fsync, MB/s", 0, ["", ""]),
        low("cp + fsync, CPU-s/GB", 2, ["", ""]),
        high("append and sync in turn, MB/s", 0, ["", ""]),
        high("append during sync (limit), MB/s", 0, ["", ""]),
        high("file to durable, MB/s", 0, ["", ""]),
        high("  ÷ cp + fsync", 2, ["≥ 0.5", "≥ 0.8"]),
        high("  ÷ limit", 2, ["", "≥ 0.9"]),
        low("sender, CPU-s/GB", 2, ["≤ 1.2", "≤ 0.6"]),
        low("relay, CPU-s/GB", 2, ["≤ 2.0", "≤ 1.0"]),
        low("sender, peak MiB", 1, ["≤ 32", "≤ 32"]),
        low("relay, peak MiB", 1, ["≤ 128", "≤ 64"]),
    ];
    let title = format!("ingest of {}, {runs} runs", describe(size, log));
    Ok(table(&title, &rows, &figures))
}

/// Ships one backlog from each of many senders at once, after as many bytes from one sender.
pub(crate) fn senders(binary: &Path, folder: &Path, count: u16, size: u64) -> anyhow::Result<String> {
    let path = folder.join("access.log");
    let log = write_log(&path, size)?;
    let alone = folder.join("alone.log");
    let of_one = write_log(&alone, size * u64::from(count))?;
    let (wall_of_one, _) = ship(binary, &folder.join("testbed"), &alone, 1, of_one)?;
    let rate_of_one = megabytes_per_second(of_one.bytes, wall_of_one);
    let (wall, usage) = ship(binary, &folder.join("testbed"), &path, count, log)?;
    let (bytes, senders) = (log.bytes * u64::from(count), total(&usage.senders));
    let figures = [
        rate_of_one,
        megabytes_per_second(bytes, wall),
        megabytes_per_second(bytes, wall) / rate_of_one,
        seconds_per_gigabyte(senders.cpu, bytes),
        seconds_per_gigabyte(usage.relay.cpu, bytes),
        mebibytes(senders.peak_bytes),
        mebibytes(usage.relay.peak_bytes),
    ];
    let rows = [
        high("one sender, MB/s", 0, ["", ""]),
        high("all senders, MB/s", 0, ["", ""]),
        high("  ÷ one sender", 2, ["", "≥ 1"]),
        low("senders, CPU-s/GB", 2, ["", ""]),
        low("relay, CPU-s/GB", 2, ["", ""]),
        low("largest sender, peak MiB", 1, ["≤ 32", "≤ 16"]),
        low("relay, peak MiB", 1, ["≤ 128", "≤ 64"]),
    ];
    let title = format!("{count} senders at full speed, each {}", describe(size, log));
    Ok(table(&title, &rows, &[figures]))
}

pub(super) fn write_log(path: &Path, size: u64) -> anyhow::Result<SourceLog> {
    write_log_of(path, size, BUSY_LINES_PER_SECOND)
}

/// `lines_per_second`: of log time.
pub(super) fn write_log_of(path: &Path, size: u64, lines_per_second: u64) -> anyhow::Result<SourceLog> {
    source_log::write(path, size, lines_per_second)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Copies and syncs the log with the system's own tools.
fn copy_and_sync(from: &Path, to: &Path) -> anyhow::Result<ToolRun> {
    nix::unistd::sync();
    let mut command = Command::new("sh");
    command.args(["-c", "cp \"$1\" \"$2\" && sync \"$2\"", "copy"]);
    let run = run_tool(command.arg(from).arg(to))?;
    fs::remove_file(to).with_context(|| format!("cannot remove {}", to.display()))?;
    Ok(run)
}

/// Ships the log from `count` senders and checks the result. The time is that from their start to the last commit.
pub(super) fn ship(
    binary: &Path,
    folder: &Path,
    path: &Path,
    count: u16,
    log: SourceLog,
) -> anyhow::Result<(Duration, TestbedUsage)> {
    nix::unistd::sync();
    let mut testbed = RelayTestbed::start(binary, folder, 1)?;
    let start = Instant::now();
    for _ in 0..count {
        testbed.add_sender(path, MAX_DELAY)?;
    }
    testbed.wait_for_lines(log.lines * u64::from(count), POLL_INTERVAL)?;
    let run = (start.elapsed(), testbed.usage()?);
    testbed.finish(log.kept)?;
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(run)
}

/// The CPU time of all, and the memory of the largest.
pub(super) fn total(usages: &[Usage]) -> Usage {
    Usage {
        cpu: usages.iter().map(|usage| usage.cpu).sum(),
        peak_bytes: usages.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0),
    }
}

fn describe(size: u64, log: SourceLog) -> String {
    let (size, lines, excluded) = (format_size(size), log.lines, log.lines - log.kept.lines);
    format!("{size} ({lines} lines, {excluded} of them excluded by rule)")
}
