//! Live streams of one console beside a relay that takes lines: the console's cost, and the relay's commit times with and without.
//! The console has the priority that its unit gives it.

use std::io::{BufRead, BufReader};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{daemon, http};
use crate::measurement::figures::{float, mebibytes};
use crate::measurement::process::Usage;
use crate::testbed::line_writer::{LineWriter, WriteRate};
use crate::testbed::relay_testbed::{RelayTestbed, data_dir, source_name};

/// As nginx with `flush=`, and the interval of the ledger queries.
const FLUSH: Duration = Duration::from_millis(20);

/// Each stream must have been told of so much of what was written: it begins and ends a moment later than the writer.
const TOLD_MIN: f64 = 0.9;

/// The load.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LiveLoad {
    /// Open streams; each fourth has a filter of its own
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=200))]
    streams: u16,
    /// Lines per second
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    rate: u32,
    /// Seconds of each of the measurements: without a console, with it, and without again
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// What was measured beside the relay's commits.
struct ConsoleCost {
    cores: f64,
    usage: Usage,
    /// Lines that streams without a filter were told of, on average.
    told: u64,
}

/// Measures the relay alone, beside the streams, and alone again.
pub(crate) fn live(binary: &Path, folder: &Path, load: LiveLoad) -> anyhow::Result<String> {
    let testbed_folder = folder.join("testbed");
    let mut testbed = RelayTestbed::start(binary, &testbed_folder, 1)?;
    let log = testbed_folder.join("access.log");
    let mut writer = LineWriter::new(&log)?;
    testbed.add_sender(&log, "200ms")?;
    testbed.wait_for_lines(1, FLUSH)?;
    let (mut commits, mut cost) = (Vec::new(), None);
    for has_console in [false, true, false] {
        let console = has_console.then(|| {
            let (data, store) = (data_dir(&testbed_folder), folder.join("index"));
            daemon::start(binary, folder, &data, &store)
        });
        let mut console = console.transpose()?;
        let streams = console
            .as_ref()
            .map(|(_, address)| OpenStreams::open(*address, load.streams))
            .transpose()?;
        let cpu_before = console
            .as_mut()
            .map(|(daemon, _)| daemon.usage())
            .transpose()?
            .map(|usage| usage.cpu);
        let (before, began) = (testbed.commit_times(0)?, Instant::now());
        let rate = WriteRate {
            rate: load.rate,
            seconds: load.seconds,
            flush: FLUSH,
            poll: FLUSH,
        };
        writer.time_lines(&mut testbed, &[source_name(0)], rate)?;
        let times = testbed.commit_times(0)?;
        commits.push([50.0, 99.0].map(|percent| times.percentile_since(&before, percent)));
        if let (Some((mut daemon, _)), Some(streams), Some(cpu)) = (console, streams, cpu_before) {
            let (usage, wall) = (daemon.usage()?, began.elapsed());
            cost = Some(ConsoleCost {
                cores: usage.cpu.saturating_sub(cpu).as_secs_f64() / wall.as_secs_f64(),
                usage,
                told: streams.close()?,
            });
            daemon.stop()?;
        }
    }
    testbed.finish(writer.written())?;
    let cost = cost.ok_or_else(|| anyhow::anyhow!("the console was not measured"))?;
    let written = u64::from(load.rate) * u64::from(load.seconds);
    ensure!(
        float(cost.told) >= TOLD_MIN * float(written),
        "a stream was told of {} of {written} lines",
        cost.told
    );
    Ok(report(load, &commits, &cost, written))
}

fn report(load: LiveLoad, commits: &[[f64; 2]], cost: &ConsoleCost, written: u64) -> String {
    let at = |run: usize, row: usize| {
        commits
            .get(run)
            .and_then(|run| run.get(row))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let ratio = |row: usize| at(1, row) / f64::midpoint(at(0, row), at(2, row));
    format!(
        "{} live streams, {} lines/s, {} s each\n\n{:26}{:>10}{:>10}{:>10}{:>10}\n\
         {:26}{:>10.1}{:>10.1}{:>10.1}{:>10.2}\n{:26}{:>10.1}{:>10.1}{:>10.1}{:>10.2}\n\n\
         console: {:.2} core, peak {:.0} MiB; a stream was told of {} of {written} lines\n",
        load.streams,
        load.rate,
        load.seconds,
        "relay's commits",
        "alone",
        "beside",
        "alone",
        "ratio",
        "p50, ms",
        at(0, 0),
        at(1, 0),
        at(2, 0),
        ratio(0),
        "p99, ms",
        at(0, 1),
        at(1, 1),
        at(2, 1),
        ratio(1),
        cost.cores,
        mebibytes(cost.usage.peak_bytes),
        cost.told,
    )
}

/// Streams that are read as a browser does.
struct OpenStreams {
    connections: Vec<TcpStream>,
    readers: Vec<JoinHandle<()>>,
    /// What each stream without a filter was told of.
    told: Vec<Arc<AtomicU64>>,
}

impl OpenStreams {
    fn open(address: SocketAddr, streams: u16) -> anyhow::Result<Self> {
        let mut opened = Self {
            connections: Vec::new(),
            readers: Vec::new(),
            told: Vec::new(),
        };
        for number in 0..streams {
            let has_filter = number % 4 == 3;
            let path = if has_filter {
                format!("/api/v1/live?q=status:5xx%20-nothing{number}")
            } else {
                "/api/v1/live".to_owned()
            };
            let stream = http::open(address, &path)?;
            let told = Arc::<AtomicU64>::default();
            opened.connections.push(stream.try_clone()?);
            if !has_filter {
                opened.told.push(Arc::clone(&told));
            }
            opened.readers.push(thread::spawn(move || read(stream, &told)));
        }
        Ok(opened)
    }

    /// Ends them; returns what a stream without a filter was told of, on average.
    fn close(self) -> anyhow::Result<u64> {
        for connection in &self.connections {
            // One that has ended already is seen by what it was told.
            let _ = connection.shutdown(Shutdown::Both);
        }
        for reader in self.readers {
            ensure!(reader.join().is_ok(), "a reader of a stream panicked");
        }
        let streams = u64::try_from(self.told.len().max(1))?;
        let told = self.told.iter().map(|told| told.load(Ordering::Relaxed));
        Ok(told.sum::<u64>() / streams)
    }
}

/// Adds up `matched` of each event until the stream ends. A browser is on another machine: here it gets only what relay and console
/// leave of the processors.
fn read(stream: TcpStream, told: &AtomicU64) {
    // Of this thread only (nice(2), "C library/kernel differences").
    let _ = rustix::process::nice(19);
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let matched = line.split("\"matched\":").nth(1);
        let number = matched.and_then(|rest| rest.split([',', '}']).next()?.parse().ok());
        told.fetch_add(number.unwrap_or(0), Ordering::Relaxed);
    }
}
