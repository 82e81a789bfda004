//! The log of a batch. If the batch's name does not tell it, that is the only log of its source: one rule for the indexer and
//! the search.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use logferry_protocol::names::{LogName, SourceId};

use crate::{Batch, Ledger, LedgerError};

/// The logs of sources, each asked for once. A source may get another log: make a new one from time to time.
#[derive(Debug, Default)]
pub struct SourceLogs {
    known: BTreeMap<SourceId, Vec<LogName>>,
}

impl SourceLogs {
    /// The log of the lines of a batch; `None` if its source has several, and the batch may have lines of all.
    pub fn of_batch(&mut self, ledger: &Ledger, batch: &Batch) -> Result<Option<LogName>, LedgerError> {
        if batch.log.is_some() {
            return Ok(batch.log.clone());
        }
        match self.of_source(ledger, &batch.source)? {
            [only] => Ok(Some(only.clone())),
            _ => Ok(None),
        }
    }

    /// The logs of a source.
    pub fn of_source(&mut self, ledger: &Ledger, source: &SourceId) -> Result<&[LogName], LedgerError> {
        Ok(match self.known.entry(source.clone()) {
            Entry::Occupied(logs) => logs.into_mut(),
            Entry::Vacant(room) => room.insert(ledger.logs_of(source)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{advance, ledger, new_batch, now, stream_record};

    #[test]
    fn batch_whose_name_tells_no_log_has_the_only_log_of_its_source() {
        let (_dir, mut ledger) = ledger().expect("a ledger");
        let batch = ledger.open_batch(&new_batch(), now()).expect("opened");
        let mut named = new_batch();
        named.log = Some("pay".parse().expect("a name"));
        let named = ledger.open_batch(&named, now()).expect("opened");
        let of = |ledger: &Ledger, batch| {
            let log = SourceLogs::default().of_batch(ledger, batch).expect("read");
            log.map(|log| log.to_string())
        };
        assert_eq!(of(&ledger, &batch), None, "no log is known");
        ledger
            .commit(&advance(0, stream_record(6, 1)))
            .expect("committed");
        assert_eq!(of(&ledger, &batch).as_deref(), Some("access"));
        assert_eq!(of(&ledger, &named).as_deref(), Some("pay"));
        let mut other = stream_record(6, 1);
        other.log = "error".parse().expect("a name");
        other.file.inode += 1;
        other.stream = logferry_protocol::stream::StreamId::derive(other.file, other.head, 0);
        ledger.commit(&advance(0, other)).expect("committed");
        assert_eq!(of(&ledger, &batch), None, "it may have lines of both");
        let all: Vec<_> = ledger
            .logs()
            .expect("read")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(all, ["access", "error"]);
        assert_eq!(of(&ledger, &named).as_deref(), Some("pay"));
    }
}
