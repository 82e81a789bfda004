//! What is wrong with a file, and what of it is told. Pure.
//!
//! A live file may be read in the middle of a write. So something is told when it is found twice: by two readings, or because the
//! file has not changed since. Each is told once.

use std::collections::BTreeSet;
use std::fmt::Write;

/// What one reading of a file found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventFileProblems {
    /// Parts that cannot be read, in words.
    pub(super) damages: BTreeSet<String>,
    /// First and last number of records that are missing before one that is there.
    pub(super) missing: BTreeSet<(u64, u64)>,
    /// It is of one log more than a source knows: nothing of it is captured.
    pub(super) is_one_too_many: bool,
}

/// What was found in a file last, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct ProblemLog {
    found: EventFileProblems,
    told: EventFileProblems,
}

impl EventFileProblems {
    fn is_empty(&self) -> bool {
        self.damages.is_empty() && self.missing.is_empty() && !self.is_one_too_many
    }

    fn common(&self, other: &Self) -> Self {
        Self {
            damages: self.damages.intersection(&other.damages).cloned().collect(),
            missing: self.missing.intersection(&other.missing).copied().collect(),
            is_one_too_many: self.is_one_too_many && other.is_one_too_many,
        }
    }

    /// In words, for the file `path`.
    pub(super) fn text(&self, path: &str) -> String {
        let mut text = format!("{path}: ");
        if self.is_one_too_many {
            text.push_str(
                "nothing of it is captured, because it is of one log too many for a source, which knows 50; give it a further source \
                 with a `path` of its own",
            );
        }
        if let Some(first) = self.damages.first() {
            let count = self.damages.len();
            let _ = write!(
                text,
                "{count} parts are damaged and left out, the first: {first}; copy the file again"
            );
        }
        if !self.missing.is_empty() {
            let runs = self.missing.iter().map(|(first, last)| {
                if first == last {
                    first.to_string()
                } else {
                    format!("{first} to {last}")
                }
            });
            let runs: Vec<_> = runs.collect();
            let and = if self.damages.is_empty() { "" } else { "; " };
            let _ = write!(text, "{and}records are missing, by number: {}", runs.join(", "));
            if self.damages.is_empty() {
                text.push_str("; copy the file more often, or let Windows archive full logs, so that none is overwritten before");
            }
        }
        text
    }
}

impl ProblemLog {
    /// What a reading found. Returns what is to be told now.
    pub(super) fn read(&mut self, found: EventFileProblems) -> Option<EventFileProblems> {
        let twice = self.found.common(&found);
        self.told = self.told.common(&found);
        self.found = found;
        self.tell(&twice)
    }

    /// The file has not changed since. Returns what is to be told now.
    pub(super) fn unchanged(&mut self) -> Option<EventFileProblems> {
        let found = self.found.clone();
        self.tell(&found)
    }

    fn tell(&mut self, certain: &EventFileProblems) -> Option<EventFileProblems> {
        let new = EventFileProblems {
            damages: certain.damages.difference(&self.told.damages).cloned().collect(),
            missing: certain.missing.difference(&self.told.missing).copied().collect(),
            is_one_too_many: certain.is_one_too_many && !self.told.is_one_too_many,
        };
        self.told.damages.extend(new.damages.iter().cloned());
        self.told.missing.extend(&new.missing);
        self.told.is_one_too_many |= new.is_one_too_many;
        (!new.is_empty()).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(damages: &[&str], missing: &[(u64, u64)]) -> EventFileProblems {
        EventFileProblems {
            damages: damages.iter().map(|text| (*text).to_owned()).collect(),
            missing: missing.iter().copied().collect(),
            is_one_too_many: false,
        }
    }

    #[test]
    fn what_is_found_twice_is_told_once() {
        let mut log = ProblemLog::default();
        assert_eq!(log.read(problems(&["half written"], &[])), None);
        assert_eq!(log.read(problems(&["a"], &[(5, 8)])), None);
        assert_eq!(
            log.read(problems(&["a", "b"], &[(5, 8)])),
            Some(problems(&["a"], &[(5, 8)]))
        );
        assert_eq!(log.unchanged(), Some(problems(&["b"], &[])));
        assert_eq!(log.unchanged(), None);
        // Healed, and damaged again.
        assert_eq!(log.read(problems(&[], &[])), None);
        assert_eq!(log.read(problems(&["a"], &[])), None);
        assert_eq!(log.unchanged(), Some(problems(&["a"], &[])));
    }

    #[test]
    fn file_of_one_log_too_many_is_told_once_and_not_as_a_damaged_one() {
        let too_many = EventFileProblems {
            is_one_too_many: true,
            ..EventFileProblems::default()
        };
        let mut log = ProblemLog::default();
        assert_eq!(log.read(too_many.clone()), None);
        assert_eq!(log.unchanged(), Some(too_many.clone()));
        assert_eq!(log.read(too_many.clone()), None);
        assert_eq!(
            too_many.text("/x.evtx"),
            "/x.evtx: nothing of it is captured, because it is of one log too many for a source, which knows 50; give it a further \
             source with a `path` of its own"
        );
    }

    #[test]
    fn text_says_what_to_do() {
        assert_eq!(
            problems(&["checksum"], &[(5, 8), (10, 10)]).text("/x.evtx"),
            "/x.evtx: 1 parts are damaged and left out, the first: checksum; copy the file again; records are missing, by number: 5 to \
             8, 10"
        );
        assert_eq!(
            problems(&[], &[(5, 8)]).text("/x.evtx"),
            "/x.evtx: records are missing, by number: 5 to 8; copy the file more often, or let Windows archive full logs, so that none \
             is overwritten before"
        );
    }
}
