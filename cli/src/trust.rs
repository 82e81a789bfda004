//! `logferry trust`: shows a destination's host key and, after a yes, keeps it.

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::{Context, anyhow};
use logferry_config::{Destination, HostKeyPolicy};
use logferry_forwarder::{HostKeyScan, HostKeyStatus};
use logferry_protocol::names::DestinationName;

use crate::args::Trust;
use crate::configuration;
use crate::exit::{self, Failure, Outcome, Result};
use crate::roles::{self, Role};

/// Shows the key. Wrong if it is neither trusted nor kept then.
pub(crate) fn run(file: &Path, options: &Trust) -> Result {
    let config = configuration::load(file)?;
    let forwarder = config
        .forwarder
        .ok_or_else(|| roles::missing(file, Role::Forwarder))?;
    let destination = named(&forwarder.destinations, &options.destination)?;
    let shown = HostKeyScan::run(destination).map_err(|error| anyhow!("{}", error.explanation()))?;
    exit::print(&description(destination, &shown))?;
    match &destination.host_key {
        HostKeyPolicy::Fingerprint(_) => Ok(match shown.status {
            HostKeyStatus::Trusted => Outcome::Fine,
            _ => Outcome::Wrong,
        }),
        HostKeyPolicy::KnownHosts(path) => keep(destination, &shown, path, options.yes),
    }
}

fn named<'a>(destinations: &'a [Destination], name: &DestinationName) -> Result<&'a Destination> {
    let found = destinations.iter().find(|destination| destination.name == *name);
    found.ok_or_else(|| {
        let names: Vec<_> = destinations.iter().map(|it| it.name.as_str()).collect();
        Failure::configuration(anyhow!(
            "there is no destination {name}; the configuration has {}",
            names.join(", ")
        ))
    })
}

fn description(destination: &Destination, shown: &HostKeyScan) -> String {
    let Destination { name, host, port, .. } = destination;
    let (key_type, fingerprint) = (shown.key_type(), shown.fingerprint());
    let known = match (&shown.status, &destination.host_key) {
        (HostKeyStatus::Trusted, HostKeyPolicy::Fingerprint(_)) => {
            "that is the key of `host_key`\n".to_owned()
        }
        (HostKeyStatus::Trusted, HostKeyPolicy::KnownHosts(path)) => {
            format!("that key is trusted already, by {}\n", path.display())
        }
        (HostKeyStatus::New, _) => "no key of this host is known yet\n".to_owned(),
        (HostKeyStatus::Changed { staying, replaced }, _) => {
            let replaced = replaced.iter().map(|key| ("known, would be replaced", key));
            let staying = staying.iter().map(|key| ("known, would stay", key));
            let mut text = String::from(
                "THE KEY IS ANOTHER than the known one: it was replaced, or somebody stands between\n",
            );
            for (what, key) in replaced.chain(staying) {
                text = text + what + ": " + key + "\n";
            }
            text
        }
        (HostKeyStatus::Revoked, _) => "that key is marked as revoked: it is not to be trusted\n".to_owned(),
        (HostKeyStatus::NotConfigured { configured }, _) => format!(
            "`host_key` is {configured}; if the destination's operator confirms the key above, write in the \
             configuration:\n      host_key: \"{fingerprint}\"\n"
        ),
    };
    format!("{name}: {host} port {port} shows {key_type} {fingerprint}\n{known}")
}

/// Asks, and keeps the key.
fn keep(destination: &Destination, shown: &HostKeyScan, path: &Path, yes: bool) -> Result {
    match shown.status {
        HostKeyStatus::Trusted => return Ok(Outcome::Fine),
        HostKeyStatus::Revoked | HostKeyStatus::NotConfigured { .. } => return Ok(Outcome::Wrong),
        HostKeyStatus::New | HostKeyStatus::Changed { .. } => {}
    }
    if !yes && !is_confirmed()? {
        exit::print("not stored\n")?;
        return Ok(Outcome::Wrong);
    }
    shown.store(destination, path)?;
    exit::print(&format!("stored in {}\n", path.display()))?;
    Ok(Outcome::Fine)
}

/// Asks whoever sits there. Where nobody does, the answer is no.
fn is_confirmed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        exit::print("there is no terminal to ask at; compare the fingerprint, then give --yes\n")?;
        return Ok(false);
    }
    exit::print("Is that the fingerprint that the destination's operator gave you? Store it? [y/N] ")?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(&*answer.trim().to_ascii_lowercase(), "y" | "yes"))
}
