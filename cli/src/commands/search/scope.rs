//! What is searched: the store up to the indexer's position, and the lines of the spool behind it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use logferry_config::{Config, FormatsByLog};
use logferry_durable::RealDisk;
use logferry_fields::Format;
use logferry_ledger::{Batch, BatchFilter, Ledger};
use logferry_numbers::{IndexError, IndexReader, IndexState};
use logferry_protocol::names::{LogName, SourceId};
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
}

impl SearchScope {
    /// Opens them. First the index, then the ledger: what the ledger has more is read from the spool.
    pub(super) fn open(file: &Path, config: &Config, options: &SearchArgs) -> Result<Self> {
        let store_dir = config.indexer.as_ref().map(|indexer| indexer.store_dir.clone());
        if let Some(store_dir) = store_dir.as_deref().filter(|folder| folder.exists()) {
            owner::act_as_owner(&[store_dir])?;
        }
        let data_dir = configuration::data_dir(file, config)?;
        let (state, mut notes) = index_state(file, store_dir.as_deref())?;
        let ledger = Ledger::open(&data_dir)?;
        configuration::require_source(config, &ledger, options.source.as_ref())?;
        configuration::require_group(config, &ledger, options.group.as_ref())?;
        let position = state.store_position.as_deref().map(str::parse::<StorePosition>);
        // One statement: a batch that changes its state meanwhile is there once.
        let mut batches = ledger.batches(&filter_of(options))?;
        batches.retain(|batch| options.group.as_ref().is_none_or(|group| *group == batch.group));
        notes.extend(name_logs(&ledger, &mut batches, options.log.as_ref())?);
        batches.retain(|batch| batch.expired_at.is_none());
        let unindexed = batches.into_iter().filter_map(|batch| unread(batch, &state));
        Ok(Self {
            searcher: Searcher::new(RealDisk, &store_dir.unwrap_or_default(), position.transpose()?),
            spool: Spool::new(RealDisk, &data_dir),
            unindexed: unindexed.collect(),
            formats: config.formats.clone(),
            notes,
        })
    }

    /// What people should know before they see hits, a sentence each.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
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

/// How far the indexer has come, and the reason if there is no index.
fn index_state(file: &Path, store_dir: Option<&Path>) -> Result<(IndexState, Vec<String>)> {
    let Some(store_dir) = store_dir else {
        let note = format!(
            "{} has no indexer section: only what the spool still has is searched, which takes longer",
            file.display()
        );
        return Ok((IndexState::default(), vec![note]));
    };
    match IndexReader::open(store_dir).and_then(|index| index.state()) {
        Ok(state) => Ok((state, Vec::new())),
        Err(IndexError::Missing { path }) => {
            let note = format!(
                "{} does not exist, so the indexer has never run: only what the spool still has is searched, which takes longer",
                path.display()
            );
            Ok((IndexState::default(), vec![note]))
        }
        Err(error) => Err(anyhow!(error).into()),
    }
}

/// Sets the log of the batches whose name does not tell it, if their source has only one, as the indexer does. Returns a note
/// for each source whose lines of `wanted` cannot be told from those of its other logs.
fn name_logs(ledger: &Ledger, batches: &mut [Batch], wanted: Option<&LogName>) -> Result<BTreeSet<String>> {
    let mut known: BTreeMap<SourceId, Vec<LogName>> = BTreeMap::new();
    let mut notes = BTreeSet::new();
    for batch in batches.iter_mut().filter(|batch| batch.log.is_none()) {
        let logs = match known.entry(batch.source.clone()) {
            Entry::Occupied(logs) => logs.into_mut(),
            Entry::Vacant(room) => room.insert(ledger.logs_of(&batch.source)?),
        };
        if let [only] = logs.as_slice() {
            batch.log = Some(only.clone());
        } else if let Some(log) = wanted.filter(|wanted| logs.contains(wanted)) {
            notes.insert(format!(
                "{} has {} logs, and the names of its batches do not tell them apart, so --log {log} misses lines of them; \
                 search without --log, and put {{log}} into relay.batch.name for the lines to come",
                batch.source,
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

/// The batch, if the index does not have all of it.
fn unread(batch: Batch, state: &IndexState) -> Option<UnindexedBatch> {
    let indexed = state.batches.get(&batch.name()).map_or(0, |read| read.bytes);
    (indexed < batch.contents.bytes).then_some(UnindexedBatch { batch, indexed })
}
