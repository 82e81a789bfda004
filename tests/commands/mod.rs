//! Commands and messages: configuration errors, reload, clean stop, error reports, `audit --verify`, `resend`, `tail`.

mod audit_verify;
mod bad_config;
mod clean_stop;
mod error_reports;
mod journal;
mod reload;
mod resend;
mod tail;
