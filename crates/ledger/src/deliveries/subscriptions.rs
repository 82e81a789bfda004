//! The start of each destination's current configuration. Batches sent before it are not due for the destination.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_protocol::names::DestinationName;

use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

impl Ledger {
    /// Records all configured destinations, each with its filters as text. A new destination, or one with changed filters,
    /// starts at `now`. A destination that is not in `all` is deleted.
    pub fn note_subscriptions(
        &mut self,
        all: &[(DestinationName, String)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("note the destinations", |sql| {
            let known: Vec<String> = sql
                .prepare("SELECT destination FROM subscriptions")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for gone in known
                .iter()
                .filter(|known| all.iter().all(|(name, _)| name.as_str() != known.as_str()))
            {
                sql.execute("DELETE FROM subscriptions WHERE destination = ?1", [gone])?;
            }
            for (name, wants) in all {
                sql.execute(
                    "INSERT INTO subscriptions (destination, wants, since) VALUES (?1, ?2, ?3)
                     ON CONFLICT (destination) DO UPDATE SET wants = ?2, since = ?3 WHERE wants <> ?2",
                    (name.as_str(), wants, millis(now)),
                )?;
            }
            Ok(())
        })
    }

    /// The start of the current configuration of each recorded destination.
    pub fn subscribed_since(&self) -> Result<BTreeMap<DestinationName, Timestamp>, LedgerError> {
        let query = "SELECT destination, since FROM subscriptions";
        self.list("list the destinations", query, [], |row| {
            Ok((row::text(row, "destination")?, row::time(row, "since")?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time")
    }

    #[test]
    fn destination_counts_from_its_last_change() {
        let (_dir, mut ledger) = crate::tests::ledger().expect("a ledger");
        let mut note = |all: &[(&str, &str)], second| {
            let all: Vec<_> = all
                .iter()
                .map(|(name, filter)| (name.parse().expect("a name"), (*filter).to_owned()))
                .collect();
            ledger.note_subscriptions(&all, at(second)).expect("noted");
            let since = ledger.subscribed_since().expect("asked");
            since
                .into_iter()
                .map(|(name, since)| (name.to_string(), since.as_second() - at(0).as_second()))
                .collect::<Vec<_>>()
        };
        let edw = |second| ("edw".to_owned(), second);
        let lab = |second| ("lab".to_owned(), second);
        assert_eq!(note(&[("edw", "")], 1), [edw(1)]);
        assert_eq!(note(&[("edw", ""), ("lab", "a")], 2), [edw(1), lab(2)]);
        let both = [("edw", ""), ("lab", "b")];
        assert_eq!(note(&both, 3), [edw(1), lab(3)], "other filters");
        assert_eq!(note(&[("lab", "b")], 4), [lab(3)]);
        assert_eq!(note(&both, 5), [edw(5), lab(3)], "configured again");
    }
}
