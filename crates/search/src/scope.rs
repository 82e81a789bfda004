//! What is searched: the store up to the indexer's position, and the lines of the spool behind it.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use logferry_config::FormatsByLog;
use logferry_durable::RealDisk;
use logferry_fields::Format;
use logferry_ledger::{Batch, BatchFilter, Ledger, SourceLogs};
use logferry_numbers::{FILE_NAME, IndexError, IndexGap, IndexMoment, IndexReader};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_spool::Spool;
use logferry_store::{
    PositionError, Query, SearchEnd, SearchObserver, SearchPage, Searcher, SpoolLines, UnindexedBatch,
};

use crate::error::SearchError;

/// Where lines are on this host.
#[derive(Debug, Clone, Copy)]
pub struct SearchedHost<'a> {
    /// The ledger of `data_dir`; reading is enough.
    pub ledger: &'a Ledger,
    /// Folder of the spool.
    pub data_dir: &'a Path,
    /// The indexer's folder; `None`: the configuration has no indexer.
    pub store_dir: Option<&'a Path>,
    /// The formats of logs.
    pub formats: &'a FormatsByLog,
    /// The name of the configuration, for people.
    pub configuration: &'a str,
}

/// The batches whose lines are searched. The query has the same conditions; these spare the search of others.
#[derive(Debug, Clone, Default)]
pub struct LineSelection {
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only of this group.
    pub group: Option<GroupName>,
    /// Only of this log.
    pub log: Option<LogName>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
}

/// Store and spool, as they were when the search began.
#[derive(Debug)]
pub struct SearchScope {
    searcher: Searcher<RealDisk>,
    spool: Spool<RealDisk>,
    unindexed: Vec<UnindexedBatch>,
    formats: FormatsByLog,
    notes: Vec<String>,
    gaps: Vec<IndexGap>,
}

impl SearchScope {
    /// Opens them. First the index, then the ledger: what the ledger has more is read from the spool.
    pub fn open(host: SearchedHost<'_>, selection: &LineSelection) -> Result<Self, SearchError> {
        let (index, mut notes) = index(host.configuration, host.store_dir)?;
        let moment = index.as_ref().map(IndexReader::moment).transpose()?;
        let (mut position, mut gaps) = (None, Vec::new());
        let store_dir = host.store_dir.unwrap_or(Path::new(""));
        if let Some(moment) = &moment {
            let recorded = moment.store_position().map(str::parse).transpose();
            position = recorded
                .map_err(|error: PositionError| IndexError::damaged(store_dir.join(FILE_NAME), &error))?;
            gaps = moment.gaps(selection.since.map_or(i64::MIN, Timestamp::as_second))?;
            gaps.retain(|gap| may_miss(gap, selection));
        }
        let ledger = host.ledger;
        let mut without_log = BTreeSet::new();
        let mut logs = SourceLogs::default();
        let unindexed = unindexed(ledger, moment.as_ref(), selection, &mut logs, &mut without_log)?;
        notes.extend(notes_of_logs(
            ledger,
            &mut logs,
            &without_log,
            selection.log.as_ref(),
        )?);
        Ok(Self {
            searcher: Searcher::new(RealDisk, store_dir, position),
            spool: Spool::new(RealDisk, host.data_dir),
            unindexed,
            formats: host.formats.clone(),
            notes,
            gaps,
        })
    }

    /// What people should know before they see hits, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Bytes that were gone before they were indexed, of what is searched for.
    pub fn gaps(&self) -> &[IndexGap] {
        &self.gaps
    }

    /// Searches one page.
    pub fn search(
        &self,
        query: &Query,
        page: &SearchPage,
        observer: &mut dyn SearchObserver,
    ) -> Result<SearchEnd, SearchError> {
        let spool = SpoolLines {
            spool: &self.spool,
            batches: self.unindexed.clone(),
            format_of: &|log| log.map_or_else(Format::default, |log| self.formats.of(log).clone()),
        };
        Ok(self.searcher.search(query, page, Some(&spool), observer)?)
    }
}

/// The index; if there is none, the reason for people.
fn index(
    configuration: &str,
    store_dir: Option<&Path>,
) -> Result<(Option<IndexReader>, Vec<String>), SearchError> {
    let why = match store_dir.map(IndexReader::open) {
        Some(Ok(index)) => return Ok((Some(index), Vec::new())),
        None => format!("{configuration} has no indexer section"),
        Some(Err(IndexError::Missing { path })) => {
            format!("{} does not exist, so the indexer has never run", path.display())
        }
        Some(Err(error)) => return Err(error.into()),
    };
    let note = format!("{why}: only what the spool still has is searched, which takes longer");
    Ok((None, vec![note]))
}

/// Whether lines that are searched for may have been in these bytes.
fn may_miss(gap: &IndexGap, selection: &LineSelection) -> bool {
    let is_of = |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted == name);
    selection
        .until
        .is_none_or(|until| gap.window_start < until.as_second())
        && is_of(selection.source.as_ref().map(SourceId::as_str), &gap.source)
        && is_of(selection.group.as_ref().map(GroupName::as_str), &gap.group)
}

/// A note for each source whose lines of the wanted log cannot be told from those of its other logs.
fn notes_of_logs(
    ledger: &Ledger,
    logs: &mut SourceLogs,
    sources: &BTreeSet<SourceId>,
    wanted: Option<&LogName>,
) -> Result<Vec<String>, SearchError> {
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

/// The batches whose lines are not all in the store. `without_log`: gets the sources of those whose names do not tell the log.
fn unindexed(
    ledger: &Ledger,
    moment: Option<&IndexMoment<'_>>,
    selection: &LineSelection,
    logs: &mut SourceLogs,
    without_log: &mut BTreeSet<SourceId>,
) -> Result<Vec<UnindexedBatch>, SearchError> {
    let indexed = |batch: &Batch| -> Result<u64, IndexError> {
        let place = moment.map(|moment| moment.place(&batch.name()));
        Ok(place.transpose()?.flatten().map_or(0, |place| place.bytes))
    };
    // The places of the batches that are listed.
    let (mut places, mut failed) = (Vec::new(), None);
    // One statement: a batch that changes its state meanwhile is there once.
    let batches = ledger.spooled_batches(&filter_of(selection), |batch| {
        if selection
            .group
            .as_ref()
            .is_some_and(|group| *group != batch.group)
        {
            return false;
        }
        if batch.log.is_none() {
            without_log.insert(batch.source.clone());
        }
        match indexed(batch) {
            Ok(indexed) if indexed < batch.contents.bytes => places.push(indexed),
            Ok(_) => return false,
            Err(error) => {
                failed = Some(error);
                return false;
            }
        }
        true
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let with_place = |(mut batch, indexed): (Batch, u64)| {
        batch.log = logs.of_batch(ledger, &batch)?;
        Ok(UnindexedBatch { batch, indexed })
    };
    batches.into_iter().zip(places).map(with_place).collect()
}

fn filter_of(selection: &LineSelection) -> BatchFilter {
    // The ledger compares whole seconds.
    let after = |until: Timestamp| until.checked_add(SignedDuration::from_secs(1)).unwrap_or(until);
    BatchFilter {
        source: selection.source.clone(),
        since: selection.since,
        until: selection.until.map(after),
    }
}
