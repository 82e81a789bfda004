//! Roles at work in one process: each started, stopped, and started anew when its section has changed.
//!
//! Invariants:
//! - The configuration in force is valid: a file that is not changes nothing.
//! - A role keeps one configuration for its whole life; another one means another life. Nothing is lost between the
//!   two, as whatever counts is on disk.
//! - A role whose section did not change does not notice a reload.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use logferry_config::Config;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::configuration;
use crate::exit::{Failure, Result};
use crate::roles::{Role, Work, missing};
use crate::signals::{Request, Signals, StopWatch};

/// Which roles are to run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// This one, whose section has to be there.
    One(Role),
    /// Each that has a section.
    Configured,
}

/// How a role is started, if it has a section.
pub(crate) type Start = fn(Role, &Config, CancellationToken) -> Option<Work>;

/// Runs roles.
pub(crate) struct Supervisor<'a> {
    file: &'a Path,
    which: Which,
    start: Start,
    config: Config,
    /// Each tells its name at its end.
    running: JoinSet<(Role, anyhow::Result<()>)>,
    at_work: BTreeMap<Role, AtWork>,
    /// All are to stop; they are watched until the process is gone.
    stopping: Option<StopWatch>,
}

/// A role at work.
struct AtWork {
    stop: CancellationToken,
    /// It was told to stop, to be started anew if it still has a section.
    changing: Option<StopWatch>,
}

impl<'a> Supervisor<'a> {
    /// Reads the configuration; starts nothing yet.
    pub(crate) fn new(file: &'a Path, which: Which, start: Start) -> Result<Self> {
        Ok(Self {
            file,
            which,
            start,
            config: load(file, which)?,
            running: JoinSet::new(),
            at_work: BTreeMap::new(),
            stopping: None,
        })
    }

    /// Runs the roles until a signal or the end of one of them stops them all. The first error is the cause of what
    /// comes after it, and is the one that counts.
    pub(crate) async fn run(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        for role in Role::ALL {
            self.start(role);
        }
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    None => return outcome,
                    Some(Ok((role, Ok(())))) if self.is_changing(role) => self.start(role),
                    Some(ended) => {
                        let ended = ended.context("a role crashed").and_then(|(_, ended)| ended);
                        outcome = outcome.and(ended);
                        self.stop();
                    }
                },
                request = signals.next() => match request {
                    Request::Stop => self.stop(),
                    Request::Reload => self.reload(),
                },
            }
        }
    }

    fn start(&mut self, role: Role) {
        self.at_work.remove(&role);
        let stop = CancellationToken::new();
        if self.which.includes(role)
            && let Some(work) = (self.start)(role, &self.config, stop.clone())
        {
            self.running.spawn(async move { (role, work.await) });
            self.at_work.insert(role, AtWork { stop, changing: None });
        }
    }

    fn is_changing(&self, role: Role) -> bool {
        let role = self.at_work.get(&role);
        self.stopping.is_none() && role.is_some_and(|role| role.changing.is_some())
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            tracing::info!("stopping");
            self.stopping = Some(StopWatch::start());
            self.at_work.values().for_each(|role| role.stop.cancel());
        }
    }

    fn reload(&mut self) {
        let file = self.file.display();
        if self.stopping.is_some() {
            return;
        }
        let new = match load(self.file, self.which) {
            Ok(new) => new,
            Err(Failure::Configuration(error) | Failure::CouldNot(error)) => {
                // One problem a line.
                format!("{error:#}")
                    .lines()
                    .for_each(|problem| tracing::error!("{problem}"));
                tracing::error!(%file, "the new configuration is not valid, the old one stays in force");
                return;
            }
        };
        let old = std::mem::replace(&mut self.config, new);
        let is_changed = |role: &Role| self.which.includes(*role) && role.differs(&old, &self.config);
        let changed: Vec<Role> = Role::ALL.into_iter().filter(is_changed).collect();
        let sections: Vec<_> = changed.iter().map(|role| role.name()).collect();
        let sections = sections.join(", ");
        if changed.is_empty() {
            tracing::info!(%file, "configuration read again: nothing has changed for what runs here");
            return;
        }
        tracing::info!(%file, sections, "configuration read again: starting anew what has changed");
        for role in changed {
            match self.at_work.get_mut(&role) {
                Some(at_work) => {
                    at_work.changing.get_or_insert_with(StopWatch::start);
                    at_work.stop.cancel();
                }
                None => self.start(role),
            }
        }
    }
}

