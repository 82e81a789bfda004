//! Summaries: which hours are over and need one, and the mail about one hour. Pure.
//!
//! The schedule and the layout of the mail can be changed here alone. The subject is what people's mail rules match: its
//! form stays.

pub(crate) mod hourly_summary;
pub(crate) mod summary_schedule;
pub(crate) mod trusted_time;
