//! Sends what waits for each channel: one task a channel.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::{ChannelSettings, MonitorSettings};
use logferry_ledger::{ChannelRecord, Ledger, LedgerError, MessageOutcome, QueuedAlertEvent};
use logferry_telemetry::{Metrics, MonitorMetrics};
use logferry_text::{count_of, duration};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::alert_message::{AlertMessage, delay, message_id};
use super::delivery::{ConfiguredTransport, MessageTransport};
use crate::channel_error::ChannelError;
use crate::error::MonitorError;
use crate::mail::outbox::{RETRY, UNCONFIRMED_MAX, stop_grace, with_ledger};

/// The longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Events in one message.
const EVENTS_MAX: u32 = 500;

/// How often to look for a message to try again. A new event is sent at once.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A delay worth a word in the log.
const DELAYED: Duration = Duration::from_mins(10);

/// What a pass did.
#[derive(Debug)]
pub(super) enum PassEnd {
    /// Nothing is due.
    Idle,
    /// A message was sent; more may wait.
    Sent,
    /// The channel failed.
    Failed(ChannelError),
}

/// The events of one channel, and how they are sent.
#[derive(Debug)]
pub(super) struct ChannelOutbox<T> {
    data_dir: PathBuf,
    channel: String,
    transport: T,
    prefix: String,
    metrics: MonitorMetrics,
    /// A message that was sent while the ledger could not be written: it is recorded before anything else is sent.
    unrecorded: Option<BegunMessage>,
}

/// A message whose first byte may have been sent.
#[derive(Debug, Clone, Copy)]
struct BegunMessage {
    /// The first and the last of its events.
    numbers: (i64, i64),
    /// Whether the ledger knows that these events are in one message. If it could not be told before, it is told with the outcome.
    is_announced: bool,
}

/// Sends what waits for the channels until `stop`. `news` changes when events were queued.
pub(crate) async fn run(
    config: &MonitorSettings,
    news: watch::Receiver<()>,
    stop: &CancellationToken,
) -> Result<(), MonitorError> {
    let mut tasks = JoinSet::new();
    for channel in &config.channels {
        let outbox = ChannelOutbox::configured(config, channel);
        tasks.spawn(outbox.work(news.clone(), stop.clone()));
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(MonitorError::Crashed).flatten();
        if ended.is_err() {
            stop.cancel();
        }
        result = result.and(ended);
    }
    result
}

/// Tries what is due for each channel once; for cron. Returns the channels that failed.
pub(crate) async fn send_once(config: &MonitorSettings) -> Result<Vec<(String, ChannelError)>, MonitorError> {
    let mut failed = Vec::new();
    for channel in &config.channels {
        let mut outbox = ChannelOutbox::configured(config, channel);
        loop {
            match outbox.pass(Timestamp::MAX).await? {
                PassEnd::Idle => break,
                PassEnd::Sent => {}
                PassEnd::Failed(error) => {
                    failed.push((channel.name.clone(), error));
                    break;
                }
            }
        }
    }
    Ok(failed)
}

impl ChannelOutbox<ConfiguredTransport> {
    fn configured(config: &MonitorSettings, channel: &ChannelSettings) -> Self {
        let transport = ConfiguredTransport {
            channel: channel.clone(),
            zone: TimeZone::system(),
        };
        Self::new(config, &channel.name, transport)
    }
}

impl<T: MessageTransport> ChannelOutbox<T> {
    pub(super) fn new(config: &MonitorSettings, channel: &str, transport: T) -> Self {
        Self {
            data_dir: config.data_dir.clone(),
            channel: channel.to_owned(),
            transport,
            prefix: config.smtp.subject_prefix.clone(),
            metrics: Metrics::process().monitor(),
            unrecorded: None,
        }
    }

