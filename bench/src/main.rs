//! The benchmarks: real processes over loopback, compared with the disk's or the system tools' own speed.
//!
//! Invariants:
//! - Every figure comes from one run, beside `cp` + fsync on the same disk or `sftp` to the same server. Only ratios can
//!   be compared between machines, or between hours of one machine.
//! - A run counts only if the stored or delivered bytes are exactly the written ones. A fast wrong run fails with exit
//!   code 1. A slow run is a result: no benchmark fails because of time.

mod collector;
mod console;
mod delivery;
mod indexing;
mod measurement;
mod peers;
mod relay_load;
mod search;
mod testbed;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use logferry_config::units::parse_size;
use tempfile::TempDir;

use crate::collector::{PostLoad, collector};
use crate::console::live::{LiveLoad, live};
use crate::console::pages::{PageLoad, pages};
use crate::delivery::{Cases, DeliverySetup, delivery};
use crate::indexing::{IndexLoad, indexer, sink};
use crate::peers::peers;
use crate::relay_load::backlog::{ingest, senders};
use crate::relay_load::growth::growth;
use crate::relay_load::isolation::isolation;
use crate::relay_load::latency::latency;
use crate::relay_load::many_senders::{self, ManySenders, capacity, reconnect};
use crate::relay_load::overload::overload;
use crate::testbed::line_writer::WriteRate;
use crate::testbed::relay_testbed::WrongResult;

