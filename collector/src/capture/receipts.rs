//! What was answered to whom, so that a request that comes again is answered again and not stored again.
//!
//! No I/O. A receipt is made durable in one step with the records that it is about.
//!
//! Invariants:
//! - A receipt that is not kept for long goes when its answer is known to have arrived: then an equal request is a new one.
//! - At most [`RECEIPTS_MAX`] are kept, none longer than [`RECEIPT_AGE_MAX`]; the oldest go first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use logferry_protocol::stream::Hash16;
use serde::{Deserialize, Serialize};

/// Most receipts of a capture. One takes about 150 bytes of memory, and as many on disk.
pub(crate) const RECEIPTS_MAX: usize = 65_536;

/// How long a receipt is kept: as long as the relay keeps those of `/upload`.
pub(crate) const RECEIPT_AGE_MAX: Duration = Duration::from_hours(24);

/// What makes two requests the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RequestKey(Hash16);

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl RequestKey {
    /// The key of these parts, in this order. No two lists of parts have one key.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut whole = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            whole.extend_from_slice(&(part.len() as u64).to_le_bytes());
            whole.extend_from_slice(part);
        }
        Self(Hash16::of(&whole))
    }
}

/// What was answered to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The request.
    pub(crate) key: RequestKey,
    /// When, in seconds since 1970.
    pub(crate) at: i64,
    /// What is needed to answer again.
    pub(crate) answer: String,
    /// Whether it is kept though its answer has arrived: its client has given the request a key of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) lasting: bool,
}

/// The receipts of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Receipts {
    by_key: HashMap<RequestKey, Kept>,
    /// By age: the number of each, growing.
    order: BTreeMap<u64, RequestKey>,
    given: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    number: u64,
    receipt: Receipt,
}

impl Receipts {
    /// What was answered to this request; `None` if it is new.
    pub(crate) fn answer(&self, key: &RequestKey, now: Timestamp) -> Option<&str> {
        let receipt = &self.by_key.get(key)?.receipt;
        (!is_old(receipt, now)).then_some(receipt.answer.as_str())
    }

    /// Whether the receipt of this request stays though its answer has arrived.
    pub(crate) fn is_lasting(&self, key: &RequestKey) -> bool {
        self.by_key.get(key).is_some_and(|kept| kept.receipt.lasting)
    }

    /// Adds a receipt.
    pub(crate) fn add(&mut self, receipt: Receipt) {
        let now = Timestamp::from_second(receipt.at).unwrap_or_default();
        self.remove(&receipt.key);
        self.given += 1;
        let number = self.given;
        self.order.insert(number, receipt.key);
        self.by_key.insert(receipt.key, Kept { number, receipt });
        while let Some((_, key)) = self.order.first_key_value() {
            let oldest = self.by_key.get(key).map(|kept| &kept.receipt);
            let is_surplus = self.order.len() > RECEIPTS_MAX;
            if !is_surplus && oldest.is_some_and(|oldest| !is_old(oldest, now)) {
                break;
            }
            let key = *key;
            self.remove(&key);
        }
    }

    /// The answer to this request has arrived.
    pub(crate) fn confirm(&mut self, key: &RequestKey) {
        if self.by_key.get(key).is_some_and(|kept| !kept.receipt.lasting) {
            self.remove(key);
        }
    }

    /// All, the oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Receipt> {
        let kept = self.order.values().filter_map(|key| self.by_key.get(key));
        kept.map(|kept| &kept.receipt)
    }

    fn remove(&mut self, key: &RequestKey) {
        if let Some(kept) = self.by_key.remove(key) {
            self.order.remove(&kept.number);
        }
    }
}

/// A clock that was set back makes no receipt old.
fn is_old(receipt: &Receipt, now: Timestamp) -> bool {
    let age = now.as_second().saturating_sub(receipt.at);
    u64::try_from(age).is_ok_and(|age| age >= RECEIPT_AGE_MAX.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> RequestKey {
        RequestKey::of(&[&number.to_le_bytes()])
    }

    fn receipt(number: usize, at: i64) -> Receipt {
        Receipt {
            key: key(number),
            at,
            answer: number.to_string(),
            lasting: false,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn parts_that_are_divided_otherwise_have_another_key() {
        assert_ne!(RequestKey::of(&[b"ab", b"c"]), RequestKey::of(&[b"a", b"bc"]));
        assert_eq!(RequestKey::of(&[b"ab"]), RequestKey::of(&[b"ab"]));
    }

    #[test]
    fn confirmed_request_is_new_again_unless_its_client_named_it() {
        let mut receipts = Receipts::default();
        receipts.add(receipt(1, 100));
        receipts.add(Receipt {
            lasting: true,
            ..receipt(2, 100)
        });
        assert_eq!(receipts.answer(&key(1), at(101)), Some("1"));
        receipts.confirm(&key(1));
        receipts.confirm(&key(2));
        assert_eq!(receipts.answer(&key(1), at(101)), None);
        assert_eq!(receipts.answer(&key(2), at(101)), Some("2"));
    }

    #[test]
    fn a_day_later_a_receipt_is_forgotten_and_a_clock_set_back_forgets_none() {
        let mut receipts = Receipts::default();
        receipts.add(receipt(1, 100_000));
        assert_eq!(receipts.answer(&key(1), at(186_399)), Some("1"));
        assert_eq!(receipts.answer(&key(1), at(186_400)), None);
        assert_eq!(receipts.answer(&key(1), at(5)), Some("1"));
        receipts.add(receipt(2, 186_400));
        assert_eq!(receipts.all().count(), 1);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut receipts = Receipts::default();
        for number in 0..=RECEIPTS_MAX {
            receipts.add(receipt(number, 100));
        }
        assert_eq!(receipts.all().count(), RECEIPTS_MAX);
        assert_eq!(receipts.answer(&key(0), at(100)), None);
        assert!(receipts.answer(&key(1), at(100)).is_some());
    }
}