    async fn work(
        mut self,
        mut news: watch::Receiver<()>,
        stop: CancellationToken,
    ) -> Result<(), MonitorError> {
        loop {
            let passed = tokio::select! {
                passed = self.pass(Timestamp::now()) => passed,
                () = stop_grace(&stop) => return Ok(()),
            };
            match passed {
                Ok(PassEnd::Sent) if !stop.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => log_if_temporary(&self.channel, error)?,
            }
            let waited = tokio::time::timeout(LOOK_INTERVAL, news.changed());
            if stop.run_until_cancelled(waited).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Sends one message, if the channel is due by then.
    pub(super) async fn pass(&mut self, due_by: Timestamp) -> Result<PassEnd, MonitorError> {
        self.record_sent().await?;
        let name = self.channel.clone();
        let (events, record, ledger) = self
            .with_ledger(move |ledger| {
                let events = ledger.waiting_events(&name, EVENTS_MAX)?;
                let mut records = ledger.channel_records()?.into_iter();
                let record = records.find(|record| record.channel == name);
                Ok((events, record, ledger.id()?.to_string()))
            })
            .await?;
        let events = one_message(events);
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(PassEnd::Idle);
        };
        let numbers = (first.number, last.number);
        if record
            .as_ref()
            .is_some_and(|record| !is_due(record.next_attempt, due_by))
        {
            return Ok(PassEnd::Idle);
        }
        let unconfirmed = record.as_ref().map_or(0, |record| record.unconfirmed);
        if first.message.is_some() && unconfirmed >= UNCONFIRMED_MAX {
            let begun = BegunMessage {
                numbers,
                is_announced: true,
            };
            self.presume_sent(begun, "the monitor or the other side broke off each time")
                .await?;
            return Ok(PassEnd::Sent);
        }
        let begun = BegunMessage {
            numbers,
            is_announced: self.announce(numbers).await,
        };
        let events: Vec<_> = events.into_iter().map(|queued| queued.event).collect();
        let id = message_id(&ledger, numbers);
        let message = AlertMessage::of(id, &self.prefix, events.clone());
        match self.transport.deliver(&message).await {
            Ok(()) => {
                self.metrics.notified();
                let (channel, late) = (&self.channel, delay(&events, Timestamp::now()));
                let late = (late > DELAYED).then(|| format!(", {} late", duration(late)));
                tracing::info!(
                    channel,
                    "channel {channel}: message \"{}\" is sent{}",
                    message.title,
                    late.unwrap_or_default()
                );
                self.unrecorded = Some(begun);
                self.record_sent().await?;
                Ok(PassEnd::Sent)
            }
            Err(error) => {
                self.record_failure(begun, &message, &error, record, unconfirmed + 1)
                    .await?;
                Ok(PassEnd::Failed(error))
            }
        }
    }

    /// Counts the attempt before the first byte of it. A crash leaves the count, so not even a monitor that crashes each time sends
    /// a message for ever. Returns whether the ledger could be written.
    async fn announce(&self, numbers: (i64, i64)) -> bool {
        let name = self.channel.clone();
        let announced = self
            .with_ledger(move |ledger| ledger.message_announced(&name, numbers))
            .await;
        if let Err(error) = &announced {
            // A message about a full disk must be sent although the ledger cannot grow.
            let channel = &self.channel;
            tracing::warn!(
                channel,
                error = error as &dyn Error,
                "channel {channel}: cannot count the attempt in the ledger; the message is sent nevertheless"
            );
        }
        announced.is_ok()
    }

    /// Records the outcome of a message; `work` gets the ledger and the number of its first event.
    async fn record(
        &self,
        begun: BegunMessage,
        work: impl FnOnce(&mut Ledger, &str, i64) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), MonitorError> {
        let name = self.channel.clone();
        self.with_ledger(move |ledger| {
            if !begun.is_announced {
                ledger.message_announced(&name, begun.numbers)?;
            }
            work(ledger, &name, begun.numbers.0)
        })
        .await
    }

    async fn record_sent(&mut self) -> Result<(), MonitorError> {
        if let Some(begun) = self.unrecorded {
            self.record(begun, |ledger, name, message| {
                ledger.message_sent(name, message, None, Timestamp::now())
            })
            .await?;
            self.unrecorded = None;
        }
        Ok(())
    }

    async fn presume_sent(&self, begun: BegunMessage, reason: &str) -> Result<(), MonitorError> {
        let channel = &self.channel;
        tracing::warn!(
            channel,
            "channel {channel}: no answer to a message in {UNCONFIRMED_MAX} attempts ({reason}); it most likely was taken, and is not \
             sent again"
        );
        let reason = reason.to_owned();
        self.record(begun, move |ledger, name, message| {
            ledger.message_sent(name, message, Some(&reason), Timestamp::now())
        })
        .await
    }

    async fn record_failure(
        &self,
        begun: BegunMessage,
        message: &AlertMessage,
        error: &ChannelError,
        record: Option<ChannelRecord>,
        unconfirmed: u32,
    ) -> Result<(), MonitorError> {
        let outcome = error.outcome();
        if outcome == MessageOutcome::Unknown && unconfirmed >= UNCONFIRMED_MAX {
            return self.presume_sent(begun, &error.to_string()).await;
        }
        let attempts = record.map_or(0, |record| record.attempts).saturating_add(1);
        let asked = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
        let wait = RETRY.wait(attempts, 0.0).max(asked);
        let channel = &self.channel;
        let unknown = match outcome {
            MessageOutcome::Unknown => "; nobody knows whether it was taken, and a repeat has the same id",
            _ => "",
        };
        tracing::warn!(
            channel,
            attempts,
            error = error as &dyn Error,
            "channel {channel}: message \"{}\" is not sent, {}; it is tried again in {}{unknown}; `logferry test-mail --channel \
             {channel}` tries the channel",
            message.title,
            count_of(attempts.into(), "attempt"),
            duration(wait)
        );
        let reason = error.to_string();
        let next = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        self.record(begun, move |ledger, name, number| {
            ledger.message_failed(name, number, outcome, (&reason, next))
        })
        .await
    }

    async fn with_ledger<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger) -> Result<R, LedgerError> + Send + 'static,
    ) -> Result<R, MonitorError> {
        let data_dir: &Path = &self.data_dir;
        with_ledger(data_dir, work).await
    }
}

