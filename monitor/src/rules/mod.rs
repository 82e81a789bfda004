//! The configured rules, for people: `observe` makes conditions of those that fire, `commands` is what `logferry rules` shows.
//!
//! What they measure is in `crates/rules`; texts and advice of alerts can be changed here alone.

mod commands;
mod conditions;
mod observe;
#[cfg(test)]
mod tests;

pub use commands::{RuleListing, RuleReplay, list_rules, replay_rules};
pub use logferry_rules::RuleFiring;
pub(crate) use observe::observe;
