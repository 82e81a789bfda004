//! Where reading the journal goes on, which entries are new, and which are missing.
//!
//! Pure: cursors in, verdicts out. `journalctl` of systemd 252 skips entries with `--after-cursor`, in two ways. So it is
//! started with `--cursor=LAST`, whose first entry must be LAST itself; if it is another one, LAST is gone, and what was
//! written between the two is missing.
//!
//! Invariants:
//! - An entry is new at most once.
//! - An entry that was written after the last one is new, or lies in a gap that is reported.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::cursor::JournalCursor;

/// Follows the entries of one `journalctl` after another.
#[derive(Debug)]
pub(crate) struct JournalResume {
    /// The last entry that was new.
    last: Option<JournalCursor>,
    phase: ResumePhase,
    /// Where the running `journalctl` was told to start, until that entry came.
    anchor: Option<JournalCursor>,
    /// The boots of that entry and of those after it; `None` until it came.
    boots: Option<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumePhase {
    /// No entry has come that is new or the last one; so many known ones have.
    Seeking,
    Following,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryVerdict {
    /// It was taken before.
    Known,
    /// Take it.
    New,
    /// Take it; entries before it are missing.
    NewAfterGap(JournalGap),
    /// Take it. It is the first one of a boot after a restart of the host, and `journalctl` has ordered it by the clock: if that was
    /// behind, entries of the same boot were not shown. Then they are this gap.
    NewAfterBoot(JournalGap),
}

/// Entries that are gone from the journal, and that were not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalGap {
    /// The cursor of the last entry that was read.
    pub(crate) after: String,
    /// When it was written.
    pub(crate) from: Option<Timestamp>,
    /// The cursor of the next entry that there is.
    pub(crate) before: String,
    /// When it was written.
    pub(crate) until: Option<Timestamp>,
    /// How many entries are missing at most; `None`: that cannot be known.
    pub(crate) missing_max: Option<u64>,
    /// They are in the journal, and `journalctl` did not show them: by their times they come before the last entry.
    pub(crate) is_hidden: bool,
}

/// What is to be done when no entry comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuietJournal {
    /// Wait on: nothing was written.
    Wait,
    /// Start `journalctl` without a cursor: the journal goes on at an earlier time, which it would not show.
    FromBeginning,
}

impl JournalResume {
    /// Goes on after `last`, the last entry that is durable; without one it begins with the oldest entry.
    pub(crate) fn new(last: Option<JournalCursor>) -> Self {
        Self {
            last,
            phase: ResumePhase::Seeking,
            anchor: None,
            boots: None,
        }
    }

    /// A new `journalctl` is started: the cursor to start it with, or none to start with the oldest entry.
    pub(crate) fn start(&mut self) -> Option<&JournalCursor> {
        self.anchor = self.last.clone();
        self.boots = None;
        self.phase = match &self.last {
            Some(_) => ResumePhase::Seeking,
            None => ResumePhase::Following,
        };
        self.last.as_ref()
    }

    /// The last entry that was new.
    pub(crate) fn last(&self) -> Option<&JournalCursor> {
        self.last.as_ref()
    }

    /// Whether `journalctl` has not yet shown that it found its place.
    pub(crate) fn is_seeking(&self) -> bool {
        self.phase == ResumePhase::Seeking
    }

    /// The next entry.
    pub(crate) fn entry(&mut self, cursor: &JournalCursor) -> EntryVerdict {
        if let Some(anchor) = &self.anchor
            && anchor.is_same_entry(cursor)
        {
            self.anchor = None;
            self.boots = Some(cursor.boot().map(str::to_owned).into_iter().collect());
            self.phase = ResumePhase::Following;
            return EntryVerdict::Known;
        }
        let is_first = self.is_first_of_boot(cursor);
        let before = self
            .last
            .as_ref()
            .filter(|last| is_first && cursor.is_ordered_by_time(last));
        let hidden = before.and_then(|last| {
            Some(JournalGap {
                is_hidden: true,
                ..gap(last, cursor)?
            })
        });
        let gap = match (self.phase, &self.last) {
            (ResumePhase::Seeking, Some(last)) if !cursor.is_after(last) => return EntryVerdict::Known,
            (ResumePhase::Seeking, Some(last)) => gap(last, cursor),
            _ => None,
        };
        self.phase = ResumePhase::Following;
        self.last = Some(cursor.clone());
        match (gap, hidden) {
            (Some(gap), _) => EntryVerdict::NewAfterGap(gap),
            (None, Some(hidden)) => EntryVerdict::NewAfterBoot(hidden),
            (None, None) => EntryVerdict::New,
        }
    }

    /// Whether the entry is the first one of its boot since the entry that `journalctl` was started with.
    fn is_first_of_boot(&mut self, cursor: &JournalCursor) -> bool {
        let (Some(boots), Some(boot)) = (&mut self.boots, cursor.boot()) else {
            return false;
        };
        // Each entry comes here: no text is copied for one of a known boot.
        !boots.contains(boot) && boots.insert(boot.to_owned())
    }

    /// For some seconds after its start `journalctl` has shown nothing. `newest`: the newest entry of the journal now.
    pub(crate) fn silence(&self, newest: Option<&JournalCursor>) -> QuietJournal {
        match (&self.last, newest) {
            (Some(last), Some(newest)) if !newest.is_same_entry(last) && !is_later(newest, last) => {
                QuietJournal::FromBeginning
            }
            _ => QuietJournal::Wait,
        }
    }
}

/// Whether `journalctl --cursor=LAST` will show `newest`. It looks for LAST by its number, else by its time.
fn is_later(newest: &JournalCursor, last: &JournalCursor) -> bool {
    newest.time() > last.time()
}

/// `None`: only `last` itself is gone.
fn gap(last: &JournalCursor, next: &JournalCursor) -> Option<JournalGap> {
    let missing_max = next.numbers_between(last);
    (missing_max != Some(0)).then(|| JournalGap {
        after: last.as_str().to_owned(),
        from: last.time(),
        before: next.as_str().to_owned(),
        until: next.time(),
        missing_max,
        is_hidden: false,
    })
}
