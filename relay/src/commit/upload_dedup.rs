//! Storing each legacy upload once although it may come again.
//!
//! Such a body says neither its file nor its offset. The relay knows only whether equal lines are durable and their
//! response is not confirmed. Then the body is a repeat; otherwise it is new.
//!
//! Invariants:
//! - A body is remembered with the round that has its lines, in the transaction that makes them durable: so a body that waits
//!   is not remembered, and a crash before the response forgets nothing.
//! - It is forgotten only after its response is confirmed.

use std::collections::VecDeque;

use jiff::Timestamp;
use logferry_ledger::{Ledger, LedgerError, UploadedBody};

use crate::commit::offset_check::OffsetCheck;

/// The changes that the ledger gets with a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoundUploads {
    /// Bodies whose response is confirmed. They are forgotten before those of `stored` are noted.
    pub(crate) answered: Vec<UploadedBody>,
    /// Bodies that the round makes durable.
    pub(crate) stored: Vec<UploadedBody>,
}

impl RoundUploads {
    /// What the ledger will say of a body after this round; `None` if the round does not change it.
    fn will_be_unanswered(&self, body: &UploadedBody) -> Option<bool> {
        let is_stored = self.stored.contains(body);
        (is_stored || self.answered.contains(body)).then_some(is_stored)
    }
}

/// The changes that are ahead of the ledger.
#[derive(Debug, Default)]
pub(crate) struct UploadDedup {
    staged: RoundUploads,
    /// Those of the rounds that are being written, oldest first.
    in_flight: VecDeque<RoundUploads>,
}

impl UploadDedup {
    /// Whether a body is new: neither the ledger knows it, nor a round that is ahead of the ledger. Remembers nothing, as the
    /// body may have to wait yet.
    pub(crate) fn check(
        &self,
        body: &UploadedBody,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<OffsetCheck, LedgerError> {
        let mut rounds = std::iter::once(&self.staged).chain(self.in_flight.iter().rev());
        let is_unanswered = match rounds.find_map(|round| round.will_be_unanswered(body)) {
            Some(is_unanswered) => is_unanswered,
            None => ledger.is_unanswered(body, now)?,
        };
        Ok(if is_unanswered {
            OffsetCheck::Duplicate
        } else {
            OffsetCheck::Next
        })
    }

    /// The lines of a body are appended: it is remembered with the next round.
    pub(crate) fn appended(&mut self, body: &UploadedBody) {
        self.staged.stored.push(body.clone());
    }

    /// The response to a body is confirmed: an equal body is new.
    pub(crate) fn acknowledged(&mut self, body: UploadedBody) {
        self.staged.answered.push(body);
    }

    /// Forgets staged bodies after an error. Confirmed responses stay confirmed.
    pub(crate) fn forget_staged(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        self.staged
            .answered
            .extend(in_flight.into_iter().flat_map(|round| round.answered));
        self.staged.stored.clear();
    }

    /// Removes confirmed bodies from the ledger, if no round has done so. Not while a round is being written or staged.
    pub(crate) fn forget_acknowledged(&mut self, ledger: &mut Ledger) -> Result<(), LedgerError> {
        if !self.staged.answered.is_empty() {
            ledger.forget_uploads(&self.staged.answered)?;
            self.staged.answered.clear();
        }
        Ok(())
    }

    /// The changes for the round that is going to be written: none if it writes nothing.
    pub(crate) fn take_round(&mut self, is_written: bool) -> RoundUploads {
        let changes = if is_written {
            std::mem::take(&mut self.staged)
        } else {
            RoundUploads::default()
        };
        self.in_flight.push_back(changes.clone());
        changes
    }

    /// The oldest of these rounds is durable.
    pub(crate) fn written(&mut self) {
        self.in_flight.pop_front();
    }
}
