//! Retries and resends that people ask for in the console.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, Ledger};
use logferry_requests::{ConsoleRequest, RequestFolder, RequestedAction, carry_out_all};
use logferry_spool::Spool;
use logferry_text::count_of;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::commands::resend::resend_in;
use crate::delivery_store::{DeliveryStore, DeliveryStoreError};
use crate::lock;
use crate::ssh::STOP_CHECK;

/// How often the console's folder is looked at. It costs nothing while there is no request.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Takes requests until `stop`.
pub(crate) struct RequestTaker {
    pub(crate) folder: RequestFolder,
    pub(crate) data_dir: PathBuf,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) store: Arc<Mutex<DeliveryStore>>,
}

impl RequestTaker {
    pub(crate) fn run(&self, stop: &CancellationToken) {
        let mut is_told = false;
        while !stop.is_cancelled() {
            match self.pass() {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    is_told = true;
                    warn!(
                        error = error.as_ref() as &dyn Error,
                        "requests of the console cannot be carried out now; it is tried again"
                    );
                }
                Err(_) => {}
            }
            let start = Instant::now();
            while start.elapsed() < LOOK_INTERVAL && !stop.is_cancelled() {
                thread::sleep(STOP_CHECK);
            }
        }
    }

    fn pass(&self) -> Result<(), Box<dyn Error>> {
        if self.folder.list()?.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let mut store = lock(&self.store);
        carry_out_all(&self.folder, &mut store.ledger, now, |ledger, request| {
            self.act(ledger, request, now)
        })?;
        Ok(())
    }

    fn act(
        &self,
        ledger: &mut Ledger,
        request: &ConsoleRequest,
        now: Timestamp,
    ) -> Result<Option<String>, DeliveryStoreError> {
        match &request.action {
            RequestedAction::Retry { batches } => {
                let mut changed = 0;
                for batch in named(ledger, batches)? {
                    changed += u64::from(ledger.retry(batch.id)?);
                }
                Ok(Some(format!("{} ready again", count_of(changed, "batch"))))
            }
            RequestedAction::Resend { batches, destination } => {
                let subscribers: Vec<_> = self
                    .subscribers
                    .iter()
                    .filter(|it| destination.as_ref().is_none_or(|name| it.name.as_str() == name))
                    .cloned()
                    .collect();
                let batches = named(ledger, batches)?;
                let spool = Spool::new(RealDisk, &self.data_dir);
                let resent = resend_in(ledger, &spool, &batches, &subscribers, Some(now))?;
                let number = |list: usize| u64::try_from(list).unwrap_or(u64::MAX);
                let mut text = format!("{} due", count_of(number(resent.due.len()), "delivery"));
                if !resent.waiting.is_empty() {
                    let _ = write!(text, ", {} waiting already", resent.waiting.len());
                }
                for gone in &resent.gone {
                    let _ = write!(text, "; {}: {}", gone.batch, gone.detail);
                }
                Ok(Some(text))
            }
            RequestedAction::Silence { .. } => Ok(None),
        }
    }
}

/// The batches with these names. One that is not there any more is left out.
fn named(ledger: &Ledger, names: &[String]) -> Result<Vec<Batch>, DeliveryStoreError> {
    let batches = names.iter().map(|name| ledger.batch_named(name));
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    Ok(batches.into_iter().flatten().collect())
}
