//! `logferry audit --html`: a signed page to keep.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_durable::{Disk, RealDisk};
use logferry_inspection::audit::{Audit, PageFacts, page};
use logferry_inspection::sign_off::{SigningKeyFile, sign_page};
use logferry_ledger::{BatchFilter, Ledger};

use crate::args::AuditArgs;
use crate::output::console;

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
