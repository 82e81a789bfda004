//! What is searched: the store up to the indexer's position, and the lines of the spool behind it.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use logferry_config::FormatsByLog;
use logferry_durable::RealDisk;
use logferry_fields::Format;
use logferry_ledger::{Batch, BatchFilter, Ledger, LedgerError, SourceLogs, SpooledSize};
use logferry_numbers::{FILE_NAME, IndexError, IndexGap, IndexMoment, IndexReader};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_spool::Spool;
use logferry_store::{
    PositionError, Query, SearchEnd, SearchObserver, SearchPage, Searcher, SpoolLines, StorePosition,
    UnindexedBatch,
};

use crate::error::SearchError;
use crate::indexed_batches::IndexedBatches;

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
    /// What was kept of the searches before; `None`: the index is opened.
    pub kept: Option<KeptIndex<'a>>,
}

/// What a program that searches often keeps of the index in `store_dir`.
#[derive(Debug, Clone, Copy)]
pub struct KeptIndex<'a> {
    /// The index, open.
    pub reader: &'a IndexReader,
    /// Batches of this ledger and this index.
    pub indexed: &'a IndexedBatches,
}

/// The batches whose lines are searched. The query has the same conditions; these spare the search of others. As in a query, the
/// names are in upper or lower case.
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
        let (opened, mut notes) = match host.kept {
            Some(_) => (None, Vec::new()),
            None => index(host.configuration, host.store_dir)?,
        };
        let index = host.kept.map(|kept| kept.reader).or(opened.as_ref());
        let moment = index.map(IndexReader::moment).transpose()?;
        let (mut position, mut gaps) = (None, Vec::new());
        let store_dir = host.store_dir.unwrap_or(Path::new(""));
        if let Some(moment) = &moment {
            let recorded = moment
                .state()
                .store_position
                .as_deref()
                .map(str::parse)
                .transpose();
            position = recorded
                .map_err(|error: PositionError| IndexError::damaged(store_dir.join(FILE_NAME), &error))?;
            gaps = moment.gaps(selection.since.map_or(i64::MIN, Timestamp::as_second))?;
            gaps.retain(|gap| may_miss(gap, selection));
        }
        let ledger = host.ledger;
        let mut without_log = BTreeSet::new();
        let mut logs = SourceLogs::default();
        let indexed = IndexedParts {
            moment: moment.as_ref(),
            // The sources of batches without a log are of use for a log alone, and then all batches are looked at.
            kept: host
                .kept
                .map(|kept| kept.indexed)
                .zip(position)
                .filter(|_| selection.log.is_none()),
        };
        let unindexed = unindexed(ledger, indexed, selection, &mut logs, &mut without_log)?;
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
pub(crate) fn index(
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
    selection
        .until
        .is_none_or(|until| gap.window_start < until.as_second())
        && selection.is_of(&gap.source, &gap.group)
}

impl LineSelection {
    /// Whether lines of this source and group are searched.
    fn is_of(&self, source: &str, group: &str) -> bool {
        let is =
            |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
        is(self.source.as_ref().map(SourceId::as_str), source)
            && is(self.group.as_ref().map(GroupName::as_str), group)
    }
}

/// A note for each source whose lines of the wanted log cannot be told from those of its other logs.
pub fn notes_of_logs(
    ledger: &Ledger,
    logs: &mut SourceLogs,
    sources: &BTreeSet<SourceId>,
    wanted: Option<&LogName>,
) -> Result<Vec<String>, LedgerError> {
    let mut notes = Vec::new();
    for source in sources {
        let logs = logs.of_source(ledger, source)?;
        if let Some(log) = wanted.filter(|wanted| logs.len() > 1 && logs.contains(wanted)) {
            notes.push(format!(
                "{source} has {} logs, and the names of its batches do not tell them apart, so --log {log} misses lines of them; \
                 leave --log out, and put {{log}} into relay.batch.name for the lines to come",
                logs.len()
            ));
        }
    }
    Ok(notes)
}

/// What of the batches is in the store, at one moment.
#[derive(Debug, Clone, Copy)]
struct IndexedParts<'a> {
    moment: Option<&'a IndexMoment<'a>>,
    /// What other searches have seen, and the position of this one.
    kept: Option<(&'a IndexedBatches, StorePosition)>,
}

impl IndexedParts<'_> {
    /// Whether all of a batch is known to be in the store.
    fn has_all(&self, size: &SpooledSize) -> bool {
        self.kept
            .is_some_and(|(known, position)| known.has(size, &position))
    }

    fn bytes_of(&self, batch: &Batch) -> Result<u64, IndexError> {
        let place = self.moment.map(|moment| moment.place(&batch.name()));
        Ok(place.transpose()?.flatten().map_or(0, |place| place.bytes))
    }

    fn keep(&self, batch: &Batch, bytes: u64) {
        if let Some((known, position)) = self.kept {
            known.add((batch.id, batch.opened_at), bytes, position);
        }
    }
}

