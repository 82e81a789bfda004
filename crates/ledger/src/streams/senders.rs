//! Senders: which source each has, from where it comes, and its process.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::sender::{SenderId, SenderRun};
use rusqlite::{Result as SqlResult, Row, named_params};

use crate::row::{self, millis, to_text};
use crate::{Ledger, LedgerError};

/// Most senders that are kept of one source. The one that was silent for the longest time goes first; if it comes back it
/// is a new one.
pub const SENDERS_KEPT: u32 = 256;

/// A sender in one group, by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderRecord {
    /// The sender.
    pub id: SenderId,
    /// The group.
    pub group: GroupName,
    /// Its source.
    pub source: SourceId,
    /// Whether the source is the address that it came from first, and no name or credential gave it.
    pub by_address: bool,
    /// Where it comes from now.
    pub address: IpAddr,
    /// Its processes, the present one first.
    pub runs: Vec<SenderRun>,
    /// When it made its first contact.
    pub first_seen: Timestamp,
    /// When its present process made its first contact.
    pub run_since: Timestamp,
    /// When it last made contact; as exact as its heartbeats.
    pub last_contact: Timestamp,
}

impl SenderRecord {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let runs: String = row.get("runs")?;
        Ok(Self {
            id: row::text(row, "id")?,
            group: row::text(row, "grp")?,
            source: row::text(row, "source")?,
            by_address: row.get("by_address")?,
            address: row::text(row, "address")?,
            runs: runs
                .split_whitespace()
                .filter_map(|run| run.parse().ok())
                .collect(),
            first_seen: row::time(row, "first_seen")?,
            run_since: row::time(row, "run_since")?,
            last_contact: row::time(row, "last_contact")?,
        })
    }
}

/// How long after its last contact a sender counts as live. It reports every 10 s.
const LIVE: SignedDuration = SignedDuration::from_mins(2);

/// Whether a sender whose last contact was then is live now.
pub fn is_sender_live(last_contact: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last_contact) <= LIVE
}

/// The senders that send for `source` at the same time, if there are at least two; else none. Each once, whatever groups it
/// uses.
///
/// Two are live together only if each made contact after both of them had begun. So a sender that lost its state folder,
/// and comes with a new id, does not count beside its silent predecessor.
pub fn live_together<'a>(
    senders: impl IntoIterator<Item = &'a SenderRecord>,
    source: &SourceId,
    now: Timestamp,
) -> Vec<&'a SenderRecord> {
    let mut live: Vec<&SenderRecord> = Vec::new();
    for sender in senders {
        if sender.source != *source || !is_sender_live(sender.last_contact, now) {
            continue;
        }
        match live.iter_mut().find(|other| other.id == sender.id) {
            Some(other) if other.last_contact < sender.last_contact => *other = sender,
            Some(_) => {}
            None => live.push(sender),
        }
    }
    let overlap = |a: &SenderRecord, b: &SenderRecord| {
        a.id != b.id && a.last_contact.min(b.last_contact) > a.run_since.max(b.run_since)
    };
    let together = live.iter().filter(|a| live.iter().any(|b| overlap(a, b)));
    together.copied().collect()
}

impl Ledger {
    /// The senders of all groups.
    pub fn senders(&self) -> Result<Vec<SenderRecord>, LedgerError> {
        self.read("list senders", |sql| {
            sql.prepare_cached("SELECT * FROM senders ORDER BY source, id, grp")?
                .query_map([], SenderRecord::from_row)?
                .collect()
        })
    }

