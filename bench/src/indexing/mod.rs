//! The whole indexer: fields, numbers, frames and filters; far behind, live, and beside a relay; and its sink.
//!
//! `backlog` writes what it has not read yet, `index_run` runs it.

mod backlog;
mod index_run;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use logferry_config::units::parse_size;
use logferry_embedded_servers::SearchServer;
use logferry_ledger::BatchContents;

use self::index_run::IndexRun;
use crate::measurement::figures::{float, mebibytes, megabytes_per_second, seconds_per_gigabyte};
use crate::measurement::process::Usage;
use crate::relay_load::latency::{RATE as QUIET_RATE, quiet_rate, quiet_sender};
use crate::testbed::line_writer::{LineWriter, WriteRate};
use crate::testbed::relay_testbed::{RelayTestbed, data_dir, source_name};

/// Lines a second of all senders together, live.
const LIVE_RATE: u32 = 20_000;

/// Senders of the live measurement, all of one log.
const LIVE_SENDERS: u32 = 10;

/// How often the relay is measured without and with the indexer, in turns.
const TURNS: usize = 3;

/// What is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct IndexLoad {
    /// Bytes that the indexer is behind
    #[arg(long, default_value = "2GiB", value_parser = parse_size)]
    size: u64,
    /// Sources that they are of, a batch each
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    sources: u16,
    /// Seconds of the measurement of lines as they come, and of each beside a relay
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// Catches up, then indexes live, then catches up beside a relay. The tables.
pub(crate) fn indexer(binary: &Path, dir: &Path, load: IndexLoad) -> anyhow::Result<String> {
    let mut text = catch_up(binary, &dir.join("catch-up"), load)?;
    text += &live(binary, &dir.join("live"), load.seconds)?;
    text += &beside_relay(binary, &dir.join("beside"), load)?;
    Ok(text)
}

/// Far behind, nothing beside it.
fn catch_up(binary: &Path, dir: &Path, load: IndexLoad) -> anyhow::Result<String> {
    let data_dir = dir.join("relay");
    let written = backlog::write(&data_dir, load.size, load.sources)?;
    let started = Instant::now();
    let mut run = IndexRun::start(binary, &data_dir, dir, None)?;
    let usage = run.wait_for(written.bytes)?;
    let took = started.elapsed();
    let stored = run.finish(written)?;
    fs::remove_dir_all(dir)?;
    let mut text = format!(
        "catch-up: {:.0} MiB, {} lines of {} sources\n\n",
        mebibytes(written.bytes),
        written.lines,
        load.sources
    );
    let cores = usage.cpu.as_secs_f64() * f64::from(LIVE_RATE) / float(written.lines);
    let rows = [
        ("MB/s", megabytes_per_second(written.bytes, took), 0, ""),
        (
            "MB for a second of CPU time",
            megabytes_per_second(written.bytes, usage.cpu),
            0,
            "≥ 100",
        ),
        ("cores at 20,000 lines/s", cores, 3, "≤ 0.08"),
        (
            "store and index.db ÷ lines",
            float(stored) / float(written.bytes),
            3,
            "≤ 0.14",
        ),
        ("peak memory, MiB", mebibytes(usage.peak_bytes), 0, "≤ 64"),
    ];
    add_rows(&mut text, rows);
    Ok(text)
}

/// As lines come: ten senders of one log, one relay, one indexer.
fn live(binary: &Path, dir: &Path, seconds: u32) -> anyhow::Result<String> {
    let mut testbed = RelayTestbed::start(binary, dir, 1)?;
    let log = dir.join("access.log");
    let mut writer = LineWriter::new(&log)?;
    let sources: Vec<String> = (0..LIVE_SENDERS as usize).map(source_name).collect();
    for _ in 0..LIVE_SENDERS {
        testbed.add_sender(&log, "500ms")?;
    }
    testbed.wait_for_lines(LIVE_SENDERS.into(), Duration::from_millis(5))?;
    let mut run = IndexRun::start(binary, &data_dir(dir), &dir.join("indexer"), None)?;
    let first = BatchContents {
        bytes: writer.written().bytes * u64::from(LIVE_SENDERS),
        ..BatchContents::default()
    };
    let before = run.wait_for(first.bytes)?;
    let started = Instant::now();
    let line_rate = WriteRate {
        rate: LIVE_RATE / LIVE_SENDERS,
        seconds,
        flush: Duration::from_millis(20),
        poll: Duration::from_millis(20),
    };
    writer.time_lines(&mut testbed, &sources, line_rate)?;
    let (committed, took) = (Instant::now(), started.elapsed());
    let one = writer.written();
    let all = BatchContents {
        bytes: one.bytes * u64::from(LIVE_SENDERS),
        lines: one.lines * u64::from(LIVE_SENDERS),
        crc32c: 0,
    };
    let after = run.wait_for(all.bytes)?;
    let behind = committed.elapsed();
    // Its size says nothing: ten times the same lines.
    run.finish(all)?;
    testbed.finish(one)?;
    fs::remove_dir_all(dir)?;
    let cpu = after.cpu.saturating_sub(before.cpu);
    let mut text = format!("\nlive: {LIVE_RATE} lines/s for {seconds} s\n\n");
    let rows = [
        ("cores", cpu.as_secs_f64() / took.as_secs_f64(), 3, "≤ 0.08"),
        ("indexed after the last commit, s", behind.as_secs_f64(), 2, "≤ 1"),
        ("peak memory, MiB", mebibytes(after.peak_bytes), 0, "≤ 64"),
    ];
    add_rows(&mut text, rows);
    Ok(text)
}

