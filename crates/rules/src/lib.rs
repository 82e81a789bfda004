//! The configured rules: thresholds over what the indexer has counted. The monitor tells people, `logferry rules` lists and
//! replays, and the console draws; all by this one reading.
//!
//! `minute_sums` and `evaluate` decide without I/O; `index_progress` says which minutes are counted to their end; `replay` when a
//! rule would have fired; `course` what it measured over time. `rule_reader` reads the ledger and `index.db`.
//!
//! Invariants:
//! - **A rule sees only minutes that the indexer has finished.** While the indexer is behind, no rule is evaluated, and an
//!   incident stays as it is: missing numbers are no missing lines.
//! - While lines may still be on their way, because a sender or the relay is down or behind, a rule does not say that there are too
//!   few (`arrived_lines`).
//! - With no lines, or with nothing to compare with, a share or a ratio is unknown: the rule does not fire, and what fires already is
//!   not over. Traffic that dies is no cure.
//!
//! Measures and texts can be changed here alone; a new setting comes from `crates/config/src/monitor/rules.rs`.

mod arrived_lines;
mod course;
mod evaluate;
mod index_progress;
mod minute_sums;
mod replay;
mod rule_reader;
#[cfg(test)]
mod tests;

pub use course::{CourseStep, RuleCourse, course};
pub use evaluate::{RuleState, ValueState, evaluate, limit_text, subject, text};
pub use index_progress::FinishedMinutes;
pub use minute_sums::RuleNumbers;
pub use replay::{RuleFiring, replay};
pub use rule_reader::{RuleReadError, RuleReader};
