//! The cursor of an entry of the journal: `s=…;i=…;b=…;m=…;t=…;x=…` (`sd_journal_get_cursor(3)`).
//!
//! `s` names a run of sequence numbers and `i` is the entry's number in it, `b` is the boot and `m` the time since it, `t` the
//! time since 1970, both in microseconds, and `x` a hash of the entry. The numbers are hexadecimal.

use jiff::Timestamp;

/// The cursor of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalCursor {
    text: String,
    sequence: Option<(String, u64)>,
    boot: Option<(String, u64)>,
    realtime_us: Option<u64>,
    hash: Option<String>,
}

impl JournalCursor {
    /// Reads a cursor. Parts that are missing or odd are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let part = |name: &str| {
            let mut parts = text.split(';');
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name: &str| u64::from_str_radix(part(name)?, 16).ok();
        let named = |name: &str, by: &str| Some((part(name)?.to_owned(), number(by)?));
        Self {
            text: text.to_owned(),
            sequence: named("s", "i"),
            boot: named("b", "m"),
            realtime_us: number("t"),
            hash: part("x").map(str::to_owned),
        }
    }

    /// As `journalctl` writes and takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// When the entry was written.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.realtime_us?.try_into().ok()?).ok()
    }

    /// The boot of the entry.
    pub(crate) fn boot(&self) -> Option<&str> {
        self.boot.as_ref().map(|(boot, _)| boot.as_str())
    }

    /// Whether nothing but the clock tells which of the entries is the younger one.
    pub(crate) fn is_ordered_by_time(&self, other: &Self) -> bool {
        same(self.sequence.as_ref(), other.sequence.as_ref()).is_none()
            && same(self.boot.as_ref(), other.boot.as_ref()).is_none()
    }

    /// Whether both are cursors of one entry. Journald copies entries from `/run` to `/var`: a copy has another number.
    pub(crate) fn is_same_entry(&self, other: &Self) -> bool {
        let has_all = self.boot.is_some() && self.realtime_us.is_some() && self.hash.is_some();
        let is_copy =
            self.boot == other.boot && self.realtime_us == other.realtime_us && self.hash == other.hash;
        self.text == other.text || (has_all && is_copy)
    }

    /// Whether the entry is known to be younger than `other`'s: by its number, else by its time in the same boot, else by
    /// its time.
    pub(crate) fn is_after(&self, other: &Self) -> bool {
        if let Some((here, there)) = same(self.sequence.as_ref(), other.sequence.as_ref()) {
            return here > there;
        }
        if let Some((here, there)) = same(self.boot.as_ref(), other.boot.as_ref()) {
            return here > there;
        }
        self.realtime_us > other.realtime_us
    }

    /// How many entries were written after `other`'s and before this one, if one run of numbers has both.
    pub(crate) fn numbers_between(&self, other: &Self) -> Option<u64> {
        let (here, there) = same(self.sequence.as_ref(), other.sequence.as_ref())?;
        Some(here.saturating_sub(there).saturating_sub(1))
    }
}

/// The numbers of both, if they count the same.
fn same(here: Option<&(String, u64)>, there: Option<&(String, u64)>) -> Option<(u64, u64)> {
    let ((name, here), (other, there)) = here.zip(there)?;
    (name == other).then_some((*here, *there))
}
