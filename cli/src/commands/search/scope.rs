//! What is searched: the store up to the indexer's position, and the lines of the spool behind it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use logferry_config::{Config, FormatsByLog};
use logferry_durable::RealDisk;
use logferry_fields::Format;
use logferry_ledger::{Batch, BatchFilter, Ledger, SourceLogs};
use logferry_numbers::{IndexError, IndexGap, IndexReader, IndexState};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_spool::Spool;
use logferry_store::{
    Query, SearchEnd, SearchObserver, SearchPage, Searcher, SpoolLines, StorePosition, UnindexedBatch,
};

use crate::args::SearchArgs;
use crate::configuration;
use crate::output::exit::Result;
use crate::owner;

/// Store and spool, as they were when the search began.
pub(super) struct SearchScope {
    searcher: Searcher<RealDisk>,
    spool: Spool<RealDisk>,
    unindexed: Vec<UnindexedBatch>,
    formats: FormatsByLog,
    notes: Vec<String>,
    gaps: Vec<IndexGap>,
}

impl SearchScope {
    /// Opens them. First the index, then the ledger: what the ledger has more is read from the spool.
    pub(super) fn open(file: &Path, config: &Config, options: &SearchArgs) -> Result<Self> {
        let store_dir = config.indexer.as_ref().map(|indexer| indexer.store_dir.clone());
        // As root first the owner of the ledger, who may write to it, as SQLite wants; of the index reading is enough.
        let data_dir = configuration::data_dir(file, config)?;
        if let Some(store_dir) = store_dir.as_deref().filter(|folder| folder.exists()) {
            owner::act_as_owner(&[store_dir])?;
        }
        let (index, mut notes) = index(file, store_dir.as_deref())?;
        let (mut state, mut gaps) = (IndexState::default(), Vec::new());
        let mut indexed_logs = Vec::new();
        if let Some(index) = index {
            indexed_logs = index.logs().map_err(|error| anyhow!(error))?;
            state = index.state().map_err(|error| anyhow!(error))?;
            let since = options.since.map_or(i64::MIN, Timestamp::as_second);
            gaps = index.gaps(since).map_err(|error| anyhow!(error))?;
            gaps.retain(|gap| may_miss(gap, options));
        }
        let ledger = Ledger::open(&data_dir)?;
        configuration::require_source(config, &ledger, options.source.as_ref())?;
        configuration::require_group(config, &ledger, options.group.as_ref())?;
        configuration::require_log(config, &ledger, indexed_logs, options.log.as_ref())?;
        let position = state.store_position.as_deref().map(str::parse::<StorePosition>);
        // One statement: a batch that changes its state meanwhile is there once.
        let mut without_log = BTreeSet::new();
        let batches = ledger.spooled_batches(&filter_of(options), |batch| {
            let is_wanted = options.group.as_ref().is_none_or(|group| *group == batch.group);
            if is_wanted && batch.log.is_none() {
                without_log.insert(batch.source.clone());
            }
            is_wanted && indexed(batch, &state) < batch.contents.bytes
        })?;
        let mut logs = SourceLogs::default();
        let mut unindexed = Vec::new();
        for mut batch in batches {
            batch.log = logs.of_batch(&ledger, &batch)?;
            let indexed = indexed(&batch, &state);
            unindexed.push(UnindexedBatch { batch, indexed });
        }
        notes.extend(notes_of_logs(
            &ledger,
            &mut logs,
            &without_log,
            options.log.as_ref(),
        )?);
        Ok(Self {
            searcher: Searcher::new(RealDisk, &store_dir.unwrap_or_default(), position.transpose()?),
            spool: Spool::new(RealDisk, &data_dir),
            unindexed,
            formats: config.formats.clone(),
            notes,
            gaps,
        })
    }

    /// What people should know before they see hits, a sentence each.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Bytes that were gone before they were indexed, of what is searched for.
    pub(super) fn gaps(&self) -> &[IndexGap] {
        &self.gaps
    }

    /// Searches one page.
    pub(super) fn search(
        &self,
        query: &Query,
        page: &SearchPage,
        observer: &mut dyn SearchObserver,
    ) -> Result<SearchEnd> {
        let spool = SpoolLines {
            spool: &self.spool,
            batches: self.unindexed.clone(),
            format_of: &|log| log.map_or_else(Format::default, |log| self.formats.of(log).clone()),
        };
        Ok(self.searcher.search(query, page, Some(&spool), observer)?)
    }
}

/// The index; if there is none, the reason for people.
fn index(file: &Path, store_dir: Option<&Path>) -> Result<(Option<IndexReader>, Vec<String>)> {
    let why = match store_dir.map(IndexReader::open) {
        Some(Ok(index)) => return Ok((Some(index), Vec::new())),
        None => format!("{} has no indexer section", file.display()),
        Some(Err(IndexError::Missing { path })) => {
            format!("{} does not exist, so the indexer has never run", path.display())
        }
        Some(Err(error)) => return Err(anyhow!(error).into()),
    };
    let note = format!("{why}: only what the spool still has is searched, which takes longer");
    Ok((None, vec![note]))
}

/// Whether lines that are searched for may have been in these bytes.
fn may_miss(gap: &IndexGap, options: &SearchArgs) -> bool {
    let is_of = |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted == name);
    options
        .until
        .is_none_or(|until| gap.window_start < until.as_second())
        && is_of(options.source.as_ref().map(SourceId::as_str), &gap.source)
        && is_of(options.group.as_ref().map(GroupName::as_str), &gap.group)
}

/// A note for each source whose lines of the wanted log cannot be told from those of its other logs.
fn notes_of_logs(
    ledger: &Ledger,
    logs: &mut SourceLogs,
    sources: &BTreeSet<SourceId>,
    wanted: Option<&LogName>,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for source in sources {
        let logs = logs.of_source(ledger, source)?;
        if let Some(log) = wanted.filter(|wanted| logs.len() > 1 && logs.contains(wanted)) {
            notes.push(format!(
                "{source} has {} logs, and the names of its batches do not tell them apart, so --log {log} misses lines of them; \
                 search without --log, and put {{log}} into relay.batch.name for the lines to come",
                logs.len()
            ));
        }
    }
    Ok(notes)
}

fn filter_of(options: &SearchArgs) -> BatchFilter {
    // The ledger compares whole seconds.
    let after = |until: Timestamp| until.checked_add(SignedDuration::from_secs(1)).unwrap_or(until);
    BatchFilter {
        source: options.source.clone(),
        since: options.since,
        until: options.until.map(after),
    }
}

/// The bytes of a batch that the index has.
fn indexed(batch: &Batch, state: &IndexState) -> u64 {
    state.batches.get(&batch.name()).map_or(0, |read| read.bytes)
}
