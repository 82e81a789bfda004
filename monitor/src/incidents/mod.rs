//! Incidents: what is observed as wrong at a look, and what becomes of it over time. Pure: the time is an argument, the caller
//! stores and sends.
//!
//! One look goes through these files in this order: `observe/` (rules) → `causes.rs` (one incident for one cause) → `machine.rs`
//! (what is new, worse, over) → `mail/` (one mail about all of it). Rules may be added, and texts changed, here alone. The names of
//! rules and subjects are in the JSON of `alerts` and `status`.

pub(crate) mod causes;
pub mod condition;
pub(crate) mod machine;
pub(crate) mod mail;
pub(crate) mod observe;
pub mod rules;
