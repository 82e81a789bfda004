//! Summaries: which hours and days are over and need one. Pure. The mail itself is in `summary_mail/`.
//!
//! The schedule can be changed here alone.

pub(crate) mod daily_schedule;
pub(crate) mod period;
pub(crate) mod summary_schedule;
