//! `logferry generate`: nginx-like traffic into a file or to stdout.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_traffic::{Feed, LogFile, Quota, Slice, Traffic, TrafficOptions};

use crate::args::Generate;
use crate::exit::{Outcome, Result};

/// Writes what `options` ask for, to the end.
pub(crate) fn run(options: &Generate) -> Result {
    match &options.out {
        Some(path) => to_file(path, feed(options))
            .with_context(|| format!("cannot write traffic to {}", path.display()))?,
        None => to_stdout(feed(options)).context("cannot write traffic to stdout")?,
    }
    Ok(Outcome::Fine)
}

fn to_file(path: &Path, feed: Feed) -> io::Result<()> {
    let mut file = LogFile::open(path)?;
    pour(feed, |lines| file.append(lines))
}

fn to_stdout(feed: Feed) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match pour(feed, |lines| stdout.write_all(lines)) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn feed(options: &Generate) -> Feed {
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

fn pour(mut feed: Feed, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match feed.slice(start.elapsed(), Timestamp::now()) {
            Slice::Lines { bytes, .. } => write(bytes)?,
            Slice::Wait(until) => thread::sleep(until.saturating_sub(start.elapsed())),
            Slice::End => return Ok(()),
        }
    }
}
