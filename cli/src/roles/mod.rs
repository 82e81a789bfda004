//! Runs roles: one by its own command, all configured ones by `run`, and a single pass for cron.
//!
//! How roles start, stop, and restart after a reload can be changed here alone. The work of a role is in its own crate.

mod file_problems;
pub(crate) mod oneshot;
pub(crate) mod role;
mod sender_role;
pub(crate) mod signals;
mod supervisor;

use std::path::Path;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use self::role::Role;
use self::signals::Signals;
use self::supervisor::{FindFileProblems, Supervisor};
use crate::output::exit::{CommandOutcome, Result};

/// Runs the only role wanted, or every configured role, until a signal stops it. `find`: what keeps a role from its files.
pub(crate) fn run(file: &Path, only: Option<Role>, find: FindFileProblems) -> Result {
    // Dropped after the runtime, so that its deadline covers what the runtime still has to end.
    let mut supervisor = Supervisor::new(file, only, Role::future, find)?;
    supervisor.act_as_owner()?;
    raise_file_limit();
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        supervisor.run(&mut signals).await
    })?;
    Ok(CommandOutcome::Fine)
}

/// Lets this process open as many files as it may. A shell's 1,024 are meant for programs that use select(2).
fn raise_file_limit() {
    // Whoever opens many files shares out what the limit is, so an error costs speed only.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
