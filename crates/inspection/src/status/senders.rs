//! The senders behind the sources.

use std::net::IpAddr;

use jiff::Timestamp;
use logferry_ledger::{SenderRecord, live_together};
use logferry_protocol::names::SourceId;
use serde::Serialize;

/// One of several live senders of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SenderStatus {
    /// The beginning of its id, which is in the file `id` of its `state_dir`.
    pub id: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// When it last made contact.
    pub last_contact_at: Timestamp,
}

/// Where a source comes from now; `None` if its sender is too old to name itself.
pub(super) fn address(senders: &[SenderRecord], source: &SourceId) -> Option<IpAddr> {
    let of_source = senders.iter().filter(|sender| sender.source == *source);
    let latest = of_source.max_by_key(|sender| sender.last_contact)?;
    Some(latest.address)
}

/// The live senders of a source if there are several, which an operator should mend; else none.
pub(super) fn together(senders: &[SenderRecord], source: &SourceId, now: Timestamp) -> Vec<SenderStatus> {
    let senders = live_together(senders, source, now).into_iter();
    senders
        .map(|sender| SenderStatus {
            id: sender.id.short(),
            address: sender.address,
            last_contact_at: sender.last_contact,
        })
        .collect()
}
