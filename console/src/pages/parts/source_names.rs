//! The names that filters offer.

use std::collections::BTreeSet;

use crate::answer::problem::Problem;
use crate::app::state::AppState;

/// All sources, and all groups.
pub(crate) async fn read(state: &AppState) -> Result<(Vec<String>, Vec<String>), Problem> {
    let known = state.host.ledger(logferry_ledger::Ledger::sources).await?;
    let configured = state.settings.shared.host.groups.iter().map(ToString::to_string);
    let groups: BTreeSet<_> = known
        .iter()
        .map(|it| it.group.to_string())
        .chain(configured)
        .collect();
    let sources = known.iter().map(|it| it.source.to_string()).collect();
    Ok((sources, groups.into_iter().collect()))
}
