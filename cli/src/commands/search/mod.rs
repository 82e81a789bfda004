//! `logferry search`: finds lines, newest first, in the indexer's store and in the spool.
//!
//! `output` prints. What is searched is in `crates/search`; what is found, and in which order, in `crates/store`.

mod output;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::Config;
use logferry_ledger::Ledger;
use logferry_numbers::IndexReader;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_search::{LineSelection, SearchPages, SearchScope, SearchedHost};
use logferry_store::{Query, SearchPage};

use self::output::SearchOutput;
use crate::args::SearchArgs;
use crate::commands::require_order;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::owner;

/// Searches page by page, and prints the hits and how far the search came.
pub(crate) fn run(file: &Path, options: &SearchArgs) -> Result {
    let query = query(options).map_err(Failure::configuration)?;
    let started = Instant::now();
    let config = configuration::load(file)?;
    require_names(file, &config, options)?;
    let mut scope = open_scope(file, &config, options)?;
    for note in scope.notes() {
        console::print_error(note);
    }
    let mut output = SearchOutput::new(&query, options, started);
    let first = SearchPage {
        after: options.after.clone(),
        with_fields: options.json,
        only_count: options.count,
        ..SearchPage::default()
    };
    let limit = if options.all { u64::MAX } else { options.limit };
    let mut pages = SearchPages::new(first, limit);
    loop {
        pages.add(scope.search(&query, pages.next(), &mut output)?);
        if pages.is_done() || options.count || output.has_stopped() {
            break;
        }
        // The indexer has removed files that belonged to the position of the page before.
        scope = open_scope(file, &config, options)?;
    }
    let end = pages.end();
    output.finish(&end, scope.gaps())?;
    for damage in &end.damage {
        console::print_error(damage);
    }
    Ok(CommandOutcome::fine_if(end.damage.is_empty()))
}

/// Refuses the name of a source, group or log that nothing has.
fn require_names(file: &Path, config: &Config, options: &SearchArgs) -> Result<()> {
    let (data_dir, store_dir) = folders(file, config)?;
    let ledger = Ledger::open(&data_dir)?;
    configuration::require_source(config, &ledger, options.source.as_ref())?;
    configuration::require_group(config, &ledger, options.group.as_ref())?;
    configuration::require_log(config, &ledger, indexed_logs(store_dir)?, options.log.as_ref())
}

/// The relay's folder and the indexer's.
fn folders<'a>(file: &Path, config: &'a Config) -> Result<(PathBuf, Option<&'a Path>)> {
    let store_dir = config.indexer.as_ref().map(|indexer| indexer.store_dir.as_path());
    // As root first the owner of the ledger, who may write to it, as SQLite wants; of the index reading is enough.
    let data_dir = configuration::data_dir(file, config)?;
    if let Some(store_dir) = store_dir.filter(|folder| folder.exists()) {
        owner::act_as_owner(&[store_dir])?;
    }
    Ok((data_dir, store_dir))
}

/// Opens store and spool, anew for each page.
fn open_scope(file: &Path, config: &Config, options: &SearchArgs) -> Result<SearchScope> {
    let (data_dir, store_dir) = folders(file, config)?;
    let ledger = Ledger::open(&data_dir)?;
    let host = SearchedHost {
        ledger: &ledger,
        data_dir: &data_dir,
        store_dir,
        formats: &config.formats,
        configuration: &file.display().to_string(),
        kept: None,
    };
    let selection = LineSelection {
        source: options.source.clone(),
        group: options.group.clone(),
        log: options.log.clone(),
        since: options.since,
        until: options.until,
    };
    Ok(SearchScope::open(host, &selection)?)
}

/// The logs that the indexer has read; none without an index.
fn indexed_logs(store_dir: Option<&Path>) -> Result<Vec<String>> {
    match store_dir.map(IndexReader::open) {
        Some(Ok(index)) => Ok(index.logs().map_err(|error| anyhow!(error))?),
        Some(Err(_)) | None => Ok(Vec::new()),
    }
}

fn query(options: &SearchArgs) -> std::result::Result<Query, anyhow::Error> {
    require_order(options.since, options.until)?;
    let mut query = Query::parse(&options.words.join(" "))?;
    let milliseconds = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    query.since_ms = milliseconds(options.since);
    query.until_ms = milliseconds(options.until);
    let source = options.source.as_ref().map(SourceId::as_str);
    let group = options.group.as_ref().map(GroupName::as_str);
    let log = options.log.as_ref().map(LogName::as_str);
    let (level, status) = (options.level.as_deref(), options.status.as_deref());
    for (name, value) in [
        ("source", source),
        ("group", group),
        ("log", log),
        ("level", level),
        ("status", status),
    ] {
        value.map_or(Ok(()), |value| query.add_field(name, value))?;
    }
    for field in &options.field {
        let (name, value) = field.split_once('=').ok_or_else(|| {
            anyhow!("`{field}` is no field with its value; write it as --field method=POST")
        })?;
        query.add_field(name, value)?;
    }
    options
        .regex
        .iter()
        .try_for_each(|pattern| query.add_pattern(pattern))?;
    options.not.iter().try_for_each(|part| query.add_without(part))?;
    Ok(query)
}