/// Measures logferry on this machine
#[derive(Debug, Parser)]
#[command(name = "logferry-bench")]
struct BenchArgs {
    /// Folder on the disk to measure; it needs twice the size of all logs
    #[arg(long, global = true, default_value = "/var/tmp")]
    dir: PathBuf,
    /// The logferry program [default: the one in this program's folder]
    #[arg(long, global = true)]
    logferry: Option<PathBuf>,
    #[command(subcommand)]
    command: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Ships one sender's backlog until it is durable on the relay, and compares with cp + fsync of the file
    Ingest {
        /// Size of the log
        #[arg(long, default_value = "1GiB", value_parser = parse_size)]
        size: u64,
        /// Number of runs
        #[arg(long, default_value = "3")]
        runs: NonZeroUsize,
    },
    /// Ships a backlog from many senders at full speed to one relay
    Senders {
        /// Sender processes, each with its own address in 127.0.0.0/8
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=300))]
        count: u16,
        /// Size of each sender's log
        #[arg(long, default_value = "128MiB", value_parser = parse_size)]
        size: u64,
    },
    /// Ships the same amount from 1 to 300 senders, of up to 100 windows, and with a ledger of up to two million batches
    Growth {
        /// Size of all logs together
        #[arg(long, default_value = "1GiB", value_parser = parse_size)]
        size: u64,
    },
    /// Ships numbered lines with logferry and with Debian's rsyslog, and counts what a kill of each end costs
    Peers {
        /// Number of lines
        #[arg(long, default_value_t = 3_000_000)]
        lines: u64,
    },
    /// Measures the time from a line's append to its commit at the relay, at 100 lines per second
    Latency {
        /// Seconds for each setting
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
    /// Measures the time from append to commit for many senders at a steady rate, in several groups of one relay
    Capacity {
        #[command(flatten)]
        setup: ManySenders,
        /// Lines per second of each sender
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Seconds of the measurement
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
        /// Milliseconds between two writes to the log, as with nginx's `flush=`; 0: line by line
        #[arg(long, default_value_t = 0)]
        flush_ms: u64,
    },
    /// Starts many senders at once with a backlog each, as after an outage of the relay
    #[command(alias = "herd")]
    Reconnect {
        #[command(flatten)]
        setup: ManySenders,
        /// Size of each sender's backlog, which spans six hours of log time
        #[arg(long, default_value = "8MiB", value_parser = parse_size)]
        size: u64,
    },
    /// Measures one group's latency alone, and during an overload of another group of the same relay
    Isolation {
        /// Connections of the overload; half send valid chunks, half garbage
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
        connections: u16,
        /// Seconds of each of both measurements
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
    /// Overloads a running relay until it is killed
    #[command(hide = true)]
    Overload {
        /// Address of a group
        target: SocketAddr,
        /// Number of connections
        connections: u16,
    },
    /// Posts records to a collector at a steady rate, and measures the time until each answer
    Collector(PostLoad),
    /// Fills a ledger, and measures the time of each page and route of the console on it
    Console {
        #[command(flatten)]
        load: PageLoad,
    },
    /// Measures what open live streams of a console cost, and the relay's commits with and without them
    Live {
        #[command(flatten)]
        load: LiveLoad,
    },
    /// Writes generated lines into a search store, and measures its cost and the time of searches, beside zgrep
    Search {
        /// Bytes of lines; the disk needs a quarter of it
        #[arg(long, default_value = "5GiB", value_parser = parse_size)]
        size: u64,
        /// Each line has a number that no other has
        #[arg(long)]
        ids: bool,
    },
    /// Indexes a backlog, then lines as they come, then a backlog beside a relay whose commits are timed
    Indexer(IndexLoad),
    /// Sends a backlog to a server that answers as OpenSearch does
    Sink {
        /// Bytes of the backlog
        #[arg(long, default_value = "512MiB", value_parser = parse_size)]
        size: u64,
        /// Sources of the backlog, a batch each
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
        sources: u16,
    },
    /// Delivers batches to a real sshd, and compares with OpenSSH's `sftp -b`
    Delivery {
        /// The comparisons to run
        #[arg(long, value_enum, default_value = "near")]
        cases: Cases,
        /// Folder for the delivered files; the default lies in memory, where syncs cost nothing
        #[arg(long, default_value = "/dev/shm")]
        drop: PathBuf,
        /// The forwarder's `sessions`
        #[arg(long, default_value_t = 4)]
        sessions: u8,
        /// Number of runs
        #[arg(long, default_value = "3")]
        runs: NonZeroUsize,
    },
}

fn main() -> ExitCode {
    let Err(error) = run(&BenchArgs::parse()) else {
        return ExitCode::SUCCESS;
    };
    // If stderr is closed, the exit code remains.
    let _ = writeln!(io::stderr(), "logferry-bench: {error:#}");
    ExitCode::from(if error.is::<WrongResult>() { 1 } else { 3 })
}

fn run(args: &BenchArgs) -> anyhow::Result<()> {
    // It ends by a signal, so it must not create a folder that nothing removes.
    if let Benchmark::Overload { target, connections } = args.command {
        overload(target, connections);
    }
    let folder = folder_in(&args.dir)?;
    let dir = folder.path();
    let print = |text: String| {
        let printed = io::stdout().write_all(text.as_bytes());
        printed.context("cannot print the result")
    };
    if let Benchmark::Search { size, ids } = args.command {
        return print(search::search(dir, size, ids)?);
    }
    let binary = &binary(args.logferry.clone())?;
    let text = match &args.command {
        Benchmark::Ingest { size, runs } => ingest(binary, dir, *size, runs.get())?,
        Benchmark::Senders { count, size } => senders(binary, dir, *count, *size)?,
        Benchmark::Growth { size } => growth(binary, dir, *size)?,
        Benchmark::Peers { lines } => peers(binary, dir, *lines)?,
        Benchmark::Latency { seconds } => latency(binary, dir, *seconds)?,
        Benchmark::Capacity {
            setup,
            rate,
            seconds,
            flush_ms,
        } => {
            let line_rate = WriteRate {
                rate: *rate,
                seconds: *seconds,
                flush: Duration::from_millis(*flush_ms),
                poll: many_senders::POLL_INTERVAL,
            };
            capacity(binary, dir, setup, line_rate)?
        }
        Benchmark::Reconnect { setup, size } => reconnect(binary, dir, setup, *size)?,
        Benchmark::Isolation { connections, seconds } => isolation(binary, dir, *connections, *seconds)?,
        Benchmark::Collector(load) => collector(binary, dir, *load)?,
        Benchmark::Indexer(load) => indexer(binary, dir, *load)?,
        Benchmark::Sink { size, sources } => sink(binary, dir, *size, *sources)?,
        Benchmark::Console { load } => pages(binary, dir, *load)?,
        Benchmark::Live { load } => live(binary, dir, *load)?,
        Benchmark::Overload { .. } | Benchmark::Search { .. } => String::new(),
        Benchmark::Delivery {
            cases,
            drop,
            sessions,
            runs,
        } => {
            let drop = folder_in(drop)?;
            let setup = DeliverySetup {
                binary,
                folder: dir,
                drop: drop.path(),
                sessions: *sessions,
            };
            delivery(setup, *cases, runs.get())?
        }
    };
    print(text)
}

/// A new folder in `parent`; it is removed when its value is dropped.
fn folder_in(parent: &Path) -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("logferry-bench-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))
}

/// The program to measure.
fn binary(wanted: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find the path of this program")?;
    let binary = wanted.unwrap_or_else(|| this.with_file_name("logferry"));
    anyhow::ensure!(
        binary.is_file(),
        "{} does not exist; build it with `cargo build --release -p logferry`",
        binary.display()
    );
    Ok(binary)
}