impl Which {
    fn includes(self, role: Role) -> bool {
        match self {
            Self::One(one) => one == role,
            Self::Configured => true,
        }
    }
}

fn load(file: &Path, which: Which) -> Result<Config> {
    let config = configuration::load(file)?;
    if let Which::One(role) = which
        && !role.is_in(&config)
    {
        return Err(missing(file, role));
    }
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

    /// Each role ends when it is told to.
    fn obedient(role: Role, config: &Config, stop: CancellationToken) -> Option<Work> {
        let work = async move {
            stop.cancelled().await;
            Ok(())
        };
        role.is_in(config).then(|| Box::pin(work) as Work)
    }

    /// One role fails at once; another fails when it is told to stop.
    fn failing(role: Role, _: &Config, stop: CancellationToken) -> Option<Work> {
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

    fn supervisor(file: &Path, which: Which, start: Start) -> Supervisor<'_> {
        let mut supervisor = Supervisor::new(file, which, start).ok().unwrap();
        for role in Role::ALL {
            supervisor.start(role);
        }
        supervisor
    }

    /// What runs, and whether it is to be started anew.
    fn at_work(supervisor: &Supervisor<'_>) -> Vec<(Role, bool)> {
        let roles = supervisor.at_work.iter();
        roles
            .map(|(&role, at_work)| (role, at_work.stop.is_cancelled()))
            .collect()
    }

    #[tokio::test]
    async fn role_that_fails_stops_the_others_and_its_error_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir, RELAY);
        let mut supervisor = Supervisor::new(&file, Which::Configured, failing).ok().unwrap();
        let outcome = supervisor.run(&mut Signals::catch().unwrap()).await;
        assert_eq!(outcome.unwrap_err().to_string(), "no disk");
    }

    #[tokio::test]
    async fn only_roles_whose_section_changed_are_started_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir, RELAY);
        let mut supervisor = supervisor(&file, Which::Configured, obedient);
        supervisor.reload();
        assert_eq!(
            at_work(&supervisor),
            [(Role::Relay, false)],
            "nothing has changed"
        );

        write(&dir, &format!("{RELAY}{HOUSEKEEPER}"));
        supervisor.reload();
        assert_eq!(
            at_work(&supervisor),
            [(Role::Relay, false), (Role::Housekeeper, false)]
        );

        write(&dir, &format!("{RELAY}{}", HOUSEKEEPER.replace("5h", "6h")));
        supervisor.reload();
        assert_eq!(
            at_work(&supervisor),
            [(Role::Relay, false), (Role::Housekeeper, true)]
        );
        assert!(supervisor.is_changing(Role::Housekeeper) && !supervisor.is_changing(Role::Relay));
        supervisor.stop();
        assert!(
            !supervisor.is_changing(Role::Housekeeper),
            "a stop goes before a change"
        );
    }

    #[tokio::test]
    async fn file_that_is_not_valid_or_lacks_the_role_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir, RELAY);
        let mut supervisor = supervisor(&file, Which::One(Role::Relay), obedient);
        for unusable in ["relay: {", "relay:\n  groups: 7\n", HOUSEKEEPER, ""] {
            write(&dir, unusable);
            supervisor.reload();
            assert_eq!(at_work(&supervisor), [(Role::Relay, false)], "{unusable}");
        }
        // It goes on from the old one: the same file again is no change.
        write(&dir, RELAY);
        supervisor.reload();
        assert_eq!(at_work(&supervisor), [(Role::Relay, false)]);
    }
}
