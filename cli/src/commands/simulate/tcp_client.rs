//! A client of a TCP source. Nothing is acknowledged one by one; but a collector closes the connection of a client that has
//! closed its side only when everything is durable.

use std::time::Duration;

use jiff::Timestamp;
use logferry_traffic::ApplicationTraffic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};

use super::report::SimulationTally;
use super::schedule::Schedule;
use super::target::{SimulationTarget, Transport, connect};
use super::{ClientSimulation, GRACE};

/// Waits before another connection.
const RETRY: Duration = Duration::from_millis(500);

/// Sends the client's records, and counts.
pub(super) async fn run(
    simulation: &ClientSimulation,
    mut schedule: Schedule,
    mut traffic: ApplicationTraffic,
) -> SimulationTally {
    let SimulationTarget::Tcp(target) = &simulation.target else {
        return SimulationTally::default();
    };
    let mut tally = SimulationTally::default();
    let mut connection: Option<(Transport, u64)> = None;
    while let Some(due) = schedule.next(simulation.start.elapsed()) {
        sleep_until(simulation.start + due).await;
        let (mut stream, unconfirmed) = match connection.take() {
            Some(open) => open,
            None => match connect(target, simulation.options.ca_file.as_deref()).await {
                Ok(stream) => (stream, 0),
                Err(error) => {
                    // The record is still to be sent.
                    tally.problem = Some(error);
                    tally.retries += 1;
                    if is_over(simulation) {
                        return tally;
                    }
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            },
        };
        schedule.sent();
        let mut line = Vec::new();
        traffic.line(Timestamp::now(), &mut line);
        tally.sent += 1;
        tally.bytes += line.len() as u64;
        match stream.write_all(&line).await {
            Ok(()) => connection = Some((stream, unconfirmed + 1)),
            // What this connection has sent before may be lost or not.
            Err(error) => tally.problem = Some(format!("the source closed the connection: {error}")),
        }
    }
    if let Some((stream, unconfirmed)) = connection {
        match timeout(GRACE, is_confirmed(stream)).await {
            Ok(Ok(())) => tally.acknowledged += unconfirmed,
            Ok(Err(error)) => tally.problem = Some(format!("the source did not confirm the end: {error}")),
            Err(_) => tally.problem = Some("the source did not confirm the end in time".to_owned()),
        }
    }
    tally
}

/// Whether the time of the simulation is over, for a client that cannot send.
fn is_over(simulation: &ClientSimulation) -> bool {
    let seconds = simulation.options.seconds;
    seconds > 0 && simulation.start.elapsed() >= Duration::from_secs(seconds)
}

/// Closes this side, and waits for the end of the other.
async fn is_confirmed(mut stream: Transport) -> std::io::Result<()> {
    stream.flush().await?;
    stream.shutdown().await?;
    let mut rest = [0; 256];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
