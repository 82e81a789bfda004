//! Runs roles: one by its own command, all configured ones by `run`, and a single pass for cron.
//!
//! How roles start, stop, and restart after a reload can be changed here alone. The work of a role is in its own crate.

pub(crate) mod oneshot;
pub(crate) mod role;
mod sender_role;
pub(crate) mod signals;
mod supervisor;

use std::path::Path;

use anyhow::Context;
use tokio::runtime::Runtime;

use self::role::Role;
use self::signals::Signals;
use self::supervisor::{RoleSelection, Supervisor};
use crate::output::exit::{CommandOutcome, Result};

/// Runs one role until a signal stops it.
pub(crate) fn run_one(file: &Path, role: Role) -> Result {
    run(file, RoleSelection::One(role))
}

/// Runs every configured role until a signal stops them.
pub(crate) fn run_all(file: &Path) -> Result {
    run(file, RoleSelection::Configured)
}

fn run(file: &Path, selection: RoleSelection) -> Result {
    // Dropped after the runtime, so that its deadline covers what the runtime still has to end.
    let mut supervisor = Supervisor::new(file, selection, Role::future)?;
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        supervisor.run(&mut signals).await
    })?;
    Ok(CommandOutcome::Fine)
}