/// One sender's lines at a quiet host's pace, without and with an indexer that catches up on the same disk.
fn beside_relay(binary: &Path, dir: &Path, load: IndexLoad) -> anyhow::Result<String> {
    let written = backlog::write(&data_dir(dir), load.size, load.sources)?;
    let (mut testbed, mut writer) = quiet_sender(binary, dir, 1, "0s")?;
    let sources = [source_name(0)];
    let mut text = format!(
        "\nbeside a relay with {QUIET_RATE} lines/s, {} s each: commit p50 and p99, ms\n\n{:34}{:>20}{:>20}\n",
        load.seconds, "", "alone", "beside a catch-up"
    );
    for turn in 0..TURNS {
        let mut figures = Vec::new();
        let mut share = String::new();
        for with_indexer in [false, true] {
            let folder = dir.join(format!("indexer-{turn}"));
            let run = with_indexer.then(|| IndexRun::start(binary, &data_dir(dir), &folder, None));
            let run = run.transpose()?;
            let before = testbed.commit_times(0)?;
            writer.time_lines(&mut testbed, &sources, quiet_rate(load.seconds))?;
            let commits = testbed.commit_times(0)?;
            let times = [50.0, 99.0].map(|percent| commits.percentile_since(&before, percent));
            figures.push(format!("{:.1} / {:.1}", times[0], times[1]));
            if let Some(run) = run {
                let (recorded, _) = run.recorded();
                share = format!(
                    "{:.0} % caught up",
                    100.0 * float(recorded) / float(written.bytes)
                );
                run.daemon.stop()?;
                fs::remove_dir_all(&folder)?;
            }
        }
        let [alone, beside] = [0, 1].map(|case: usize| figures.get(case).cloned().unwrap_or_default());
        let _ = writeln!(text, "turn {:<29}{alone:>20}{beside:>20}   {share}", turn + 1);
    }
    testbed.finish(writer.written())?;
    fs::remove_dir_all(dir)?;
    Ok(text)
}

/// Sends a backlog to a server that answers as OpenSearch does and forgets what it gets. The table.
pub(crate) fn sink(binary: &Path, dir: &Path, size: u64, sources: u16) -> anyhow::Result<String> {
    let data_dir = dir.join("relay");
    let written = backlog::write(&data_dir, size, sources)?;
    // The indexer alone first: what the sink costs is the rest.
    let alone = IndexRun::start(binary, &data_dir, &dir.join("alone"), None)?;
    let alone = run_to_end(alone, written)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start a server's threads")?;
    let server = runtime
        .block_on(SearchServer::start())
        .context("cannot start a server")?;
    server.set_script(|script| script.is_counting_only = true);
    let started = Instant::now();
    let mut run = IndexRun::start(binary, &data_dir, &dir.join("with-sink"), Some(&server.url()))?;
    let (mut sent, mut last_progress) = (0, Instant::now());
    let usage = loop {
        let usage = run.daemon.usage()?;
        let count = u64::try_from(server.count())?;
        if count >= written.lines {
            break usage;
        }
        if count > sent {
            (sent, last_progress) = (count, Instant::now());
        }
        ensure!(
            last_progress.elapsed() < Duration::from_mins(1),
            "no document came for a minute, at {sent} of {}",
            written.lines
        );
        thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    run.wait_for(written.bytes)?;
    run.finish(written)?;
    ensure!(
        u64::try_from(server.count())? == written.lines,
        "{} documents came of {} lines",
        server.count(),
        written.lines
    );
    let cpu = usage.cpu.saturating_sub(alone.cpu);
    let mut text = format!(
        "sink: {:.0} MiB in {} lines of {sources} sources, {} requests\n\n",
        mebibytes(written.bytes),
        written.lines,
        server.bulk_requests()
    );
    let per_second = |time: Duration| float(written.lines) / time.as_secs_f64();
    let rows = [
        ("documents/s, the server beside it", per_second(took), 0, ""),
        ("documents for a second of CPU time", per_second(cpu), 0, ""),
        (
            "CPU-s/GB of lines",
            seconds_per_gigabyte(cpu, written.bytes),
            2,
            "",
        ),
        ("peak memory of all, MiB", mebibytes(usage.peak_bytes), 0, ""),
    ];
    add_rows(&mut text, rows);
    Ok(text)
}

fn run_to_end(mut run: IndexRun, written: BatchContents) -> anyhow::Result<Usage> {
    let usage = run.wait_for(written.bytes)?;
    run.finish(written)?;
    Ok(usage)
}

/// Adds rows: a name, a value with its decimals, and its target.
fn add_rows<const ROWS: usize>(text: &mut String, rows: [(&str, f64, usize, &str); ROWS]) {
    for (name, value, decimals, target) in rows {
        let _ = writeln!(text, "{name:36}{value:>12.decimals$}{target:>10}");
    }
}
