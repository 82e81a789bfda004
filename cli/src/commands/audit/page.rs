//! `logferry audit --html`: a signed page to keep.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_inspection::audit::{Audit, PageFacts, ReadBackResult, page};
use logferry_inspection::sign_off::{SigningKeyFile, sign_page};
use logferry_ledger::{BatchFilter, Ledger};

use crate::output::console;
use crate::output::result_file::ResultFile;

/// Writes the page. `read_back`: what was read from the destinations, if that was asked for.
pub(super) fn write(
    to: ResultFile,
    audit: &Audit,
    data_dir: &Path,
    filter: BatchFilter,
    read_back: Option<ReadBackResult>,
) -> anyhow::Result<()> {
    let key = SigningKeyFile::open_or_create(data_dir)
        .context("cannot sign the page; run this as root or as the monitor's user")?;
    let ledger = Ledger::open(data_dir)?;
    let facts = PageFacts {
        ledger: format!("{} {}", ledger.path().display(), ledger.id()?),
        period: period(&filter),
        filter,
        read_back,
        key: key.public().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: Timestamp::now(),
    };
    let page = sign_page(&page(audit, &facts), &key);
    let wrote = format!("wrote {}, signed by key {}\n", to.path().display(), key.public());
    to.write(page.as_bytes())?;
    console::print(&wrote)?;
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
