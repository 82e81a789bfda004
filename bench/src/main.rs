//! The benchmarks: real processes over loopback, measured against what the disk, or the system's own tools, give.
//!
//! Invariants:
//! - Every figure of a run is taken from that run alone, beside `cp` + fsync on the same disk or `sftp` to the same
//!   server: only ratios compare from one machine, or one hour, to another.
//! - A run counts only when what was stored or delivered is, byte for byte, what was written. A fast wrong
//!   run is a failure (exit 1); a slow one is a figure. Nothing here fails by the clock.

mod backlog;
mod commit_times;
mod crowd;
mod delivery;
mod flood;
mod isolation;
mod latency;
mod process;
mod report;
mod site;
mod source_log;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use logferry_config::units::{UnitError, parse_size};
use tempfile::TempDir;

use crate::backlog::{ingest, senders};
use crate::crowd::{Crowd, capacity, herd};
use crate::delivery::{Cases, Places, delivery};
use crate::isolation::isolation;
use crate::latency::latency;
use crate::site::WrongResult;

/// Measures logferry on this machine
#[derive(Debug, Parser)]
#[command(name = "logferry-bench")]
struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the benchmark runs, and what.
#[derive(Debug, clap::Args)]
struct Place {
    /// Folder on the disk to measure; needs twice the room of all logs
    #[arg(long, global = true, default_value = "/var/tmp")]
    dir: PathBuf,
    /// The program [default: the one built beside this]
    #[arg(long, global = true)]
    logferry: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One sender's backlog to durable on the relay, against cp + fsync of the same file
    Ingest {
        /// Bytes of the log
        #[arg(long, default_value = "1GiB", value_parser = size)]
        size: u64,
        /// How often each way
        #[arg(long, default_value = "3")]
        runs: NonZeroUsize,
    },
    /// Many senders at full speed against one relay
    Senders {
        /// Sender processes, each with an address of its own in 127.0.0.0/8
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=200))]
        count: u8,
        /// Bytes of each sender's log
        #[arg(long, default_value = "128MiB", value_parser = size)]
        size: u64,
    },
    /// From a line's append to its being durable on the relay, at 100 lines a second
    Latency {
        /// How long, for each setting
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
    /// Many senders at a steady pace in several groups of one relay: from a line's append to its being durable
    Capacity {
        #[command(flatten)]
        crowd: Crowd,
        /// Lines a second of each sender
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// How long
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
        /// How often the log is written to, in milliseconds, as with nginx's `flush=`; 0: line by line
        #[arg(long, default_value_t = 0)]
        flush_ms: u64,
    },
    /// Many senders with a backlog each, all at once, as after an outage of the relay
    Herd {
        #[command(flatten)]
        crowd: Crowd,
        /// Bytes of each sender's backlog, which spans six hours
        #[arg(long, default_value = "8MiB", value_parser = size)]
        size: u64,
    },
    /// One group's latency alone, and while another group of the same relay is flooded
    Isolation {
        /// Connections of the flood; half send valid chunks, half garbage
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
        connections: u16,
        /// How long, alone and flooded
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
    /// The flood alone, on a relay that is there, until it is killed
    #[command(hide = true)]
    Flood {
        /// A group's address
        target: SocketAddr,
        /// How many
        connections: u16,
    },
    /// Batches to a real sshd, against OpenSSH's `sftp -b`
    Delivery {
        /// What to compare
        #[arg(long, value_enum, default_value = "near")]
        cases: Cases,
        /// Folder for what is delivered; the default lies in memory, where syncs cost nothing
        #[arg(long, default_value = "/dev/shm")]
        drop: PathBuf,
        /// The forwarder's `sessions`
        #[arg(long, default_value_t = 4)]
        sessions: u8,
        /// How often each way
        #[arg(long, default_value = "3")]
        runs: NonZeroUsize,
    },
}

fn size(text: &str) -> Result<u64, UnitError> {
    parse_size(text)
}

fn main() -> ExitCode {
    let error = match run(&Args::parse()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "logferry-bench: {error:#}");
    ExitCode::from(if error.is::<WrongResult>() { 1 } else { 3 })
}

fn run(args: &Args) -> anyhow::Result<()> {
    if let Command::Flood { target, connections } = args.command {
        flood::flood(target, connections);
    }
    let binary = binary(args.place.logferry.clone())?;
    let folder = folder_in(&args.place.dir)?;
    let text = match &args.command {
        Command::Ingest { size, runs } => ingest(&binary, folder.path(), *size, *runs)?,
        Command::Senders { count, size } => senders(&binary, folder.path(), *count, *size)?,
        Command::Latency { seconds } => latency(&binary, folder.path(), *seconds)?,
        Command::Capacity {
            crowd,
            rate,
            seconds,
            flush_ms,
        } => {
            let flush = Duration::from_millis(*flush_ms);
            capacity(&binary, folder.path(), crowd, *rate, *seconds, flush)?
        }
        Command::Isolation { connections, seconds } => {
            isolation(&binary, folder.path(), *connections, *seconds)?
        }
        Command::Flood { .. } => String::new(),
        Command::Herd { crowd, size } => herd(&binary, folder.path(), crowd, *size)?,
        Command::Delivery {
            cases,
            drop,
            sessions,
            runs,
        } => {
            let drop = folder_in(drop)?;
            let places = Places {
                binary: &binary,
                folder: folder.path(),
                drop: drop.path(),
                sessions: *sessions,
            };
            delivery(places, *cases, runs.get())?
        }
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot print the result")
}

/// A new folder, which goes with its value.
fn folder_in(place: &Path) -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("logferry-bench-")
        .tempdir_in(place)
        .with_context(|| format!("cannot make a folder in {}", place.display()))
}

/// The program to measure, which is there.
fn binary(wanted: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let binary = match wanted {
        Some(path) => path,
        None => std::env::current_exe()
            .context("cannot find out where this program is")?
            .with_file_name("logferry"),
    };
    anyhow::ensure!(
        binary.is_file(),
        "{} is not there; build it with `cargo build --release -p logferry`",
        binary.display()
    );
    Ok(binary)
}
