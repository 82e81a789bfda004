//! What waits for the channels beside the mail, by the monitor's outbox.

use jiff::Timestamp;
use logferry_ledger::{Ledger, LedgerError};
use serde::Serialize;

use crate::time::age;

/// A channel for which messages wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// Events that it has not got. They become one message when it takes one.
    pub waiting: u64,
    /// Seconds since the oldest of them was queued.
    pub oldest_waiting_seconds: u64,
    /// Failed attempts since the last success.
    pub attempts: u32,
    /// Why the last attempt failed; `None` if there was none, or none failed.
    pub last_error: Option<String>,
}

/// The channels for which something waits, by name.
pub(super) fn statuses(ledger: &Ledger, now: Timestamp) -> Result<Vec<ChannelStatus>, LedgerError> {
    let records = ledger.channel_records()?;
    let backlogs = ledger.channel_backlogs()?.into_iter();
    let statuses = backlogs.map(|backlog| {
        let record = records.iter().find(|record| record.channel == backlog.channel);
        // An error of before the last success says nothing of what waits.
        let failing = record.filter(|record| record.attempts > 0);
        ChannelStatus {
            waiting: backlog.waiting,
            oldest_waiting_seconds: age(backlog.oldest, now).as_secs(),
            attempts: failing.map_or(0, |record| record.attempts),
            last_error: failing.and_then(|record| record.last_error.clone()),
            name: backlog.channel,
        }
    });
    Ok(statuses.collect())
}
