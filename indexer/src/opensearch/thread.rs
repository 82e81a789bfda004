//! The thread of the sink. It decides nothing.

use std::error::Error;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::{Backoff, IndexerSettings, OpenSearchSettings};
use logferry_numbers::IndexDb;
use logferry_opensearch::{BulkDelivery, BulkStep, DocumentAnswer, OpenSearchClient, OpenSearchError};
use logferry_telemetry::{Metrics, RepeatLimit};
use logferry_text::error_chain;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::document_set::SealedSet;
use super::session::SinkSession;
use crate::error::IndexerError;
use crate::reported_error::ReportedError;

/// From the start of one round to the next, unless more can be sent at once.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two passes that remove old places.
const TIDY_INTERVAL: Duration = Duration::from_hours(1);

/// Wait after an error of this host.
const RETRY_WAIT: Duration = Duration::from_secs(2);

/// Waits for the server.
const SERVER_BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    max: Duration::from_mins(1),
};

/// The running sink. A drop stops it, and waits for its end.
pub(crate) struct SinkThread {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl SinkThread {
    /// Starts the sink, if the configuration has one. The caller holds the lock of the indexer's folder as long.
    pub(crate) fn start(
        config: &IndexerSettings,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, IndexerError> {
        let Some(settings) = config.opensearch.clone() else {
            return Ok(None);
        };
        // So that the two connections do not both make the file. An error comes again, and is told then.
        let _ = IndexDb::open_or_create(&config.store_dir);
        let failed = |error: std::io::Error| IndexerError::Thread(error.to_string());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let stop = stop.child_token();
        let sink = Sink::new(config, settings, stop.clone(), SERVER_BACKOFF);
        let work = move || work(sink, &runtime);
        let thread = thread::Builder::new().name("opensearch".to_owned()).spawn(work);
        Ok(Some(Self {
            stop,
            thread: Some(thread.map_err(failed)?),
        }))
    }
}

impl Drop for SinkThread {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic has printed itself.
            let _ = thread.join();
        }
    }
}

/// The sink, whose work is in sessions of rounds.
pub(crate) struct Sink {
    config: IndexerSettings,
    settings: OpenSearchSettings,
    stop: CancellationToken,
    backoff: Backoff,
    /// Why it waits, as it was said last.
    waits_told: RepeatLimit<()>,
    /// The last error of this host.
    told: ReportedError,
}

/// What is open from one error of this host to the next.
pub(crate) struct OpenSink {
    client: OpenSearchClient,
    delivery: BulkDelivery,
    session: SinkSession,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoundEnd {
    /// All that there is has been sent.
    Whole,
    /// There is more.
    HasMore,
    /// The stop came first.
    Stopped,
}

/// Whether its index has a document of the set.
async fn find(open: &mut OpenSink, set: &SealedSet, number: usize) -> DocumentAnswer {
    let line = set.line_of(number);
    let found = line.and_then(|(id, batch)| Some((open.session.index_of(batch)?, id)));
    match found {
        Some((index, id)) => open.client.find(index, id).await,
        // Every set is of batches that are bound.
        None => DocumentAnswer::Absent,
    }
}

fn work(mut sink: Sink, runtime: &Runtime) {
    // As of the indexer: the relay comes first.
    let _ = rustix::process::nice(crate::NICENESS);
    let url = sink.settings.url.clone();
    tracing::info!("lines go to OpenSearch at {url} too");
    while !sink.stop.is_cancelled() {
        let Err(error) = runtime.block_on(sink.session()) else {
            break;
        };
        let text = error_chain(&error);
        if sink.told.is_news(&error, &text, Instant::now()) {
            if error.is_expected() {
                tracing::info!("nothing goes to OpenSearch yet: {text}");
            } else {
                tracing::error!(
                    error = &error as &dyn Error,
                    "lines cannot be sent to OpenSearch now: {text}; it is tried again, and goes on where it was"
                );
            }
        }
        runtime.block_on(sink.sleep(RETRY_WAIT));
    }
}

impl Sink {
    pub(crate) fn new(
        config: &IndexerSettings,
        settings: OpenSearchSettings,
        stop: CancellationToken,
        backoff: Backoff,
    ) -> Self {
        Self {
            config: config.clone(),
            settings,
            stop,
            backoff,
            waits_told: RepeatLimit::default(),
            told: ReportedError::default(),
        }
    }

    /// Opens everything and sends until the stop, or the first error of this host.
    async fn session(&mut self) -> Result<(), IndexerError> {
        let mut open = self.open()?;
        self.put_template(&mut open).await?;
        let mut tidied: Option<Instant> = None;
        loop {
            let start = Instant::now();
            let end = self.round(&mut open).await?;
            self.told.worked(Instant::now());
            if tidied.is_none_or(|at| at.elapsed() >= TIDY_INTERVAL) {
                let age = i64::try_from(self.config.keep.age.as_secs()).unwrap_or(i64::MAX);
                let cutoff = Timestamp::now().as_second().saturating_sub(age);
                open.session.remove_expired(cutoff)?;
                tidied = Some(start);
            }
            match end {
                RoundEnd::HasMore => {}
                RoundEnd::Whole => {
                    self.sleep(ROUND_INTERVAL.saturating_sub(start.elapsed())).await;
                }
                RoundEnd::Stopped => return Ok(()),
            }
        }
    }

