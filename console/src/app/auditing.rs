//! Audits, kept for half a minute: one of a day reads each of its batches, and looks for each file.

use std::sync::Arc;
use std::time::Duration;

use logferry_inspection::audit::{Audit, AuditScope, FileCheck, Listing, RowCheck, audit_ledger};
use logferry_ledger::BatchFilter;

use super::kept_read::KeptAges;
use super::state::AppState;
use crate::answer::problem::Problem;
use crate::host::blocking;

const AGES: KeptAges = KeptAges {
    fresh: Duration::from_secs(5),
    usable: Duration::from_secs(30),
};

impl AppState {
    /// An audit of these batches, at most half a minute old. `question`: what was asked, in the asker's words.
    pub(crate) async fn audit(
        &self,
        question: &str,
        filter: BatchFilter,
        listing: Listing,
    ) -> Result<Arc<Audit>, Problem> {
        let state = self.clone();
        match listing {
            // It may list millions of batches, which are not kept in memory.
            Listing::All => Ok(Arc::new(audit(state, filter, listing).await?)),
            Listing::Undelivered => {
                let read = move |_| audit(state, filter, listing);
                self.audits.of(question).get(AGES, read).await
            }
        }
    }
}

async fn audit(state: AppState, filter: BatchFilter, listing: Listing) -> Result<Audit, Problem> {
    let shared = state.clone();
    // It reads much; one at a time is enough.
    let _turn = shared.audits.turns.acquire().await;
    blocking(move || {
        let scope = AuditScope {
            subscribers: &state.settings.shared.host.destinations,
            listing,
            files: FileCheck::Presence,
            rows: RowCheck::Sample,
        };
        let data_dir = state.host.data_dir();
        state
            .host
            .with_ledger(|ledger| Ok(audit_ledger(ledger, data_dir, &filter, scope)?))
    })
    .await
}
