//! Log writers: single lines, and a thread that writes and rotates until it is stopped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_traffic::{Feed, LogFile, Quota, Slice, Traffic, TrafficOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One line in this many is a health check.
const HEALTH_EVERY: u32 = 20;

/// Traffic with numbered requests and some health checks. `name`: unique in the test.
pub(crate) fn traffic(name: &str, seed: u64) -> Traffic {
    Traffic::new(TrafficOptions {
        seed,
        ids: Some(name.to_owned()),
        health_every: HEALTH_EVERY.try_into().ok(),
        zone: TimeZone::UTC,
    })
}

/// Appends `lines` lines with the time `at`.
pub(crate) fn append(log: &mut LogFile, traffic: &mut Traffic, at: Timestamp, lines: usize) {
    let mut text = Vec::new();
    for _ in 0..lines {
        traffic.line(at, &mut text);
    }
    log.append(&text).unwrap();
}

/// A thread that writes and rotates a log.
pub(crate) struct LogWriter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    /// Writes `rate` lines per second to `log` and rotates it about once per second, at random times from `seed`. As
    /// with nginx, lines still go to the renamed file for a short time.
    pub(crate) fn start(log: &Path, rate: u32, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let log = LogFile::open(log).unwrap();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || write(log, rate, seed, &stopped));
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Stops writing. All lines are in the files when this returns.
    pub(crate) fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the writer failed");
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.join();
    }
}

fn write(mut log: LogFile, rate: u32, seed: u64, stop: &AtomicBool) {
    let quota = Quota {
        rate,
        lines: None,
        time: None,
    };
    let mut feed = Feed::new(traffic("load", seed), quota);
    let mut rotations = Rotations::new(seed);
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        rotations.step(start.elapsed(), &mut log);
        match feed.slice(start.elapsed(), Timestamp::now()) {
            Slice::Lines { bytes, .. } => log.append(bytes).unwrap(),
            Slice::Wait(until) => std::thread::sleep(until.saturating_sub(start.elapsed())),
            Slice::End => break,
        }
    }
    // The writer may have stopped in the middle of a rotation, with no file under the log's name.
    log.reopen().unwrap();
}

/// The times at which a log is renamed and its writer reopens it.
struct Rotations {
    rng: StdRng,
    next: Duration,
    is_renamed: bool,
}

impl Rotations {
    fn new(seed: u64) -> Self {
        let mut rotations = Self {
            rng: StdRng::seed_from_u64(seed),
            next: Duration::ZERO,
            is_renamed: false,
        };
        rotations.wait(500, 1500);
        rotations
    }

    fn step(&mut self, now: Duration, log: &mut LogFile) {
        if now < self.next {
            return;
        }
        if self.is_renamed {
            log.reopen().unwrap();
            self.wait(500, 1500);
        } else {
            log.rename().unwrap();
            self.wait(1, 150);
        }
        self.is_renamed = !self.is_renamed;
    }

    fn wait(&mut self, least_ms: u64, most_ms: u64) {
        self.next += Duration::from_millis(self.rng.random_range(least_ms..=most_ms));
    }
}
