//! `logferry search`: finds lines, newest first, in the indexer's store and in the spool.
//!
//! `scope` opens store and spool, `output` prints. What is found, and in which order, is in `crates/store`.

mod output;
mod scope;

use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_store::{Query, QueryError, SearchEnd, SearchPage};

use self::output::SearchOutput;
use self::scope::SearchScope;
use crate::args::SearchArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// Most hits of one page: it bounds the memory, whatever the limit is.
const PAGE_MAX: u64 = 10_000;

/// Searches page by page, and prints the hits and how far the search came.
pub(crate) fn run(file: &Path, options: &SearchArgs) -> Result {
    let query = query(options).map_err(Failure::configuration)?;
    let started = Instant::now();
    let config = configuration::load(file)?;
    let scope = SearchScope::open(file, &config, options)?;
    for note in scope.notes() {
        console::print_error(note);
    }
    let mut output = SearchOutput::new(&query, options, started);
    let end = search(&scope, &query, options, &mut output)?;
    output.finish(&end)?;
    for damage in &end.damage {
        console::print_error(damage);
    }
    Ok(CommandOutcome::fine_if(end.damage.is_empty()))
}

/// All pages, until the limit or the end. The counts of the last end are those of all pages.
fn search(
    scope: &SearchScope,
    query: &Query,
    options: &SearchArgs,
    output: &mut SearchOutput<'_>,
) -> Result<SearchEnd> {
    let mut page = SearchPage {
        after: options.after.clone(),
        with_fields: options.json,
        only_count: options.count,
        ..SearchPage::default()
    };
    let mut left = options.limit;
    let mut hits = 0;
    loop {
        page.limit = usize::try_from(left.min(PAGE_MAX)).unwrap_or(usize::MAX);
        let mut end = scope.search(query, &page, output)?;
        left -= end.progress.hits.min(left);
        hits += end.progress.hits;
        end.progress.hits = hits;
        if end.is_complete || left == 0 || options.count || output.has_stopped() {
            return Ok(end);
        }
        page.after.clone_from(&end.next);
    }
}

fn query(options: &SearchArgs) -> std::result::Result<Query, anyhow::Error> {
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
    let mut without =
        |word: &String| -> std::result::Result<(), QueryError> { query.add_words(&format!("-{word}")) };
    options.not.iter().try_for_each(&mut without)?;
    Ok(query)
}
