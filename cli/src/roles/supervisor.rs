//! Runs roles in one process. After a reload it stops and restarts each role whose section changed.
//!
//! Invariants:
//! - The configuration in force is valid: a file that is not valid changes nothing.
//! - A role never changes its configuration while it runs. A restart loses nothing, since all state is on disk.
//! - A role whose section did not change keeps running through a reload.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use logferry_config::Config;
use logferry_durable::ContentDigest;
use logferry_telemetry::{Metrics, PresenceState, SIGN_INTERVAL, give_sign};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::file_problems::FileProblems;
use super::role::{Role, RoleFuture, act_as_owner, load_for};
use super::signals::{SignalRequest, Signals, StopDeadline};
use crate::output::exit::{Failure, Result};

/// A role that cannot start has ended by then.
const FIRST_SIGN: Duration = Duration::from_millis(250);

/// How often it is looked whether the roles can use their folders and keys.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Makes the future of a role; `None` if the role has no section.
pub(crate) type RoleStarter = fn(Role, &Config, CancellationToken) -> Option<RoleFuture>;

/// Finds what keeps a role from its folders and keys, one sentence each.
pub(crate) type FindFileProblems = fn(Role, &Config) -> Vec<String>;

/// Runs roles.
pub(crate) struct Supervisor<'a> {
    file: &'a Path,
    /// The only role to run, which must have a section; `None`: each role with a section.
    only: Option<Role>,
    starter: RoleStarter,
    find: FindFileProblems,
    config: Config,
    tasks: JoinSet<(Role, anyhow::Result<()>)>,
    running: BTreeMap<Role, RunningRole>,
    /// Set while all roles stop.
    stopping: Option<StopDeadline>,
}

struct RunningRole {
    stop: CancellationToken,
    since: Timestamp,
    /// Whether it gave a sign: one that is refused at once, since another process runs that role, must not.
    has_given_sign: bool,
    file_problems: FileProblems,
    /// Set while the role stops because of a reload. It restarts if it still has a section.
    restarting: Option<StopDeadline>,
}

impl<'a> Supervisor<'a> {
    /// Reads the configuration. Starts no role yet.
    pub(crate) fn new(
        file: &'a Path,
        only: Option<Role>,
        starter: RoleStarter,
        find: FindFileProblems,
    ) -> Result<Self> {
        Ok(Self {
            file,
            only,
            starter,
            find,
            config: load(file, only)?,
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            stopping: None,
        })
    }

    /// As root, takes the rights of the owner of the roles' folders. To be called before [`Self::run`].
    pub(crate) fn act_as_owner(&self) -> Result<()> {
        act_as_owner(&self.config, self.only)
    }

