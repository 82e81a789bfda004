//! The present state of the pipeline, as `logferry status` tells it.

use jiff::Timestamp;
use logferry_durable::disk_space;
use logferry_inspection::status::{StatusReport, StatusScope, WatchedRole, read};

use super::{RelayHost, blocking};
use crate::server::problem::Problem;
use crate::server::state::AppState;

impl RelayHost {
    /// Reads it.
    pub(crate) async fn status(&self, state: &AppState, now: Timestamp) -> Result<StatusReport, Problem> {
        let (host, state) = (self.clone(), state.clone());
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
            let disk = disk_space(host.data_dir())?;
            Ok(host.0.ledgers.with(|ledger| read(ledger, disk, &scope, now))?)
        })
        .await
    }
}
