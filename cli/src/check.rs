//! `logferry check`: is the configuration right, and with `--connect`, does everything it names answer?

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use logferry_config::Config;

use crate::args;
use crate::configuration;
use crate::exit::{self, Outcome, Result};
use crate::roles::Role;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Checks, and says what it found. A configuration that is not valid never gets here: it is a failure with its own code.
pub(crate) fn run(file: &Path, options: &args::Check) -> Result {
    let config = configuration::load(file)?;
    let roles: Vec<&str> = Role::ALL
        .into_iter()
        .filter(|role| role.is_in(&config))
        .map(Role::name)
        .collect();
    exit::print(&format!("{}: valid, for {}\n", file.display(), roles.join(", ")))?;
    for warning in &config.warnings {
        exit::print(&format!("warning: {warning}\n"))?;
    }
    let files = files(&config)?;
    let connected = if options.connect {
        connect(&config)?
    } else {
        Outcome::Fine
    };
    Ok(match files {
        Outcome::Fine => connected,
        Outcome::Wrong => Outcome::Wrong,
    })
}

/// Reads the relay's certificates and tokens as it would.
fn files(config: &Config) -> Result {
    let findings = config.relay.as_ref().map(logferry_relay::check_files);
    let findings = findings.unwrap_or_default();
    for warning in &findings.warnings {
        exit::print(&format!("warning: {warning}\n"))?;
    }
    for problem in &findings.problems {
        exit::print(&format!("{problem}\n"))?;
    }
    Ok(if findings.problems.is_empty() {
        Outcome::Fine
    } else {
        Outcome::Wrong
    })
}

/// Tries everything the configuration names, one after another; the first that does not answer does not hide the others.
fn connect(config: &Config) -> Result {
    let mut outcome = Outcome::Fine;
    let mut tell = |what: String, tried: anyhow::Result<()>| match tried {
        Ok(()) => exit::print(&format!("{what}: answers\n")),
        Err(error) => {
            outcome = Outcome::Wrong;
            exit::print(&format!("{what}: {error:#}\n"))
        }
    };
    for relay in config.sender.iter().flat_map(|sender| &sender.relay) {
        tell(format!("relay {relay}"), reach(&relay.host, relay.port))?;
    }
    for destination in config
        .forwarder
        .iter()
        .flat_map(|forwarder| &forwarder.destinations)
    {
        let tried = logferry_forwarder::check_destination(destination);
        tell(
            format!("destination {}", destination.name),
            tried.map_err(|error| anyhow::anyhow!("{}", error.explanation())),
        )?;
    }
    if let Some(monitor) = &config.monitor {
        let (host, port) = (&monitor.smtp.host, monitor.smtp.port);
        tell(format!("mail server {host}:{port}"), reach(host, port))?;
    }
    Ok(outcome)
}

/// Opens a connection to any of the host's addresses, and closes it.
fn reach(host: &str, port: u16) -> anyhow::Result<()> {
    let addresses = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("cannot find the address of {host}"))?;
    let mut outcome = Err(anyhow::anyhow!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
            Ok(_) => return Ok(()),
            Err(error) => outcome = Err(error).with_context(|| format!("cannot connect to {address}")),
        }
    }
    outcome
}
