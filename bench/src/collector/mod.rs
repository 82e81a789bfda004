//! Clients that post records at a steady rate: the time until each answer, which comes when the records are durable.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::measurement::figures::{milliseconds, percentile};
use crate::measurement::line_syncs::line_syncs;
use crate::measurement::process::Daemon;
use crate::testbed::relay_testbed::WrongResult;

/// How long the collector may take until its port accepts connections.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the clients do.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct PostLoad {
    /// Clients, each with a connection of its own
    #[arg(long, default_value_t = 100)]
    clients: u32,
    /// Records a second of all clients together
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Records in each request
    #[arg(long, default_value_t = 20)]
    batch: u32,
    /// Seconds of the measurement
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// Posts for `seconds`, and checks that each acknowledged record is in the capture once. Returns the table.
pub(crate) fn collector(binary: &Path, folder: &Path, load: PostLoad) -> anyhow::Result<String> {
    let PostLoad {
        clients,
        rate,
        batch,
        seconds,
    } = load;
    ensure!(
        rate >= clients * batch,
        "each client posts at least once a second; take a higher rate, or smaller batches"
    );
    let disk = line_syncs(folder, 100, 5)?;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let config = format!(
        "collector:\n  state_dir: \"{}\"\n  min_free_disk: 1MiB\n  sources: [{{type: http, name: api, listen: \"{address}\"}}]\n",
        folder.join("collector").display()
    );
    let mut daemon = Daemon::start(binary, "collector", &config, folder)?;
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        daemon.check()?;
        ensure!(start.elapsed() < START_WAIT_MAX, "the collector does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    let (before, began) = (daemon.usage()?, Instant::now());
    let threads: Vec<_> = (0..clients)
        .map(|client| thread::spawn(move || post(address, client, load)))
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??,
        );
    }
    let (took, usage) = (began.elapsed(), daemon.usage()?);
    daemon.stop()?;
    let records = times.len() * batch as usize;
    check(&folder.join("collector/api/api.log"), records)?;
    times.sort();
    let [p50, p99, worst] = [50, 99, 100].map(|percent| milliseconds(percentile(&times, percent)));
    #[expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
    let per_second = records as f64 / took.as_secs_f64();
    let cores = usage.cpu.saturating_sub(before.cpu).as_secs_f64() / took.as_secs_f64();
    Ok(format!(
        "{clients} clients, {batch} records a request, {seconds} s; each answer when the records are durable\n\n\
         {:>12}{:>10}{:>10}{:>10}{:>8}{:>10}\n{per_second:>12.0}{p50:>10.1}{p99:>10.1}{worst:>10.1}{cores:>8.2}{:>10.0}\n\
         the disk alone, one append and sync of two files: p50 {:.1} ms, p99 {:.1} ms\n",
        "records/s",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "cores",
        "peak MiB",
        crate::measurement::figures::mebibytes(usage.peak_bytes),
        milliseconds(percentile(&disk, 50)),
        milliseconds(percentile(&disk, 99)),
    ))
}

/// One client: requests at its share of the rate on one connection. Returns the time of each.
fn post(address: SocketAddr, client: u32, load: PostLoad) -> anyhow::Result<Vec<Duration>> {
    let interval = Duration::from_secs(1) * load.clients * load.batch / load.rate;
    let mut stream = TcpStream::connect(address).context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (start, mut times) = (Instant::now() + interval * client / load.clients, Vec::new());
    for request in 0.. {
        let due = start + interval * request;
        if due.duration_since(start) >= Duration::from_secs(load.seconds.into()) {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut body = Vec::new();
        for record in 0..load.batch {
            writeln!(
                body,
                "{{\"id\":\"{client}-{request}-{record}\",\"level\":\"INFO\",\"message\":\"Payment completed for order \
                 order_{request}\",\"service\":\"payment-service\",\"amount\":{record}.25}}"
            )?;
        }
        // The time counts from when it was due: a client that waits for an answer is late for the next.
        write!(
            stream,
            "POST /lines HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        let status = read_answer(&mut stream)?;
        ensure!(status == 201, "answered {status}");
        times.push(due.elapsed());
    }
    Ok(times)
}

/// The status of an answer with a length.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let (mut head, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the connection ended");
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&head);
        if let Some((lines, body)) = text.split_once("\r\n\r\n") {
            let len = lines.to_ascii_lowercase();
            let len = len
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if len.is_none_or(|len| body.len() >= len) {
                let status = lines.split(' ').nth(1).and_then(|status| status.parse().ok());
                return status.context("no status in the answer");
            }
        }
    }
}

/// Each acknowledged record is in the capture, once.
fn check(capture: &Path, records: usize) -> anyhow::Result<()> {
    let file = fs::File::open(capture).with_context(|| format!("cannot open {}", capture.display()))?;
    let mut ids = BTreeSet::new();
    let mut lines = 0;
    for line in BufReader::new(file).lines() {
        let line = line?;
        lines += 1;
        let id = line
            .split("\"id\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        ids.insert(id.unwrap_or_default().to_owned());
    }
    if (ids.len(), lines) != (records, records) {
        return Err(WrongResult::Records {
            posted: records,
            ids: ids.len(),
            lines,
        }
        .into());
    }
    Ok(())
}