    /// Opens what a session needs.
    pub(crate) fn open(&self) -> Result<OpenSink, IndexerError> {
        let metrics = Metrics::process().sink();
        Ok(OpenSink {
            session: SinkSession::open(&self.config, &self.settings, metrics, Timestamp::now())?,
            client: OpenSearchClient::new(self.settings.clone()),
            delivery: BulkDelivery::new(self.settings.batch_bytes, self.backoff),
        })
    }

    /// Sends one set of what is new.
    pub(crate) async fn round(&mut self, open: &mut OpenSink) -> Result<RoundEnd, IndexerError> {
        if self.stop.is_cancelled() {
            return Ok(RoundEnd::Stopped);
        }
        if open.session.is_over()? {
            *open = self.open()?;
            // Another server may be behind the address.
            self.put_template(open).await?;
        }
        open.session.look(Timestamp::now())?;
        let set = open.session.gather(Timestamp::now())?;
        if set.is_empty() {
            open.session.record(Timestamp::now())?;
        } else if !self.deliver(open, &set).await? {
            return Ok(RoundEnd::Stopped);
        }
        Ok(if set.has_more {
            RoundEnd::HasMore
        } else {
            RoundEnd::Whole
        })
    }

    /// Sends the set until all of it is done, and records that. False if the stop came first.
    async fn deliver(&mut self, open: &mut OpenSink, set: &SealedSet) -> Result<bool, IndexerError> {
        for (id, bytes) in set.items() {
            open.delivery.add(id.to_owned(), bytes);
        }
        loop {
            match open.delivery.step() {
                BulkStep::Send(numbers) => {
                    let exchange = open.client.bulk(set.request(&numbers));
                    let Some(answer) = self.stop.run_until_cancelled(exchange).await else {
                        return Ok(false);
                    };
                    open.delivery.answered(answer);
                }
                BulkStep::Ask(number) => {
                    let answer = find(open, set, number);
                    let Some(answer) = self.stop.run_until_cancelled(answer).await else {
                        return Ok(false);
                    };
                    open.delivery.asked(answer);
                }
                BulkStep::Wait { time, reason } => {
                    if !self.wait(time, &reason, open).await? {
                        return Ok(false);
                    }
                    open.delivery.waited();
                }
                BulkStep::Done => {
                    self.tell_if_it_goes_on();
                    let counts = open.delivery.take_counts();
                    open.session.settle(set, counts, Timestamp::now())?;
                    return Ok(true);
                }
            }
        }
    }

    /// Puts the index template. Without it documents are taken, too, with the types that the server finds; so a server that
    /// refuses it is no reason to wait, and one that does not answer is.
    pub(crate) async fn put_template(&mut self, open: &mut OpenSink) -> Result<(), IndexerError> {
        let mut failures = 0;
        loop {
            let Some(put) = self.stop.run_until_cancelled(open.client.put_template()).await else {
                return Ok(());
            };
            match put {
                Ok(is_put) => {
                    tracing::debug!(is_put, "the index template is there");
                    self.tell_if_it_goes_on();
                    return open.session.note_trouble("", Timestamp::now());
                }
                Err(OpenSearchError::Refused { status, reason, .. })
                    if !matches!(status, 401 | 408 | 429 | 500..) =>
                {
                    tracing::warn!(
                        "OpenSearch at {} does not take the index template (status {status}: {reason}); lines are sent without \
                         it, and the server finds the types of the fields itself; docs/index/opensearch.md has it for somebody who may put it",
                        self.settings.url
                    );
                    self.tell_if_it_goes_on();
                    return open.session.note_trouble("", Timestamp::now());
                }
                Err(error) => {
                    failures += 1;
                    let time = self.backoff.wait(failures, 0.0);
                    if !self.wait(time, &error_chain(&error), open).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for the server, and says why, once. False if the stop came first.
    async fn wait(
        &mut self,
        time: Duration,
        reason: &str,
        open: &mut OpenSink,
    ) -> Result<bool, IndexerError> {
        let url = &self.settings.url;
        if self.waits_told.is_news((), reason, Instant::now()) {
            tracing::warn!("lines wait for OpenSearch at {url}: {reason}; they are sent when it takes them");
        }
        Metrics::process().sink().retried();
        open.session.note_trouble(reason, Timestamp::now())?;
        Ok(self.sleep(time).await)
    }

    fn tell_if_it_goes_on(&mut self) {
        if self.waits_told.is_over() {
            tracing::info!("OpenSearch at {} answers again", self.settings.url);
        }
    }

    /// False if the stop came first.
    async fn sleep(&self, time: Duration) -> bool {
        self.stop
            .run_until_cancelled(tokio::time::sleep(time))
            .await
            .is_some()
    }
}
