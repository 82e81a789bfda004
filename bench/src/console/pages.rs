//! The time of each page and route of the API at a steady rate, on a large ledger.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::filled_host::FilledHost;
use super::{daemon, http};
use crate::measurement::figures::{float, mebibytes, milliseconds, percentile};

/// Requests that are under way at most. An answer that is late makes the next ones late, not fewer.
const WORKERS: usize = 32;

/// The target, in milliseconds.
const P95_MAX: f64 = 100.0;

/// The load.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct PageLoad {
    /// Batches in the ledger
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    batches: u32,
    /// Sources
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=3000))]
    sources: u32,
    /// Requests per second, over all pages and routes in turn. The console takes 100 from one address
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=90))]
    rate: u32,
    /// Seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// The times of one route.
#[derive(Debug, Default)]
struct RouteTimes {
    bytes: usize,
    /// Of the first request after the start.
    first: Duration,
    times: Vec<Duration>,
}

/// Fills a ledger, starts a console on it, and asks for all pages in turn.
pub(crate) fn pages(binary: &Path, folder: &Path, load: PageLoad) -> anyhow::Result<String> {
    let began = Instant::now();
    let host = FilledHost::new(folder, load.batches, load.sources)?;
    let filled = began.elapsed();
    let (mut console, address) = daemon::start(binary, folder, &host.data, &host.store)?;
    let routes = routes(&host);
    let mut found = Vec::new();
    for route in &routes {
        let began = Instant::now();
        let answer = ask(address, route)?;
        found.push(RouteTimes {
            bytes: answer.bytes,
            first: began.elapsed(),
            times: Vec::new(),
        });
    }
    let (before, began) = (console.usage()?, Instant::now());
    for (route, time) in steady(address, &routes, load)? {
        if let Some(found) = found.get_mut(route) {
            found.times.push(time);
        }
    }
    let (wall, usage) = (began.elapsed(), console.usage()?);
    console.stop()?;
    let cores = usage.cpu.saturating_sub(before.cpu).as_secs_f64() / wall.as_secs_f64();
    let mut text = format!(
        "{} batches of {} sources (filled in {:.0} s); {} requests/s for {} s\n\n{:44}{:>6}{:>10}{:>9}{:>9}{:>9}{:>9}\n",
        load.batches,
        load.sources,
        filled.as_secs_f64(),
        load.rate,
        load.seconds,
        "",
        "n",
        "first ms",
        "p50 ms",
        "p95 ms",
        "max ms",
        "KiB"
    );
    let mut slow = 0;
    for (route, mut found) in routes.iter().zip(found) {
        found.times.sort();
        let [p50, p95, max] = [50, 95, 100].map(|percent| milliseconds(percentile(&found.times, percent)));
        slow += usize::from(p95 > P95_MAX);
        let _ = writeln!(
            text,
            "{route:44}{:>6}{:>10.1}{p50:>9.1}{p95:>9.1}{max:>9.1}{:>9.1}",
            found.times.len(),
            milliseconds(found.first),
            float(u64::try_from(found.bytes).unwrap_or(0)) / 1024.0
        );
    }
    let _ = writeln!(
        text,
        "\np95 above {P95_MAX} ms: {slow} of {}; console {cores:.2} core, peak {:.0} MiB",
        routes.len(),
        mebibytes(usage.peak_bytes)
    );
    Ok(text)
}

/// What is asked for: all that can be read.
fn routes(host: &FilledHost) -> Vec<String> {
    let FilledHost {
        source,
        window,
        batch,
        ..
    } = host;
    let fixed = [
        "/",
        "/?find=s-29&sort=lag",
        "/windows",
        "/windows?state=waiting",
        "/live",
        "/search",
        "/tickets",
        "/alerts",
        "/view",
        "/api/docs",
        "/api/v1/openapi.json",
        "/api/v1/me",
        "/api/v1/status",
        "/api/v1/alerts",
        "/api/v1/audit",
        "/api/v1/numbers?since=1h",
        "/api/v1/numbers?since=24h&per=hour",
        "/api/v1/windows",
        "/api/v1/search?q=status:503&since=1h",
        "/api/v1/search?since=15m",
        "/api/v1/search/facets?q=status:503&since=1h",
        "/api/v1/search/export?q=status:503&since=1h",
        "/api/v1/tickets",
        "/api/v1/pins",
        "/api/v1/hidden",
        "/api/v1/searches",
        "/api/v1/actions",
        "/api/v1/requests",
        "/api/logs/new",
    ];
    let of_window = [
        format!("/windows?source={source}"),
        format!("/windows/{source}/{window}"),
        format!("/batches/{batch}"),
        format!("/api/v1/windows/{source}/{window}"),
    ];
    fixed.map(str::to_owned).into_iter().chain(of_window).collect()
}

fn ask(address: SocketAddr, route: &str) -> anyhow::Result<http::PageAnswer> {
    let answer = http::get(address, route)?;
    let is_well = matches!(answer.status, 200 | 303 | 307);
    ensure!(is_well, "{route} is answered {}", answer.status);
    Ok(answer)
}

/// Asks at a steady rate; returns the route and the time of each answer, from when it was due.
fn steady(address: SocketAddr, routes: &[String], load: PageLoad) -> anyhow::Result<Vec<(usize, Duration)>> {
    let (next, times) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    let start = Instant::now();
    let work = || -> anyhow::Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= load.rate * load.seconds {
                return Ok(());
            }
            let due = start + Duration::from_secs(1) * number / load.rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let route = usize::try_from(number)? % routes.len();
            ask(address, routes.get(route).context("no route")?)?;
            match times.lock() {
                Ok(mut times) => times.push((route, due.elapsed())),
                Err(_) => bail!("a worker panicked"),
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        })
    })?;
    times
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a worker panicked"))
}
