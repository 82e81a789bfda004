//! The demo's log writers: one thread per host writes its log, as nginx does, and rotates it every few seconds.

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

use super::demo_folder::{DemoFolder, HOSTS, LogHost};

/// Time between two rotations of a log. Each further host waits a little longer, so that they do not rotate together.
const ROTATE_INTERVAL: Duration = Duration::from_secs(7);

/// Rotated files kept, like logrotate's `rotate`: over two minutes of lines, which the sender read long before.
const ROTATED_MAX: u32 = 20;

/// A writer checks at least this often for a stop or a rotation.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// One line in so many is a health check.
const HEALTH_CHECK_EVERY: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// Counts of the lines that one host has written.
#[derive(Debug, Default)]
pub(crate) struct WrittenLines {
    requests: AtomicU64,
    health_checks: AtomicU64,
}

impl WrittenLines {
    /// Lines that must be delivered.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    /// Lines that the `exclude` rule drops.
    pub(crate) fn health_checks(&self) -> u64 {
        self.health_checks.load(Ordering::Acquire)
    }
}

/// The writers of all hosts.
pub(crate) struct Writers {
    written: [Arc<WrittenLines>; HOSTS.len()],
    threads: Vec<JoinHandle<io::Result<()>>>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Starts the writers. `rate` is the lines per second of all together; the first host writes half of them.
    pub(crate) fn start(folder: &DemoFolder, rate: NonZeroU32) -> anyhow::Result<Self> {
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
            let log = LogFile::open(folder.log(host)).context("cannot create a log")?;
            let writer = Writer {
                feed: feed(host, share),
                log,
                rotate_interval: ROTATE_INTERVAL + Duration::from_millis(900) * u32::try_from(index)?,
                written: Arc::clone(&writers.written[index]),
                stop: Arc::clone(&writers.stop),
            };
            writers.threads.push(thread::spawn(move || writer.run()));
        }
        Ok(writers)
    }

    /// The counts of the hosts, in the order of [`HOSTS`].
    pub(crate) fn written(&self) -> &[Arc<WrittenLines>; HOSTS.len()] {
        &self.written
    }

    /// Stops the writers. After it returns, nothing more is written.
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

fn feed(host: LogHost, rate: u32) -> Feed {
    let name = host.source().to_string();
    let traffic = Traffic::new(TrafficOptions {
        seed: name.bytes().map(u64::from).sum(),
        ids: Some(name),
        health_every: Some(HEALTH_CHECK_EVERY),
        zone: TimeZone::system(),
    });
    let rate = rate.max(1);
    Feed::new(
        traffic,
        Quota {
            rate,
            ..Quota::default()
        },
    )
}

struct Writer {
    feed: Feed,
    log: LogFile,
    rotate_interval: Duration,
    written: Arc<WrittenLines>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self) -> io::Result<()> {
        let start = Instant::now();
        let mut rotate_at = self.rotate_interval;
        while !self.stop.load(Ordering::Acquire) {
            let elapsed = start.elapsed();
            if elapsed >= rotate_at {
                self.rotate(elapsed)?;
                rotate_at += self.rotate_interval;
            }
            let wait = self.write(elapsed)?;
            thread::sleep(wait.saturating_sub(elapsed).min(SLEEP_MAX));
        }
        Ok(())
    }

    /// Writes the lines that are due. Returns when the next ones are.
    fn write(&mut self, elapsed: Duration) -> io::Result<Duration> {
        match self.feed.slice(elapsed, Timestamp::now()) {
            Slice::Lines {
                bytes,
                requests,
                health_checks,
            } => {
                self.log.append(bytes)?;
                self.written.requests.fetch_add(requests, Ordering::Release);
                let counted = &self.written.health_checks;
                counted.fetch_add(health_checks, Ordering::Release);
                Ok(elapsed)
            }
            Slice::Wait(until) => Ok(until),
            Slice::End => Ok(Duration::MAX),
        }
    }

    /// Rotates as logrotate and nginx do: between rename and reopen, lines still go to the renamed file.
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