    /// Notes a sender, in place of what was noted of it in this group.
    pub fn note_sender(&mut self, sender: &SenderRecord) -> Result<(), LedgerError> {
        self.write("note a sender", |sql| {
            let runs: Vec<_> = sender.runs.iter().map(SenderRun::to_string).collect();
            sql.prepare_cached(
                "INSERT OR REPLACE INTO senders
                     (id, grp, source, by_address, address, runs, first_seen, run_since, last_contact)
                 VALUES (:id, :group, :source, :by_address, :address, :runs, :first_seen, :run_since, :last_contact)",
            )?
            .execute(named_params! {
                ":id": to_text(&sender.id),
                ":group": sender.group.as_str(),
                ":source": sender.source.as_str(),
                ":by_address": sender.by_address,
                ":address": to_text(&sender.address),
                ":runs": runs.join(" "),
                ":first_seen": millis(sender.first_seen),
                ":run_since": millis(sender.run_since),
                ":last_contact": millis(sender.last_contact),
            })?;
            sql.prepare_cached(
                "DELETE FROM senders WHERE source = ?1 AND (id, grp) NOT IN (
                     SELECT id, grp FROM senders WHERE source = ?1 ORDER BY last_contact DESC LIMIT ?2)",
            )?
            .execute((sender.source.as_str(), SENDERS_KEPT))
            .map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn sender(number: u128, source: &str, at: i64) -> Result<SenderRecord, Box<dyn std::error::Error>> {
        Ok(SenderRecord {
            id: SenderId::new(number),
            group: "web-1".parse()?,
            source: source.parse()?,
            by_address: true,
            address: "::1".parse()?,
            runs: vec![SenderRun::new(2), SenderRun::new(1)],
            first_seen: Timestamp::from_second(at)?,
            run_since: Timestamp::from_second(at)?,
            last_contact: Timestamp::from_second(at)?,
        })
    }

    #[test]
    fn a_sender_is_kept_with_its_source_and_its_runs() -> TestResult {
        let dir = tempfile::tempdir()?;
        let mut ledger = Ledger::open_or_create(dir.path())?;
        let first = sender(1, "192.0.2.1", 100)?;
        ledger.note_sender(&first)?;
        let later = SenderRecord {
            last_contact: Timestamp::from_second(200)?,
            ..first
        };
        ledger.note_sender(&later)?;
        assert_eq!(ledger.senders()?, std::slice::from_ref(&later));
        let moved = SenderRecord {
            address: "192.0.2.7".parse()?,
            ..later
        };
        ledger.note_sender(&moved)?;
        assert_eq!(ledger.senders()?, [moved]);
        Ok(())
    }

    #[test]
    fn only_senders_that_take_turns_are_live_together() -> TestResult {
        let at = |second| Timestamp::from_second(second);
        let span = |number, since, last| -> Result<SenderRecord, Box<dyn std::error::Error>> {
            Ok(SenderRecord {
                run_since: at(since)?,
                last_contact: at(last)?,
                ..sender(number, "192.0.2.1", 0)?
            })
        };
        let count = |senders: &[SenderRecord], now| -> Result<usize, Box<dyn std::error::Error>> {
            Ok(live_together(senders, &"192.0.2.1".parse()?, at(now)?).len())
        };
        let (first, second) = (span(1, 0, 110)?, span(2, 100, 120)?);
        assert_eq!(count(&[first.clone(), second.clone()], 120)?, 2);
        assert_eq!(
            count(&[first.clone(), second.clone()], 400)?,
            0,
            "both are silent"
        );
        let successor = span(3, 115, 120)?;
        assert_eq!(
            count(&[first.clone(), successor], 120)?,
            0,
            "the first is silent since"
        );
        let elsewhere = SenderRecord {
            group: "web-2".parse()?,
            ..first.clone()
        };
        assert_eq!(
            count(&[first.clone(), elsewhere], 120)?,
            0,
            "one sender, two groups"
        );
        let of_other = SenderRecord {
            source: "192.0.2.2".parse()?,
            ..second
        };
        assert_eq!(count(&[first, of_other], 120)?, 0);
        Ok(())
    }

    #[test]
    fn the_senders_of_a_source_have_a_bound_and_the_silent_one_goes_first() -> TestResult {
        let dir = tempfile::tempdir()?;
        let mut ledger = Ledger::open_or_create(dir.path())?;
        ledger.note_sender(&sender(999, "192.0.2.2", 0)?)?;
        for number in 0..=SENDERS_KEPT {
            ledger.note_sender(&sender(number.into(), "192.0.2.1", number.into())?)?;
        }
        let senders = ledger.senders()?;
        assert_eq!(
            senders.len(),
            SENDERS_KEPT as usize + 1,
            "another source's are left alone"
        );
        assert!(senders.iter().all(|sender| sender.id != SenderId::new(0)));
        Ok(())
    }
}
