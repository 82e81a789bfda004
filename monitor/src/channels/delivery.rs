//! One attempt to hand a message to a channel.

use std::time::Duration;

use bytes::Bytes;
use jiff::tz::TimeZone;
use logferry_config::{ChannelKind, ChannelSettings, WebEndpoint};
use logferry_http_client::{HttpAnswer, HttpMethod, HttpRequest, send};
use serde_json::Value;

use super::alert_message::AlertMessage;
use super::{command_line, payloads};
use crate::channel_error::ChannelError;

/// The way of messages to a channel.
pub(super) trait MessageTransport: Send + Sync {
    /// Hands a message over. `Ok`: the other side has taken it.
    fn deliver(&self, message: &AlertMessage) -> impl Future<Output = Result<(), ChannelError>> + Send;
}

/// The way that the configuration names.
#[derive(Debug)]
pub(super) struct ConfiguredTransport {
    pub(super) channel: ChannelSettings,
    pub(super) zone: TimeZone,
}

impl MessageTransport for ConfiguredTransport {
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        deliver(&self.channel, message, &self.zone).await
    }
}

/// Hands a message over. `Ok`: the other side has taken it.
///
/// Not cancel safe: the other side may have got it.
pub(super) async fn deliver(
    channel: &ChannelSettings,
    message: &AlertMessage,
    zone: &TimeZone,
) -> Result<(), ChannelError> {
    let (endpoint, payload) = match &channel.kind {
        ChannelKind::Slack(endpoint) => (endpoint, payloads::slack(message, zone)),
        ChannelKind::Teams(endpoint) => (endpoint, payloads::teams(message, zone)),
        ChannelKind::Webhook(endpoint) => (endpoint, payloads::program(message, &channel.name, zone)),
        ChannelKind::Command(argv) => {
            let payload = payloads::program(message, &channel.name, zone);
            let input = format!("{payload}\n").into_bytes();
            return command_line::run(argv, input, channel.time_limit).await;
        }
    };
    post(endpoint, &payload, &message.id, channel.time_limit).await
}

async fn post(
    endpoint: &WebEndpoint,
    payload: &Value,
    id: &str,
    limit: Duration,
) -> Result<(), ChannelError> {
    let request = HttpRequest {
        endpoint,
        method: HttpMethod::PostJson,
        key: Some(id),
        body: Bytes::from(payload.to_string()),
    };
    let answer = send(&request, limit).await?;
    accepted(endpoint, answer)
}

/// Whether the answer says that the request was taken.
pub(super) fn accepted(endpoint: &WebEndpoint, answer: HttpAnswer) -> Result<(), ChannelError> {
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(ChannelError::Answer {
        host: endpoint.address.authority(),
        status: answer.status,
        text: answer.text,
        retry_after: answer.retry_after,
    })
}
