//! `logferry generate`: writes nginx-like traffic, or what applications log, to a file or to stdout.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_traffic::{
    ApplicationOptions, ApplicationTraffic, Feed, LineSource, LogFile, Quota, Slice, Traffic, TrafficOptions,
};

use crate::args::traffic::GenerateArgs;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// Writes until the limits in `options` are reached.
pub(crate) fn run(options: GenerateArgs) -> Result {
    let out = options.out.clone();
    let feed = feed(options)?;
    match out {
        Some(path) => write_to_file(&path, feed)
            .with_context(|| format!("cannot write traffic to {}", path.display()))?,
        None => write_to_stdout(feed).context("cannot write traffic to stdout")?,
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

fn feed(options: GenerateArgs) -> Result<Feed> {
    let quota = Quota {
        rate: options.rate.unwrap_or(0),
        lines: options.lines,
        time: options.seconds.map(Duration::from_secs),
    };
    let burst = options.bursts.burst();
    if burst.is_some() && quota.rate == 0 {
        let error = anyhow!("--burst needs a --rate above 0");
        return Err(Failure::configuration(error));
    }
    Ok(Feed::new(lines(options)?, quota).with_bursts(burst))
}

fn lines(options: GenerateArgs) -> Result<LineSource> {
    let ids = options.ids.map(|name| name.to_string());
    let zone = TimeZone::system();
    let Some(format) = options.format.of_records() else {
        if options.levels.is_some() {
            let error = anyhow!("--levels is for --format json, text or ltsv: an access log has statuses");
            return Err(Failure::configuration(error));
        }
        let traffic = Traffic::new(TrafficOptions {
            seed: options.seed,
            ids,
            health_every: options.health_every,
            zone,
        });
        return Ok(traffic.into());
    };
    if options.health_every.is_some() {
        let error = anyhow!("--health-every is for --format nginx: applications log no health checks");
        return Err(Failure::configuration(error));
    }
    let traffic = ApplicationTraffic::new(ApplicationOptions {
        seed: options.seed,
        ids,
        format,
        levels: options.levels.unwrap_or_default(),
        zone,
    });
    Ok(traffic.into())
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
