//! The demo's roles: those of the relay host, and one sender per log host, all in this process.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use logferry_config::Config;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::roles::role::Role;

/// Time limit for the roles to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The running roles.
pub(crate) struct DemoRoles {
    roles: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl DemoRoles {
    /// Starts every role of every configuration.
    pub(crate) fn start(configs: &[Config]) -> Self {
        let (mut roles, stop) = (JoinSet::new(), CancellationToken::new());
        for mut config in configs.iter().cloned() {
            expect_no_signs_of_life(&mut config);
            for role in Role::ALL {
                role.future(&config, stop.clone()).map(|role| roles.spawn(role));
            }
        }
        Self { roles, stop }
    }

    /// Resolves if a role ends before [`Self::stop`], with the reason. Cancel safe.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        match self.roles.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(crash)) => anyhow!(crash).context("a role crashed"),
            Some(Ok(Ok(()))) | None => anyhow!("a role ended without a stop"),
        }
    }

    /// Stops every role, and waits for their ends.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let all_ended = async {
            let mut outcome = Ok(());
            while let Some(ended) = self.roles.join_next().await {
                outcome = outcome.and(ended.context("a role crashed").flatten());
            }
            outcome
        };
        match timeout(STOP_TIME_MAX, all_ended).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("a role did not stop in time"),
        }
    }
}

/// These roles give no signs of life: neither the monitor nor the console's status waits for any.
fn expect_no_signs_of_life(config: &mut Config) {
    if let Some(monitor) = &mut config.monitor {
        monitor.host.roles.clear();
    }
    if let Some(console) = &mut config.console {
        console.shared.host.roles.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nobody_waits_for_signs_of_life_of_the_demos_roles() {
        let yaml = "relay:\n  data_dir: data\n  groups:\n    - {name: web-1, listen: \"127.0.0.1:1\", sources: [127.0.0.11]}\n\
                    monitor:\n  smtp: {host: 127.0.0.1, from: a@example.com, to: [b@example.com]}\n\
                    console:\n  listen: 127.0.0.1:2\n  state_dir: console\n  open: true\n";
        let mut config = logferry_config::parse(yaml, Path::new("/"), &|_| None).expect("valid");
        let waits = |config: &Config| {
            let monitor = config.monitor.as_ref().map(|it| it.host.roles.len());
            (
                monitor,
                config.console.as_ref().map(|it| it.shared.host.roles.len()),
            )
        };
        let (monitor, console) = waits(&config);
        assert!(monitor > Some(0) && console > Some(0), "{monitor:?} {console:?}");
        expect_no_signs_of_life(&mut config);
        assert_eq!(waits(&config), (Some(0), Some(0)));
    }
}
