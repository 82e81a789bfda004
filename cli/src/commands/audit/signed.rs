//! `logferry audit --record`: the signed record of one window, as a file. `--check`: whether a page or such a file is as it was
//! signed, also on another host.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use logferry_config::{ConfigError, ConfigProblem};
use logferry_durable::{Disk, RealDisk};
use logferry_inspection::sign_off::{ProofFault, ProvenWindow, PublicKey, WindowProof, check_page};
use logferry_ledger::{BatchFilter, Ledger, SignedRecord};
use logferry_text::{count, count_of};

use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::output::result_file::ResultFile;
use crate::roles::role::Role;

/// Writes the records of the window that the filter selects.
pub(super) fn write_record(to: ResultFile, data_dir: &Path, filter: &BatchFilter) -> Result {
    let ledger = Ledger::open(data_dir)?;
    let (proof, is_forgotten) = ledger.at_one_moment(|ledger| {
        let records = ledger.window_records(filter)?.into_iter();
        let records: Vec<_> = records.filter(|record| is_of(record, filter)).collect();
        let mut is_forgotten = false;
        let with_rows = |record: SignedRecord| {
            let rows = ledger.covered_batches(&record.covers)?;
            is_forgotten |=
                ledger.is_forgotten((record.covers.window_start, record.covers.window_seconds))?;
            Ok::<_, anyhow::Error>((record, rows))
        };
        let records: Vec<_> = records
            .into_iter()
            .map(with_rows)
            .collect::<anyhow::Result<_>>()?;
        let proof = (!records.is_empty()).then(|| WindowProof::new(records));
        anyhow::Ok((proof, is_forgotten))
    })?;
    let Some(proof) = proof else {
        return Err(Failure::Work(anyhow!(
            "this window is not signed; the monitor signs a window ten minutes after it is over, when all of it is delivered"
        )));
    };
    let text = proof.to_text();
    // What is told of it is what the file says, not what the ledger does.
    let proven = match WindowProof::check(text.as_bytes()) {
        Err(ProofFault::Rows) if is_forgotten => {
            return Err(Failure::Work(anyhow!(
                "the rows of this window were deleted for their age (housekeeper.keep_ledger), so no record with them can be \
                 written; its sums and its signature stay, and `logferry audit --window` with the same time compares them"
            )));
        }
        checked => checked.context(
            "the ledger's record of this window is not as it was signed; `logferry audit` tells more",
        )?,
    };
    let wrote = format!(
        "wrote {}: {}, signed by key {}\n",
        to.path().display(),
        contents(&proven),
        proven.key
    );
    to.write(text.as_bytes())?;
    console::print(&wrote)?;
    Ok(CommandOutcome::Fine)
}

fn is_of(record: &SignedRecord, filter: &BatchFilter) -> bool {
    let start = record.covers.window_start;
    let end = start.saturating_add(i64::from(record.covers.window_seconds));
    filter.since.is_none_or(|since| end > since.as_second())
        && filter.until.is_none_or(|until| start < until.as_second())
}

/// `window … to …, 3 batches with 1,234 lines and 99 bytes`
fn contents(window: &ProvenWindow) -> String {
    let time =
        |second| Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string());
    let end = window.start.saturating_add(i64::from(window.seconds));
    format!(
        "window {} to {}, batches: {}, with {} and {}, signed at {}",
        time(window.start),
        time(end),
        count(window.batches),
        count_of(window.lines, "line"),
        count_of(window.bytes, "byte"),
        window.signed_at
    )
}

/// Says whether a page or the file of a record is genuine. The key is compared with that of `key_file`, or else with this host's.
/// Without any key to compare with, it is said by whose key the file is unchanged: that may be anybody's.
pub(super) fn check(config: &Path, file: &Path, key_file: Option<&Path>) -> Result {
    let name = file.display();
    // Read before the key of this host: for that, root takes the rights of the data folder's owner, who may not read the page.
    let text = RealDisk.read(file).map_err(anyhow::Error::from)?;
    let text = text.ok_or_else(|| anyhow!("there is no file {name}"))?;
    let checked = if WindowProof::is_meant(&text) {
        let proven = WindowProof::check(&text).map_err(|fault| fault.to_string());
        proven.map(|proven| (proven.key, format!("\nit says: {}", contents(&proven))))
    } else {
        let signature = check_page(&text).map_err(|fault| fault.to_string());
        signature.map(|signature| (signature.key, String::new()))
    };
    let (key, said) = match checked {
        Ok(checked) => checked,
        Err(fault) => {
            console::print(&format!("{name} is NOT genuine: {fault}\n"))?;
            return Ok(CommandOutcome::fine_if(false));
        }
    };
    let expected = expected_key(config, &format!("cannot compare the key of {name}"), key_file)?;
    let (whose, owner) = match key_file {
        Some(file) => (
            file.display().to_string(),
            format!("the key in {}", file.display()),
        ),
        None => ("this host".to_owned(), "this host's key".to_owned()),
    };
    let (is_genuine, told) = match expected {
        Some(expected) if expected == key => (true, format!("genuine: signed by {owner}")),
        Some(expected) => (
            false,
            format!(
                "NOT of {whose}: it is unchanged, but signed by key {key}, and the key expected is {expected}"
            ),
        ),
        None => (
            true,
            format!(
                "unchanged since key {key} signed it. Whose key that is, is not known: this host has none to compare it with. \
                 Compare it with audit.pub of the relay host that it is about, or give that file by --key"
            ),
        ),
    };
    console::print(&format!("{name} is {told}{said}\n"))?;
    Ok(CommandOutcome::fine_if(is_genuine))
}

/// The key to compare with. `failed`: what cannot be done without it.
fn expected_key(config: &Path, failed: &str, key_file: Option<&Path>) -> Result<Option<PublicKey>> {
    let Some(file) = key_file else {
        let advice = format!("{failed} with this host's, which cannot be read (--key names another one)");
        return host_key(config).map_err(|failure| failure.context(advice));
    };
    let text = RealDisk.read(file).map_err(anyhow::Error::from)?;
    let key = text.as_deref().and_then(PublicKey::of_text);
    let key = key.ok_or_else(|| {
        Failure::Configuration(anyhow!(
            "{} is no public key: one line of 64 hexadecimal digits is expected, as in audit.pub",
            file.display()
        ))
    })?;
    Ok(Some(key))
}

/// The key of the relay host that the configuration is of; `None` if there is no configuration, no such host in it, or no key yet.
/// What is there and cannot be read is an error: a page of another key must not pass for want of it. Each role is read by itself:
/// what a sender's section lacks here says nothing about the key.
fn host_key(config: &Path) -> Result<Option<PublicKey>> {
    let is_elsewhere = |problem: &ConfigProblem| {
        ["sender.", "collector."]
            .iter()
            .any(|role| problem.key.starts_with(role))
    };
    let on_relay_host = |role: &Role| !matches!(role, Role::Sender | Role::Collector);
    for role in Role::ALL.into_iter().filter(on_relay_host) {
        let loaded = match logferry_config::load_for(config, role.name()) {
            Err(ConfigError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(ConfigError::Invalid { problems, .. }) if problems.iter().all(is_elsewhere) => continue,
            loaded => loaded.map_err(configuration::failure)?,
        };
        if loaded.data_dirs().next().is_some() {
            let data_dir = configuration::data_dir(config, &loaded)?;
            return Ok(PublicKey::read(&data_dir)?);
        }
    }
    Ok(None)
}
