//! Runs the sender and its metrics page.

use logferry_config::{SenderSettings, SourceSetting};
use logferry_telemetry::{HealthEndpoint, Metrics, Readiness};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs the sender and its `/metrics` until `stop`.
pub(crate) async fn run(config: SenderSettings, stop: CancellationToken) -> anyhow::Result<()> {
    let metrics = Metrics::process();
    let ready = Readiness::default();
    let beside = stop.child_token();
    let mut tasks = JoinSet::new();
    let sender = metrics.sender(&label(&config));
    if let Some(address) = config.metrics {
        let endpoint = HealthEndpoint::bind(address).await?;
        tasks.spawn(endpoint.serve(metrics.clone(), ready.clone(), beside.clone()));
    }
    let outcome = logferry_sender::run(config, sender, ready, stop).await;
    beside.cancel();
    tasks.join_all().await;
    Ok(outcome?)
}

/// The source's label. Only the relay knows the source of a sender without a configured name or address.
fn label(config: &SenderSettings) -> String {
    match (&config.source, config.local_address) {
        (SourceSetting::Named(source), _) => source.to_string(),
        (SourceSetting::Auto, Some(address)) => address.to_string(),
        (SourceSetting::Auto, None) => "auto".to_owned(),
    }
}
