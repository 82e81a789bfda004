//! The console: the pipeline and its lines in a browser, and an API for programs.
//!
//! It only reads ledger, spool and index. What people do here (pins, tickets, hidden lines, sessions) is in its own
//! `console.db`. What relay-side roles have to do for people goes to them as requests, since the console's user may not write
//! their folders.
//!
//! Rooms, each using those behind it: `server` (port, routes, layers), `api` (`/api/v1`), `log_page` (the addresses of the fifth
//! predecessor), `pages` (what people see), `login` (who asks), `app` (what handlers share), `live` (lines as they come), `host`
//! (reads of ledger and index), `database` (`console.db`), `access` (passwords, waits), `answer` (problems, JSON, bodies).
//!
//! Invariants:
//! - Nothing on the path from log to destination needs it: killed, full or slow, it costs that path nothing.
//! - **A log line is hostile text.** It leaves this crate only as a JSON string, as text that a template escapes, or as a
//!   download with a type that no browser runs.
//! - No handler works without a principal, but for the login, the assets and the health page.
//! - Blocking work (SQLite, files, argon2) is never on an async thread.
//! - Everything that can grow has a bound.

mod access;
mod accounts;
mod answer;
mod api;
mod app;
mod assets;
mod database;
mod error;
mod host;
mod live;
mod log_page;
mod login;
mod pages;
mod server;
#[cfg(test)]
mod tests;

pub use access::scope::AccessScope;
pub use accounts::{AccountList, Accounts, ListedToken, ListedUser};
pub use error::ConsoleError;
pub use server::run;
