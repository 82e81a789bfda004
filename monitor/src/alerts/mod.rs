//! Alerts: the state of a source, the rule that decides when people are mailed about it, and the text of those mails.
//!
//! Nothing here does I/O: the time is an argument, the caller stores and sends. The rule and the texts can be changed here
//! alone; the states' names are part of the status's JSON.

pub(crate) mod alert_mail;
pub(crate) mod alert_rule;
pub(crate) mod log_alert_mail;
pub(crate) mod log_alert_rule;
pub(crate) mod log_problem;
pub(crate) mod role_alert_mail;
mod source_state;

pub use source_state::SourceState;
pub(crate) use source_state::watched_sources;
