//! `logferry generate`: writes nginx-like traffic to a file or to stdout.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_traffic::{Feed, LogFile, Quota, Slice, Traffic, TrafficOptions};

use crate::args::GenerateArgs;
use crate::output::exit::{CommandOutcome, Result};

/// Writes until the limits in `options` are reached.
pub(crate) fn run(options: &GenerateArgs) -> Result {
    match &options.out {
        Some(path) => write_to_file(path, feed(options))
            .with_context(|| format!("cannot write traffic to {}", path.display()))?,
        None => write_to_stdout(feed(options)).context("cannot write traffic to stdout")?,
    }
    Ok(CommandOutcome::Fine)
}

fn write_to_file(path: &Path, feed: Feed) -> io::Result<()> {
    let mut file = LogFile::open(path)?;
    write_all(feed, |lines| file.append(lines))
}

fn write_to_stdout(feed: Feed) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match write_all(feed, |lines| stdout.write_all(lines)) {
        // A reader that went away is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn feed(options: &GenerateArgs) -> Feed {
    let traffic = Traffic::new(TrafficOptions {
        seed: options.seed,
        ids: options.ids.as_ref().map(ToString::to_string),
        health_every: options.health_every,
        zone: TimeZone::system(),
    });
    let quota = Quota {
        rate: options.rate.unwrap_or(0),
        lines: options.lines,
        time: options.seconds.map(Duration::from_secs),
    };
    Feed::new(traffic, quota)
}

fn write_all(mut feed: Feed, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match feed.slice(start.elapsed(), Timestamp::now()) {
            Slice::Lines { bytes, .. } => write(bytes)?,
            Slice::Wait(until) => thread::sleep(until.saturating_sub(start.elapsed())),
            Slice::End => return Ok(()),
        }
    }
}
