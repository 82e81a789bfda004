//! Runs the sender, and publishes its counters as metrics.

use std::sync::Arc;
use std::time::Duration;

use logferry_config::{Sender, SourceSetting};
use logferry_sender::Counters;
use logferry_telemetry::{Endpoint, Metrics, Ready, SenderMetrics, SenderTotals};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Far shorter than any scrape interval.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Runs the sender and its `/metrics` until `stop`.
pub(crate) async fn run(config: Sender, stop: CancellationToken) -> anyhow::Result<()> {
    let (counters, metrics) = (Arc::new(Counters::default()), Metrics::process());
    let ready = Ready::default();
    let beside = stop.child_token();
    let mut tasks = JoinSet::new();
    tasks.spawn(publish(
        metrics.sender(&label(&config)),
        Arc::clone(&counters),
        beside.clone(),
    ));
    if let Some(address) = config.metrics {
        let endpoint = Endpoint::bind(address).await?;
        tasks.spawn(endpoint.serve(metrics.clone(), ready.clone(), beside.clone()));
    }
    let outcome = logferry_sender::run(config, counters, ready, stop).await;
    beside.cancel();
    tasks.join_all().await;
    Ok(outcome?)
}

/// The source's label. Only the relay knows the source of a sender without a configured name or address.
fn label(config: &Sender) -> String {
    match (&config.source, config.local_address) {
        (SourceSetting::Named(source), _) => source.to_string(),
        (SourceSetting::Auto, Some(address)) => address.to_string(),
        (SourceSetting::Auto, None) => "auto".to_owned(),
    }
}

async fn publish(metrics: SenderMetrics, counters: Arc<Counters>, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(PUBLISH_EVERY)).await.is_some() {
        let counted = counters.snapshot();
        metrics.publish(SenderTotals {
            read_bytes: counted.read_bytes,
            sent_lines: counted.sent_lines,
            excluded_lines: counted.excluded_lines,
            retries: counted.retries,
            gaps: counted.gaps,
            gap_bytes: counted.gap_bytes,
            lag_bytes: counted.lag_bytes,
        });
    }
}