/// Whether a channel is due by then. A next attempt further ahead than the longest wait was recorded before the clock was set back.
fn is_due(next_attempt: Timestamp, due_by: Timestamp) -> bool {
    let latest = due_by.checked_add(RETRY_AFTER_MAX).unwrap_or(Timestamp::MAX);
    next_attempt <= due_by || next_attempt > latest
}

/// The events of the next message: those of one that was begun, or else all.
fn one_message(events: Vec<QueuedAlertEvent>) -> Vec<QueuedAlertEvent> {
    match events.first().and_then(|first| first.message) {
        None => events
            .into_iter()
            .take_while(|event| event.message.is_none())
            .collect(),
        frozen => events
            .into_iter()
            .take_while(|event| event.message == frozen)
            .collect(),
    }
}

/// Logs an error that may pass by itself, and returns any other.
fn log_if_temporary(channel: &str, error: MonitorError) -> Result<(), MonitorError> {
    if !error.is_temporary() {
        return Err(error);
    }
    tracing::error!(
        channel,
        error = &error as &dyn Error,
        "channel {channel}: cannot use the ledger now; this is tried again"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_waits_for_its_next_attempt_unless_the_clock_was_set_back() {
        let next = Timestamp::UNIX_EPOCH + Duration::from_hours(24);
        for (before, due) in [
            (Duration::ZERO, true),
            (Duration::from_secs(30), false),
            (RETRY_AFTER_MAX, false),
            (RETRY_AFTER_MAX + Duration::from_secs(1), true),
            (Duration::from_hours(24), true),
        ] {
            assert_eq!(is_due(next, next - before), due, "{before:?}");
        }
        assert!(is_due(next, Timestamp::MAX));
    }
}
