//! The configured rules: thresholds over what the indexer has counted.
//!
//! `minute_sums` and `evaluate` decide without I/O; `index_progress` says which minutes are counted to their end; `replay` when a
//! rule would have fired. `rule_reader` reads the ledger and `index.db`; `observe` and `commands` hand its facts over.
//!
//! Invariants:
//! - **A rule sees only minutes that the indexer has finished.** While the indexer is behind, no rule is evaluated, and an
//!   incident stays as it is: missing numbers are no missing lines.
//! - With no lines, or with nothing to compare with, a share or a ratio is unknown, and the rule does not fire.
//!
//! Measures and texts can be changed here alone; a new setting comes from `crates/config/src/monitor/rules.rs`.

mod commands;
mod evaluate;
mod index_progress;
mod minute_sums;
mod observe;
mod replay;
mod rule_reader;
#[cfg(test)]
mod tests;

pub use commands::{RuleListing, RuleReplay, list_rules, replay_rules};
pub use evaluate::RuleState;
pub use observe::observe;
pub use replay::RuleFiring;
