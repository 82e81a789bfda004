//! Tries a channel, for `logferry test-mail --channel` (a message) and `logferry check --connect` (no message).

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{
    ChannelKind, ChannelSettings, HeartbeatSettings, HeartbeatTarget, MonitorSettings, WebEndpoint,
};
use logferry_http_client::{HttpMethod, HttpRequest, send};
use logferry_ledger::{AlertEvent, AlertEventKind};

use super::alert_message::AlertMessage;
use super::delivery::deliver;
use crate::channel_error::ChannelError;

/// Time limit of a probe.
const LIMIT: Duration = Duration::from_secs(15);

/// Sends one test message now, without the outbox.
pub async fn test_channel(config: &MonitorSettings, channel: &ChannelSettings) -> Result<(), ChannelError> {
    let now = Timestamp::now();
    let id = format!("logferry-test-{}", now.as_millisecond());
    let event = AlertEvent {
        incident: id.clone(),
        kind: AlertEventKind::Began,
        at: now,
        since: now,
        rule: "test".to_owned(),
        subject: channel.name.clone(),
        severity: "warning".to_owned(),
        text: "this is a test, sent by `logferry test-mail`; alerts come the same way".to_owned(),
        advice: String::new(),
    };
    let message = AlertMessage::of(id, &config.smtp.subject_prefix, [event]);
    deliver(channel, &message, &TimeZone::system()).await
}

/// What a channel says without a message. The error is a sentence.
pub async fn probe_channel(channel: &ChannelSettings) -> Result<String, String> {
    match &channel.kind {
        ChannelKind::Slack(endpoint) | ChannelKind::Teams(endpoint) | ChannelKind::Webhook(endpoint) => {
            let answered = probe_web(endpoint).await?;
            let name = &channel.name;
            Ok(format!(
                "{answered}; no message was sent: `logferry test-mail --channel {name}` sends one"
            ))
        }
        ChannelKind::Command(argv) => {
            let program = argv.first().map_or("", String::as_str);
            let cannot = |reason: &str| Err(format!("{program} {reason}; correct the channel's command"));
            match std::fs::metadata(program) {
                Err(error) => cannot(&format!("cannot be used: {error}")),
                Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => {
                    cannot("is no program")
                }
                Ok(_) => Ok(format!("{program} is there; it was not run")),
            }
        }
    }
}

/// What the heartbeat's other side says without a sign; `None` if there is nothing to ask.
pub async fn probe_heartbeat(heartbeat: &HeartbeatSettings) -> Option<Result<String, String>> {
    match &heartbeat.to {
        HeartbeatTarget::Url(endpoint) => {
            let answered = probe_web(endpoint).await;
            Some(answered.map(|answered| format!("{answered}; no sign was given")))
        }
        HeartbeatTarget::File(_) | HeartbeatTarget::Mail(_) => None,
    }
}

/// Asks a server what it offers at the address, which changes nothing there.
async fn probe_web(endpoint: &WebEndpoint) -> Result<String, String> {
    let request = HttpRequest {
        endpoint,
        method: HttpMethod::Options,
        key: None,
        body: Bytes::new(),
    };
    let answer = send(&request, LIMIT).await.map_err(|error| error.to_string())?;
    Ok(format!("{} answers ({})", endpoint.address, answer.status))
}
