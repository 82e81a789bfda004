//! The present state of the pipeline, as `logferry status` tells it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::disk_space;
use logferry_inspection::status::{StatusReport, StatusScope, WatchedRole, read};

use super::kept_read::KeptAges;
use super::state::AppState;
use crate::answer::problem::Problem;
use crate::host::blocking;

const AGES: KeptAges = KeptAges {
    fresh: Duration::from_secs(1),
    usable: Duration::from_secs(3),
};

impl AppState {
    /// Reads it.
    pub(crate) async fn status_at(&self, now: Timestamp) -> Result<StatusReport, Problem> {
        let state = self.clone();
        blocking(move || {
            let shared = &state.settings.shared;
            let roles = shared.host.roles.iter();
            // Another user's view of the files says nothing about the role.
            let roles: Vec<_> = roles
                .map(|(name, folder)| WatchedRole {
                    name,
                    folder,
                    is_configured: true,
                    file_problems: Vec::new(),
                })
                .collect();
            let scope = StatusScope {
                expected_sources: &shared.expected_sources,
                stale_after: shared.stale_after,
                groups: &shared.host.groups,
                destinations: &shared.host.destinations,
                min_free_disk: shared.host.min_free_disk,
                roles: &roles,
            };
            state.host.with_ledger(|ledger| {
                let disk = disk_space(state.host.data_dir())?;
                Ok(read(ledger, disk, &scope, now)?)
            })
        })
        .await
    }
}

impl AppState {
    /// The present state, at most three seconds old.
    pub(crate) async fn present_status(&self) -> Result<Arc<StatusReport>, Problem> {
        let state = self.clone();
        let read = |_| async move { state.status_at(Timestamp::now()).await };
        self.status.get(AGES, read).await
    }
}
