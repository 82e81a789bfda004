//! `logferry audit --html` and `--check`: a signed page to keep, and whether a page is as it was signed.

use std::path::Path;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use logferry_durable::{Disk, RealDisk};
use logferry_inspection::audit::{Audit, PageFacts, page};
use logferry_inspection::sign_off::{PublicKey, SigningKeyFile, check_page, sign_page};
use logferry_ledger::{BatchFilter, Ledger};

use crate::args::AuditArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};

/// Writes the page.
pub(super) fn write(to: &Path, audit: &Audit, data_dir: &Path, options: &AuditArgs) -> anyhow::Result<()> {
    let key = SigningKeyFile::open_or_create(data_dir)
        .context("cannot sign the page; run this as root or as the monitor's user")?;
    let ledger = Ledger::open(data_dir)?;
    let filter = options.filter();
    let facts = PageFacts {
        ledger: format!("{} {}", ledger.path().display(), ledger.id()?),
        period: period(&filter),
        covers_all_times: filter.since.is_none() && filter.until.is_none(),
        is_verified: options.depth.verify,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: Timestamp::now(),
    };
    let page = sign_page(&page(audit, &facts), &key);
    RealDisk
        .replace(to, page.as_bytes())
        .with_context(|| format!("cannot write the page to {}", to.display()))?;
    console::print(&format!(
        "wrote {}, signed by key {}\n",
        to.display(),
        key.public()
    ))?;
    Ok(())
}

fn period(filter: &BatchFilter) -> String {
    let source = filter
        .source
        .as_ref()
        .map_or_else(|| "all sources".to_owned(), |it| format!("source {it}"));
    match (filter.since, filter.until) {
        (None, None) => format!("{source}, all windows"),
        (Some(since), None) => format!("{source}, windows since {since}"),
        (None, Some(until)) => format!("{source}, windows before {until}"),
        (Some(since), Some(until)) => format!("{source}, windows from {since} to {until}"),
    }
}

/// Says whether a page is genuine. The key is compared with this host's, if this host has one.
pub(super) fn check(config: &Path, file: &Path) -> Result {
    let name = file.display();
    let text = RealDisk.read(file).map_err(anyhow::Error::from)?;
    let text = text.ok_or_else(|| anyhow!("there is no file {name}"))?;
    let signature = match check_page(&text) {
        Ok(signature) => signature,
        Err(fault) => {
            console::print(&format!("{name} is NOT genuine: {fault}\n"))?;
            return Ok(CommandOutcome::fine_if(false));
        }
    };
    let own = configuration::load(config)
        .ok()
        .and_then(|loaded| configuration::data_dir(config, &loaded).ok())
        .and_then(|data_dir| PublicKey::read(&data_dir).ok().flatten());
    let key = signature.key;
    let (is_genuine, told) = match own {
        Some(own) if own == key => (true, "genuine: signed by this host's key".to_owned()),
        Some(own) => (
            false,
            format!("NOT this host's: it is unchanged, but signed by key {key}, and the key here is {own}"),
        ),
        None => (
            true,
            format!(
                "unchanged since key {key} signed it. Compare that with audit.pub of the relay host that it is about"
            ),
        ),
    };
    console::print(&format!("{name} is {told}\n"))?;
    Ok(CommandOutcome::fine_if(is_genuine))
}
