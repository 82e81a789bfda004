//! A real sshd, a spool with a ledger, and a forwarder between them.

mod spool;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logferry_config::{
    Backoff, DeliveryFilter, DeliveryRetry, Destination, ForwarderSettings, HostKeyPolicy, Login, Publishing,
    RemoteLayout,
};
use logferry_forwarder::ForwarderError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use logferry_test_servers::{
    ACCOUNT, ACCOUNT_ID, Direction, PASSWORD, PasswordAge, Sshd, cutting_proxy, keygen, limiting_proxy,
};
pub(crate) use spool::Spool;

/// How long a condition may take to come true; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_mins(1);

/// A destination at `sshd`: its folder, and quick retries.
pub(crate) fn destination(name: &str, sshd: &Sshd) -> Destination {
    let login = Login::Key {
        file: sshd.client_key(),
        passphrase: None,
    };
    Destination {
        user: sshd.user.clone(),
        directory: sshd.drop_dir().to_str().unwrap().to_owned(),
        ..destination_on_port(name, sshd.port, login, sshd.known_hosts())
    }
}

/// A destination on a port of this machine: the user `ferry`, the folder `/`, and quick retries.
pub(crate) fn destination_on_port(name: &str, port: u16, login: Login, known_hosts: PathBuf) -> Destination {
    Destination {
        name: name.parse().unwrap(),
        filter: DeliveryFilter::default(),
        host: "127.0.0.1".to_owned(),
        port,
        user: "ferry".to_owned(),
        directory: "/".to_owned(),
        layout: RemoteLayout::default(),
        login,
        host_key: HostKeyPolicy::KnownHosts(known_hosts),
        sessions: 4,
        temp_suffix: ".part".to_owned(),
        publish: Publishing::default(),
        retry: DeliveryRetry {
            attempts: 3,
            backoff: Backoff {
                initial: Duration::from_millis(10),
                max: Duration::from_millis(50),
            },
        },
        failed_every: Duration::from_hours(1),
        stall_after: Duration::from_secs(30),
        window_manifest: None,
        bandwidth: None,
    }
}

/// A destination as the configuration with these settings has it; of use for what it says of wants and names.
pub(crate) fn configured(settings: &str) -> Destination {
    let text =
        format!("forwarder: {{destinations: [{{name: d, host: h, user: u, password: p, {settings}}}]}}");
    let config = logferry_config::parse(&text, "c.yaml".as_ref(), &|_| None).unwrap();
    config.forwarder.unwrap().destinations.remove(0)
}

/// A forwarder at work in this process.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ForwarderError>>,
}

impl Running {
    /// Starts one that looks by itself only once an hour, unless a retry is due: it must be told.
    pub(crate) fn start(data_dir: &Path, destinations: Vec<Destination>) -> Self {
        let config = ForwarderSettings {
            data_dir: data_dir.to_owned(),
            interval: Duration::from_hours(1),
            destinations,
            console_dir: None,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(logferry_forwarder::run(config, stop.clone()));
        Self { stop, task }
    }

    /// Stops it, and has it end well.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The names in a folder, sorted.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
