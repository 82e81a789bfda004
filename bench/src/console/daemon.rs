//! A console over the data of a relay.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::measurement::process::Daemon;

/// How long it may take until its port accepts connections.
const START_WAIT_MAX: Duration = Duration::from_secs(30);

/// The console's unit has it.
const NICENESS: &str = "5";

/// Starts a console without a login, with its state in `folder`, and waits until it listens.
pub(super) fn start(
    binary: &Path,
    folder: &Path,
    data: &Path,
    store: &Path,
) -> anyhow::Result<(Daemon, SocketAddr)> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let (key, state) = (folder.join("key"), folder.join("console"));
    let config = format!(
        "forwarder:\n  data_dir: \"{data}\"\n  destinations: [{{name: edw, host: 127.0.0.1, user: bench, directory: /drop, \
         key_file: \"{key}\", known_hosts: \"{key}\"}}]\n\
         console:\n  listen: \"{address}\"\n  data_dir: \"{data}\"\n  store_dir: \"{}\"\n  state_dir: \"{}\"\n  open: true\n",
        store.display(),
        state.display(),
        data = data.display(),
        key = key.display(),
    );
    let mut command = Command::new("nice");
    command.args(["-n", NICENESS]).arg(binary);
    let mut daemon = Daemon::start_by(command, "console", &config, folder)?;
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        daemon.check()?;
        ensure!(
            started.elapsed() < START_WAIT_MAX,
            "the console does not listen on {address}"
        );
        thread::sleep(Duration::from_millis(5));
    }
    Ok((daemon, address))
}