    /// Runs the roles until a signal or the end of one role stops them all. Returns the first error: later ones may follow
    /// from it.
    pub(crate) async fn run(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        self.note_configuration();
        for role in Role::ALL {
            self.start(role);
        }
        let mut outcome = Ok(());
        let mut signs = interval_at(Instant::now() + FIRST_SIGN, SIGN_INTERVAL);
        let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look_at_files(),
                _ = signs.tick() => self.give_signs(),
                ended = self.tasks.join_next() => match ended {
                    None => return outcome,
                    Some(Ok((role, Ok(())))) if self.is_restarting(role) => self.start(role),
                    Some(ended) => {
                        if let Ok((role, _)) = &ended {
                            Metrics::process().of_process().role_ended(role.name());
                            self.note_stop(*role);
                        }
                        let ended = ended.context("a role crashed").and_then(|(_, ended)| ended);
                        outcome = outcome.and(ended);
                        self.stop();
                    }
                },
                request = signals.next() => match request {
                    SignalRequest::Stop => self.stop(),
                    SignalRequest::Reload => self.reload(),
                },
            }
        }
    }

    fn start(&mut self, role: Role) {
        self.running.remove(&role);
        let stop = CancellationToken::new();
        if self.includes(role)
            && let Some(future) = (self.starter)(role, &self.config, stop.clone())
        {
            let mut running = RunningRole {
                stop,
                since: Timestamp::now(),
                has_given_sign: false,
                file_problems: FileProblems::default(),
                restarting: None,
            };
            // Before the role says in its own words what fails: these say what to do.
            running
                .file_problems
                .update(role, (self.find)(role, &self.config));
            Metrics::process()
                .of_process()
                .role_started(role.name(), seconds(running.since));
            self.running.insert(role, running);
            self.tasks.spawn(async move { (role, future.await) });
        }
    }

    /// Says for `status` which roles run. The folder of a role may not be there yet, or be read-only: then the next sign counts.
    fn give_signs(&mut self) {
        for (role, running) in &mut self.running {
            if let Some(folder) = role.folder(&self.config) {
                let (name, problems) = (role.name(), running.file_problems.sentences());
                let given = give_sign(folder, name, PresenceState::Running, running.since, problems);
                running.has_given_sign |= given.is_ok();
            }
        }
    }

    fn look_at_files(&mut self) {
        for (role, running) in &mut self.running {
            running
                .file_problems
                .update(*role, (self.find)(*role, &self.config));
        }
    }

    fn note_stop(&self, role: Role) {
        let has_given_sign = self
            .running
            .get(&role)
            .is_some_and(|running| running.has_given_sign);
        if let Some(folder) = role.folder(&self.config).filter(|_| has_given_sign) {
            let _ = give_sign(folder, role.name(), PresenceState::Stopped, Timestamp::now(), &[]);
        }
    }

    /// For the metrics: which configuration is in force.
    fn note_configuration(&self) {
        let digest = ContentDigest::of_files([self.file]);
        Metrics::process().of_process().set_config_hash(digest.number());
    }

    fn includes(&self, role: Role) -> bool {
        self.only.is_none_or(|only| only == role)
    }

    fn is_restarting(&self, role: Role) -> bool {
        let role = self.running.get(&role);
        self.stopping.is_none() && role.is_some_and(|role| role.restarting.is_some())
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            tracing::info!("stopping");
            self.stopping = Some(StopDeadline::start());
            self.running.values().for_each(|role| role.stop.cancel());
        }
    }

    fn reload(&mut self) {
        let file = self.file.display();
        if self.stopping.is_some() {
            return;
        }
        let new = match load(self.file, self.only) {
            Ok(new) => new,
            Err(Failure::Configuration(error) | Failure::Work(error)) => {
                // One problem a line.
                for problem in format!("{error:#}").lines() {
                    tracing::error!("{problem}");
                }
                tracing::error!(%file, "the new configuration is not valid; the old one stays in force");
                return;
            }
        };
        let old = std::mem::replace(&mut self.config, new);
        self.note_configuration();
        let is_changed = |role: &Role| self.includes(*role) && role.differs(&old, &self.config);
        let changed: Vec<Role> = Role::ALL.into_iter().filter(is_changed).collect();
        let sections: Vec<_> = changed.iter().map(|role| role.name()).collect();
        let sections = sections.join(", ");
        if changed.is_empty() {
            tracing::info!(%file, "configuration reloaded: no section of a running role changed");
            return;
        }
        tracing::info!(%file, sections, "configuration reloaded: restarting the roles whose section changed");
        for role in changed {
            match self.running.get_mut(&role) {
                Some(running) => {
                    running.restarting.get_or_insert_with(StopDeadline::start);
                    running.stop.cancel();
                }
                None => self.start(role),
            }
        }
    }
}

/// Seconds since 1970.
fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

