//! `logferry resend --index`: has the running indexer send everything that the spool has to OpenSearch again.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::{Config, IndexerSettings, OpenSearchSettings};
use logferry_ledger::{BatchFilter, Ledger};
use logferry_numbers::{IndexDb, IndexReader};
use logferry_text::{count_of, size};
use serde::Serialize;

use super::confirmed;
use crate::args::ResendArgs;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::owner;

/// What is sent again.
#[derive(Debug, Default, Serialize)]
struct IndexResend {
    server: String,
    /// Batches whose files are in the spool.
    batches: u64,
    lines: u64,
    bytes: u64,
    /// Batches that were sent once, and whose files are gone.
    gone: u64,
    /// Whether the indexer was asked.
    requested: bool,
}

/// Asks the indexer, once it is known that so much is meant.
pub(super) fn run(file: &Path, config: &Config, options: &ResendArgs) -> Result {
    let (indexer, settings) = sections(file, config)?;
    // The indexer's user reads the ledger, and only he may write to the index.
    owner::act_as_owner(&[&indexer.store_dir])?;
    let mut resent = planned(indexer, settings)?;
    if !options.dry_run {
        if !is_confirmed(options, &resent)? {
            console::print("nothing is sent again\n")?;
            return Ok(CommandOutcome::ProblemFound);
        }
        let mut db = IndexDb::open_or_create(&indexer.store_dir)?;
        db.request_resend(Timestamp::now().as_second())?;
        resent.requested = true;
    }
    console::print_result(options.json, &resent, text)?;
    Ok(CommandOutcome::Fine)
}

fn sections<'c>(file: &Path, config: &'c Config) -> Result<(&'c IndexerSettings, &'c OpenSearchSettings)> {
    let indexer = config.indexer.as_ref();
    let sections = indexer.and_then(|indexer| Some((indexer, indexer.opensearch.as_ref()?)));
    sections.ok_or_else(|| {
        let file = file.display();
        Failure::Configuration(anyhow!(
            "{file}: there is no `opensearch` in an indexer section, so nothing goes there; write it, or leave --index out"
        ))
    })
}

fn planned(indexer: &IndexerSettings, settings: &OpenSearchSettings) -> Result<IndexResend> {
    // An index of another version is refused here, before anything is written to it.
    let sent = IndexReader::open(&indexer.store_dir)?.sent_batches()?;
    let mut resent = IndexResend {
        server: settings.url.to_string(),
        gone: u64::try_from(sent.len()).unwrap_or(u64::MAX),
        ..IndexResend::default()
    };
    Ledger::open_read_only(&indexer.data_dir)?.spooled_batches(&BatchFilter::default(), |batch| {
        resent.batches += 1;
        resent.lines += batch.contents.lines;
        resent.bytes += batch.contents.bytes;
        if sent.contains_key(&batch.name()) {
            resent.gone = resent.gone.saturating_sub(1);
        }
        false
    })?;
    Ok(resent)
}

fn is_confirmed(options: &ResendArgs, resent: &IndexResend) -> Result<bool> {
    if options.all {
        return Ok(true);
    }
    let (number, lines) = (count_of(resent.batches, "batch"), count_of(resent.lines, "line"));
    let (bytes, server) = (size(resent.bytes), &resent.server);
    let question = format!(
        "Send {number} ({lines}, {bytes}) to OpenSearch at {server} again? What it has already is found, and not doubled."
    );
    confirmed(&question, || {
        format!(
            "this would send {number} ({lines}, {bytes}) to OpenSearch again; say --all, or --dry-run to see it only"
        )
    })
}

fn text(resent: &IndexResend) -> String {
    let IndexResend { server, gone, .. } = resent;
    let (number, lines) = (count_of(resent.batches, "batch"), count_of(resent.lines, "line"));
    let sentence = if resent.requested { "go to" } else { "would go to" };
    let mut text = format!(
        "{number} ({lines}, {}) {sentence} OpenSearch at {server} again\n",
        size(resent.bytes)
    );
    if *gone > 0 {
        let gone = count_of(*gone, "batch");
        let _ = writeln!(text, "gone from the spool, and so not sent again: {gone}");
    }
    text += if resent.requested {
        "the indexer does it, at once if it runs; `logferry status` shows how far it is\n"
    } else {
        "dry run: nothing was changed\n"
    };
    text
}
