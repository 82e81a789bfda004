//! The sender's state folder: lost, damaged, outdated, copied, locked or read-only.

mod checkpoint;
mod edited_logs;
mod log_settings;
mod lost;
mod two_senders;
mod unseen_logs;