fn load(file: &Path, only: Option<Role>) -> Result<Config> {
    let config = load_for(file, only)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::anyhow;
    use tempfile::TempDir;

    use super::*;

    const RELAY: &str = "relay:\n  data_dir: /nonexistent\n  groups: [{name: g, listen: \"127.0.0.1:1\"}]\n";
    const HOUSEKEEPER: &str = "housekeeper:\n  data_dir: /nonexistent\n  delete_after: 5h\n";

    /// Each role ends when its token is cancelled.
    fn until_stopped(role: Role, config: &Config, stop: CancellationToken) -> Option<RoleFuture> {
        let work = async move {
            stop.cancelled().await;
            Ok(())
        };
        role.is_in(config).then(|| Box::pin(work) as RoleFuture)
    }

    /// One role fails at once. Another one fails when its token is cancelled.
    fn failing(role: Role, _: &Config, stop: CancellationToken) -> Option<RoleFuture> {
        match role {
            Role::Relay => Some(Box::pin(async { Err(anyhow!("no disk")) })),
            Role::Sender => Some(Box::pin(async move {
                stop.cancelled().await;
                Err(anyhow!("later"))
            })),
            _ => None,
        }
    }

    fn write(dir: &TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("logferry.yaml");
        #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
        std::fs::write(&path, text).unwrap();
        path
    }

    fn supervisor(file: &Path, only: Option<Role>, starter: RoleStarter) -> Supervisor<'_> {
        let mut supervisor = Supervisor::new(file, only, starter, |_, _| Vec::new())
            .ok()
            .unwrap();
        for role in Role::ALL {
            supervisor.start(role);
        }
        supervisor
    }

    /// The running roles, each with whether it is being stopped.
    fn running(supervisor: &Supervisor<'_>) -> Vec<(Role, bool)> {
        let roles = supervisor.running.iter();
        let is_stopping = |(&role, running): (&Role, &RunningRole)| (role, running.stop.is_cancelled());
        roles.map(is_stopping).collect()
    }

    #[tokio::test]
    async fn failing_role_stops_the_others_and_its_error_is_returned() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir, RELAY);
        let mut supervisor = Supervisor::new(&file, None, failing, |_, _| Vec::new())
            .ok()
            .unwrap();
        let outcome = supervisor.run(&mut Signals::catch().unwrap()).await;
        assert_eq!(outcome.unwrap_err().to_string(), "no disk");
    }

    #[tokio::test]
    async fn only_roles_whose_section_changed_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir, RELAY);
        let mut supervisor = supervisor(&file, None, until_stopped);
        supervisor.reload();
        assert_eq!(
            running(&supervisor),
            [(Role::Relay, false)],
            "nothing has changed"
        );

        write(&dir, &format!("{RELAY}{HOUSEKEEPER}"));
        supervisor.reload();
        assert_eq!(
            running(&supervisor),
            [(Role::Relay, false), (Role::Housekeeper, false)]
        );

        write(&dir, &format!("{RELAY}{}", HOUSEKEEPER.replace("5h", "6h")));
        supervisor.reload();
        assert_eq!(
            running(&supervisor),
            [(Role::Relay, false), (Role::Housekeeper, true)]
        );
        assert!(supervisor.is_restarting(Role::Housekeeper) && !supervisor.is_restarting(Role::Relay));
        supervisor.stop();
        assert!(
            !supervisor.is_restarting(Role::Housekeeper),
            "a stop takes precedence over a restart"
        );
    }

    #[tokio::test]
    async fn file_that_is_invalid_or_lacks_the_role_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir, RELAY);
        let mut supervisor = supervisor(&file, Some(Role::Relay), until_stopped);
        for unusable in ["relay: {", "relay:\n  groups: 7\n", HOUSEKEEPER, ""] {
            write(&dir, unusable);
            supervisor.reload();
            assert_eq!(running(&supervisor), [(Role::Relay, false)], "{unusable}");
        }
        // The old configuration is still in force: the same file again is no change.
        write(&dir, RELAY);
        supervisor.reload();
        assert_eq!(running(&supervisor), [(Role::Relay, false)]);
    }
}
