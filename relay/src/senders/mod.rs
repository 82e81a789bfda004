//! The senders that a relay knows by their ids: which source each has, and whether two processes use one id.
//!
//! `registry` decides and is pure; here it is shared among the groups and the connections. May be changed here alone: what
//! a sender's id counts for. It never counts for more than the peer's address does; `docs/security.md` has the rule.

mod registry;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use logferry_ledger::SenderRecord;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::sender::{SenderId, SenderRun};

use self::registry::SenderRegistry;
pub(crate) use self::registry::{Contact, ContactOutcome};

/// The registry of a relay. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedSenders(Arc<Mutex<SenderRegistry>>);

/// Counts as a connection of a process until it is dropped.
#[derive(Debug)]
pub(crate) struct RunConnection {
    run: SenderRun,
    senders: SharedSenders,
}

impl SharedSenders {
    pub(crate) fn load(records: Vec<SenderRecord>) -> Self {
        Self(Arc::new(Mutex::new(SenderRegistry::load(records))))
    }

    fn registry(&self) -> MutexGuard<'_, SenderRegistry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a request. `may_send` says whether the group admits a source.
    pub(crate) fn contact(
        &self,
        contact: &Contact<'_>,
        may_send: impl Fn(&SourceId) -> bool,
    ) -> ContactOutcome {
        self.registry().contact(contact, may_send, Timestamp::now())
    }

    /// Logs two live senders of a source, once while there are two.
    pub(crate) fn log_together(&self, source: &SourceId) {
        let together = self.registry().newly_together(source, Timestamp::now());
        let Some(senders) = together else { return };
        let senders = senders
            .iter()
            .map(|sender| format!("{} at {}", sender.id.short(), sender.address));
        let senders = senders.collect::<Vec<_>>().join(", ");
        tracing::warn!(
            %source, senders,
            "two senders send for one source at the same time; no line is lost, but the source holds the lines of both: \
             give one of them another `sender.source` name, or an address of its own"
        );
    }

    pub(crate) fn connected(&self, run: SenderRun) -> RunConnection {
        self.registry().connected(run);
        RunConnection {
            run,
            senders: self.clone(),
        }
    }

    /// What the ledger does not have yet of a sender; what it has already too, if `whole`.
    pub(crate) fn unsaved(&self, id: SenderId, group: &GroupName, whole: bool) -> Option<SenderRecord> {
        self.registry().unsaved(id, group, whole)
    }

    pub(crate) fn saved(&self, record: &SenderRecord) {
        self.registry().saved(record);
    }
}

impl RunConnection {
    pub(crate) fn run(&self) -> SenderRun {
        self.run
    }
}

impl Drop for RunConnection {
    fn drop(&mut self) {
        self.senders.registry().disconnected(self.run);
    }
}
