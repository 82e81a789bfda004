//! The demo's nginx: one thread per host writes its log and rotates it every few seconds.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_traffic::{Feed, LogFile, Quota, Slice, Traffic, TrafficOptions};

use crate::demo::site::{HOSTS, Host, Site};

/// Time between two rotations of a log; a little more for each further host, so that they do not fall together.
const ROTATE_EVERY: Duration = Duration::from_secs(7);

/// Rotated files kept, as logrotate's `rotate` says: over two minutes of lines, which the sender has long read.
const ROTATED_MAX: u32 = 20;

/// A writer looks at least this often whether it is to stop or to rotate.
const NAP_MAX: Duration = Duration::from_millis(50);

/// Every how many lines a load balancer asks for the host's health.
const HEALTH_EVERY: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// What one host has written so far.
#[derive(Debug, Default)]
pub(crate) struct Written {
    requests: AtomicU64,
    health_checks: AtomicU64,
}

impl Written {
    /// Lines that must be delivered.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    /// Lines that the default exclusion drops.
    pub(crate) fn health_checks(&self) -> u64 {
        self.health_checks.load(Ordering::Acquire)
    }
}

/// The writers of all hosts.
pub(crate) struct Writers {
    written: [Arc<Written>; HOSTS.len()],
    threads: Vec<JoinHandle<io::Result<()>>>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Starts them; `rate` is the lines per second of all together, the first host writing half of it.
    pub(crate) fn start(site: &Site, rate: NonZeroU32) -> anyhow::Result<Self> {
        let mut writers = Self {
            written: Default::default(),
            threads: Vec::new(),
            stop: Arc::default(),
        };
        let shares = [
            rate.get() - rate.get() / 2,
            rate.get() / 2 - rate.get() / 6,
            rate.get() / 6,
        ];
        for (index, (host, share)) in HOSTS.into_iter().zip(shares).enumerate() {
            let log = LogFile::open(site.log(host)).context("cannot make a log")?;
            let writer = Writer {
                feed: feed(host, share),
                log,
                rotate_every: ROTATE_EVERY + Duration::from_millis(900) * u32::try_from(index)?,
                written: Arc::clone(&writers.written[index]),
                stop: Arc::clone(&writers.stop),
            };
            writers.threads.push(thread::spawn(move || writer.run()));
        }
        Ok(writers)
    }

    /// What the hosts have written, in the order of [`HOSTS`].
    pub(crate) fn written(&self) -> &[Arc<Written>; HOSTS.len()] {
        &self.written
    }

    /// Stops them all; afterwards nothing is written any more.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread
                .join()
                .map_err(|_| anyhow!("a writer crashed"))?
                .context("cannot write a log")?;
        }
        Ok(())
    }
}

fn feed(host: Host, rate: u32) -> Feed {
    let name = host.source().to_string();
    let traffic = Traffic::new(TrafficOptions {
        seed: name.bytes().map(u64::from).sum(),
        ids: Some(name),
        health_every: Some(HEALTH_EVERY),
        zone: TimeZone::system(),
    });
    Feed::new(
        traffic,
        Quota {
            rate: rate.max(1),
            lines: None,
            time: None,
        },
    )
}

struct Writer {
    feed: Feed,
    log: LogFile,
    rotate_every: Duration,
    written: Arc<Written>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self) -> io::Result<()> {
        let start = Instant::now();
        let mut rotate_at = self.rotate_every;
        while !self.stop.load(Ordering::Acquire) {
            let elapsed = start.elapsed();
            if elapsed >= rotate_at {
                self.rotate(elapsed)?;
                rotate_at += self.rotate_every;
            }
            let wait = self.write(elapsed)?;
            thread::sleep(wait.saturating_sub(elapsed).min(NAP_MAX));
        }
        Ok(())
    }

    /// Writes what is due, and says until when nothing is.
    fn write(&mut self, elapsed: Duration) -> io::Result<Duration> {
        match self.feed.slice(elapsed, Timestamp::now()) {
            Slice::Lines {
                bytes,
                requests,
                health_checks,
            } => {
                self.log.append(bytes)?;
                self.written.requests.fetch_add(requests, Ordering::Release);
                self.written
                    .health_checks
                    .fetch_add(health_checks, Ordering::Release);
                Ok(elapsed)
            }
            Slice::Wait(until) => Ok(until),
            Slice::End => Ok(Duration::MAX),
        }
    }

    /// Rotates as logrotate and nginx do together: between the renaming and the reopening, lines still go to the renamed
    /// file.
    fn rotate(&mut self, elapsed: Duration) -> io::Result<()> {
        self.log.rename()?;
        self.write(elapsed)?;
        self.log.reopen()?;
        match std::fs::remove_file(self.log.rotated(ROTATED_MAX + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