/// The batches whose lines are not all in the store. `without_log`: gets the sources of those whose names do not tell the log.
fn unindexed(
    ledger: &Ledger,
    indexed: IndexedParts<'_>,
    selection: &LineSelection,
    logs: &mut SourceLogs,
    without_log: &mut BTreeSet<SourceId>,
) -> Result<Vec<UnindexedBatch>, SearchError> {
    // The places of the batches that are listed.
    let (mut places, mut failed) = (Vec::new(), None);
    let wanted = |batch: &mut Batch| {
        if !selection.is_of(batch.source.as_str(), batch.group.as_str()) {
            return false;
        }
        if batch.log.is_none() {
            without_log.insert(batch.source.clone());
        }
        match indexed.bytes_of(batch) {
            Ok(bytes) if bytes < batch.contents.bytes => places.push(bytes),
            Ok(bytes) => {
                indexed.keep(batch, bytes);
                return false;
            }
            Err(error) => {
                failed = Some(error);
                return false;
            }
        }
        true
    };
    // One moment of the ledger: a batch that changes its state meanwhile is there once.
    let batches = ledger.spooled_batches_unless(
        &filter_of(ledger, selection)?,
        |size| indexed.has_all(size),
        wanted,
    )?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let with_place = |(mut batch, indexed): (Batch, u64)| {
        batch.log = logs.of_batch(ledger, &batch)?;
        Ok(UnindexedBatch { batch, indexed })
    };
    batches.into_iter().zip(places).map(with_place).collect()
}

fn filter_of(ledger: &Ledger, selection: &LineSelection) -> Result<BatchFilter, LedgerError> {
    // The ledger compares exactly. Of several that differ only in upper and lower case, none is chosen here.
    let named = selection.source.as_ref().map(|name| ledger.sources_named(name));
    let source = match named.transpose()?.as_deref() {
        Some([only]) => Some(only.clone()),
        _ => None,
    };
    // The ledger compares whole seconds.
    let after = |until: Timestamp| until.checked_add(SignedDuration::from_secs(1)).unwrap_or(until);
    Ok(BatchFilter {
        source,
        since: selection.since,
        until: selection.until.map(after),
    })
}

#[cfg(test)]
mod tests {
    use logferry_ledger::BatchState;
    use logferry_numbers::IndexDb;
    use logferry_testkit::batches::{add_batch, commit, new_batch};

    use super::*;
    use crate::testing::{host, record};

    #[test]
    fn names_are_in_upper_or_lower_case_as_in_a_query() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let now = Timestamp::from_second(1_795_227_700).expect("a time");
        let mut add = |source: &str, name: &str| {
            let new = new_batch(source, name);
            add_batch(&mut ledger, &new, b"1\n", BatchState::Open, now).group
        };
        let group = add("web-1", "a");
        add("web-2", "b");
        add("WEB-2", "c");
        let formats = FormatsByLog::default();
        let found = |source: Option<&str>, group: Option<String>| {
            let host = SearchedHost {
                store_dir: None,
                ..host(&ledger, dir.path(), &formats)
            };
            let selection = LineSelection {
                source: source.map(|source| source.parse().expect("a source")),
                group: group.map(|group| group.parse().expect("a group")),
                ..LineSelection::default()
            };
            let scope = SearchScope::open(host, &selection).expect("opened");
            scope.unindexed.len()
        };
        assert_eq!(found(Some("WEB-1"), None), 1);
        assert_eq!(found(Some("web-2"), None), 2);
        assert_eq!(found(Some("web-3"), None), 0);
        assert_eq!(found(None, Some(group.as_str().to_uppercase())), 3);
        assert_eq!(found(None, Some("other".to_owned())), 0);
    }

    #[test]
    fn batch_that_grows_or_whose_lines_came_into_the_store_later_is_read_from_the_spool() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let now = Timestamp::from_second(1_795_227_700).expect("a time");
        let batch = add_batch(
            &mut ledger,
            &new_batch("198.51.100.1", "a"),
            b"1\n",
            BatchState::Open,
            now,
        );
        let mut db = IndexDb::open_or_create(dir.path()).expect("an index");
        let at = |frames_len| StorePosition {
            frames_len,
            ..StorePosition::default()
        };
        record(&mut db, &batch, 2, at(10));
        let reader = IndexReader::open(dir.path()).expect("opened");
        let (indexed, formats) = (IndexedBatches::default(), FormatsByLog::default());
        let left = |ledger: &Ledger| -> Vec<u64> {
            let host = SearchedHost {
                kept: Some(KeptIndex {
                    reader: &reader,
                    indexed: &indexed,
                }),
                ..host(ledger, dir.path(), &formats)
            };
            let scope = SearchScope::open(host, &LineSelection::default()).expect("opened");
            scope.unindexed.iter().map(|part| part.indexed).collect()
        };
        let size = |bytes| SpooledSize {
            id: batch.id,
            opened_at: batch.opened_at,
            bytes,
        };
        assert_eq!(left(&ledger), [0; 0]);
        assert!(indexed.has(&size(2), &at(10)) && !indexed.has(&size(3), &at(10)));
        assert_eq!(left(&ledger), [0; 0], "it is known");
        commit(&mut ledger, &batch, b"1\n2\n");
        assert_eq!(left(&ledger), [2]);
        // Another search saw these lines in a store that this one's index does not reach.
        indexed.add((batch.id, batch.opened_at), 4, at(11));
        assert_eq!(left(&ledger), [2]);
        record(&mut db, &batch, 4, at(11));
        assert_eq!(left(&ledger), [0; 0]);
        // A number that a restored ledger gives again is of another batch.
        let other = SpooledSize {
            opened_at: now - SignedDuration::from_secs(1),
            ..size(2)
        };
        assert!(!indexed.has(&other, &at(11)));
    }
}
