//! Storing each legacy upload once although it may come again.
//!
//! Such a body says neither its file nor its offset. The relay knows only whether equal lines are durable and their
//! response is not confirmed. Then the body is a repeat; otherwise it is new.
//!
//! Invariants:
//! - A body is remembered in the transaction that makes it durable, so a crash before the response forgets nothing.
//! - It is forgotten only after its response is confirmed.

use std::collections::HashSet;

use jiff::Timestamp;
use logferry_ledger::{Commit, Ledger, LedgerError, UploadChanges, UploadedBody};

use crate::commit::offset_check::OffsetCheck;

/// The changes that the ledger gets with the next commit.
#[derive(Debug, Default)]
pub(crate) struct UploadDedup {
    stored: HashSet<UploadedBody>,
    acknowledged: HashSet<UploadedBody>,
}

impl UploadDedup {
    /// Whether a body is new. If so, it is remembered with the next commit.
    pub(crate) fn check(
        &mut self,
        body: &UploadedBody,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<OffsetCheck, LedgerError> {
        let is_acknowledged = self.acknowledged.contains(body);
        if self.stored.contains(body) || (!is_acknowledged && ledger.is_unanswered(body, now)?) {
            return Ok(OffsetCheck::Duplicate);
        }
        self.stored.insert(body.clone());
        Ok(OffsetCheck::Next)
    }

    /// The response to a body is confirmed: an equal body is new.
    pub(crate) fn acknowledged(&mut self, body: UploadedBody) {
        self.acknowledged.insert(body);
    }

    /// Forgets staged bodies after an error. Confirmed responses stay confirmed.
    pub(crate) fn forget_staged(&mut self) {
        self.stored.clear();
    }

    /// Removes confirmed bodies from the ledger, if no commit has done so.
    pub(crate) fn forget_acknowledged(&mut self, ledger: &mut Ledger) -> Result<(), LedgerError> {
        if !self.acknowledged.is_empty() {
            let acknowledged: Vec<_> = self.acknowledged.iter().cloned().collect();
            ledger.forget_uploads(&acknowledged)?;
            self.acknowledged.clear();
        }
        Ok(())
    }

    /// Records a commit together with the changes.
    pub(crate) fn commit(
        &mut self,
        commit: &Commit,
        ledger: &mut Ledger,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let stored: Vec<_> = self.stored.iter().cloned().collect();
        let answered: Vec<_> = self.acknowledged.iter().cloned().collect();
        let changes = UploadChanges {
            answered: &answered,
            stored: &stored,
        };
        ledger.commit_with_uploads(commit, changes, now)?;
        *self = Self::default();
        Ok(())
    }
}
