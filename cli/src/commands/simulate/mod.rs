//! `logferry simulate`: many clients send records to an HTTP or TCP source of a collector.
//!
//! The clients are well-behaved: they repeat a request until it is acknowledged, with the same `Idempotency-Key`. What is sent
//! when is decided in `schedule` without I/O.

mod http_client;
mod report;
mod request;
mod schedule;
mod target;
mod tcp_client;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;
use logferry_traffic::{ApplicationOptions, ApplicationTraffic, FeedRate, RecordFormat};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::report::SimulationTally;
use self::request::BodyShape;
use self::schedule::Schedule;
use self::target::SimulationTarget;
use crate::args::traffic::SimulateArgs;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// How long clients go on after the last record to have everything acknowledged.
const GRACE: Duration = Duration::from_secs(30);

/// What all clients share.
struct ClientSimulation {
    target: SimulationTarget,
    shape: BodyShape,
    format: RecordFormat,
    options: SimulateArgs,
    key: Option<String>,
    /// Makes the keys of this run's requests unlike those of another run.
    run: String,
    start: Instant,
}

/// Sends records until the time is over, and prints what became of them.
pub(crate) fn run(options: SimulateArgs) -> Result {
    let target: SimulationTarget = options.to.parse().map_err(Failure::configuration)?;
    let format = options.format.of_records().ok_or_else(|| {
        Failure::configuration(anyhow!(
            "--format nginx is for generate; applications send json, text or ltsv"
        ))
    })?;
    if options.bursts.burst().is_some() && options.rate == 0 {
        return Err(Failure::configuration(anyhow!("--burst needs a --rate above 0")));
    }
    let key = options.key_file.as_deref().map(|path| {
        let key = std::fs::read_to_string(path);
        let key = key.with_context(|| format!("cannot read --key-file {}", path.display()));
        key.map(|key| key.trim().to_owned())
    });
    let key = key.transpose().map_err(Failure::configuration)?;
    let is_json = options.json;
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    let started = std::time::Instant::now();
    let tally = runtime.block_on(async {
        let simulation = Arc::new(ClientSimulation {
            shape: target.shape(format),
            target,
            format,
            run: format!(
                "{:x}-{:x}",
                std::process::id(),
                jiff::Timestamp::now().as_nanosecond()
            ),
            start: Instant::now(),
            options,
            key,
        });
        let mut clients = JoinSet::new();
        for number in 0..simulation.options.clients.get() {
            clients.spawn(client(Arc::clone(&simulation), number));
        }
        let tallies = clients.join_all().await;
        tallies
            .into_iter()
            .fold(SimulationTally::default(), SimulationTally::add)
    });
    tally.print(started.elapsed(), is_json)?;
    if tally.acknowledged == 0
        && let Some(problem) = &tally.problem
    {
        return Err(anyhow!("no record was acknowledged: {problem}").into());
    }
    Ok(CommandOutcome::fine_if(tally.is_whole()))
}

async fn client(simulation: Arc<ClientSimulation>, number: usize) -> SimulationTally {
    let options = &simulation.options;
    let timing = FeedRate {
        rate: options.rate,
        burst: options.bursts.burst(),
    };
    let seconds = Duration::from_secs(options.seconds);
    let schedule = Schedule::new(timing, (number, options.clients.get()), seconds);
    let traffic = ApplicationTraffic::new(ApplicationOptions {
        seed: options.seed.wrapping_add(number as u64),
        ids: options.ids.as_ref().map(|name| format!("{name}-{number}")),
        format: simulation.format,
        levels: options.levels.clone().unwrap_or_default(),
        zone: TimeZone::system(),
    });
    match &simulation.target {
        SimulationTarget::Http(_) => http_client::run(&simulation, number, schedule, traffic).await,
        SimulationTarget::Tcp(_) => tcp_client::run(&simulation, schedule, traffic).await,
    }
}
