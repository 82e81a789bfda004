//! `logferry trust`: shows a destination's host key and, after a confirmation, stores it.

use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use logferry_config::{Destination, HostKeyPolicy};
use logferry_forwarder::{HostKeyScan, HostKeyStatus};

use crate::args::TrustArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::roles::role::{Role, missing_section};

/// Shows the key. A problem if the key is not trusted and was not stored.
pub(crate) fn run(file: &Path, options: &TrustArgs) -> Result {
    let config = configuration::load(file)?;
    let forwarder = config
        .forwarder
        .ok_or_else(|| missing_section(file, Role::Forwarder))?;
    let (destinations, name) = (&forwarder.destinations, &options.destination);
    let found = destinations.iter().find(|destination| destination.name == *name);
    let destination = found.ok_or_else(|| {
        let names = destinations.iter().map(|destination| &destination.name);
        configuration::unknown_destination(name, names)
    })?;
    let scan = HostKeyScan::run(destination).map_err(|error| anyhow!("{}", error.explanation()))?;
    console::print(&description(destination, &scan))?;
    match &destination.host_key {
        HostKeyPolicy::Fingerprint(_) => Ok(CommandOutcome::fine_if(scan.status == HostKeyStatus::Trusted)),
        HostKeyPolicy::KnownHosts(path) => store(destination, &scan, path, options.yes),
    }
}

/// What the server shows, and how it compares with what is known.
pub(super) fn description(destination: &Destination, scan: &HostKeyScan) -> String {
    let Destination { name, host, port, .. } = destination;
    let (key_type, fingerprint) = (scan.key_type(), scan.fingerprint());
    let known = match (&scan.status, &destination.host_key) {
        (HostKeyStatus::Trusted, HostKeyPolicy::Fingerprint(_)) => {
            "this key is the configured `host_key`\n".to_owned()
        }
        (HostKeyStatus::Trusted, HostKeyPolicy::KnownHosts(path)) => {
            format!("this key is trusted already: it is in {}\n", path.display())
        }
        (HostKeyStatus::New, _) => "no key of this host is known yet\n".to_owned(),
        (HostKeyStatus::Changed { staying, replaced }, _) => {
            let replaced = replaced.iter().map(|key| ("known key, would be replaced", key));
            let staying = staying.iter().map(|key| ("known key, would stay", key));
            let mut text = String::from(
                "THE KEY IS DIFFERENT from the known one: it was replaced, or another host answers in its place\n",
            );
            for (label, key) in replaced.chain(staying) {
                let _ = writeln!(text, "{label}: {key}");
            }
            text
        }
        (HostKeyStatus::Revoked, _) => "this key is marked as revoked: it must not be trusted\n".to_owned(),
        (HostKeyStatus::NotConfigured { configured }, _) => format!(
            "`host_key` is {configured}; if the destination's operator confirms the key above, set in the \
             configuration:\n      host_key: \"{fingerprint}\"\n"
        ),
    };
    format!("{name}: {host} port {port} shows {key_type} {fingerprint}\n{known}")
}

/// Asks for confirmation, and stores the key.
fn store(destination: &Destination, scan: &HostKeyScan, path: &Path, yes: bool) -> Result {
    match scan.status {
        HostKeyStatus::Trusted => return Ok(CommandOutcome::Fine),
        HostKeyStatus::Revoked | HostKeyStatus::NotConfigured { .. } => {
            return Ok(CommandOutcome::ProblemFound);
        }
        HostKeyStatus::New | HostKeyStatus::Changed { .. } => {}
    }
    if !yes && !is_confirmed()? {
        console::print("not stored\n")?;
        return Ok(CommandOutcome::ProblemFound);
    }
    scan.store(destination, path)?;
    console::print(&format!("stored in {}\n", path.display()))?;
    Ok(CommandOutcome::Fine)
}

/// Asks at the terminal. Without a terminal the answer is no.
fn is_confirmed() -> Result<bool> {
    let answer =
        console::confirm("Did the destination's operator give you this fingerprint? Store the key?")?;
    if answer.is_none() {
        console::print(
            "stdin is no terminal, so nobody can confirm; compare the fingerprint, then use --yes\n",
        )?;
    }
    Ok(answer.unwrap_or(false))
}
