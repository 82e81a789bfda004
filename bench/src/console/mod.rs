//! The console: the time of each page and route on a large ledger (`pages`), and what live streams cost (`live`).
//!
//! `filled_host` makes ledger, spool, numbers and store as they are after months; `http` asks; `daemon` starts a console.

mod daemon;
mod filled_host;
mod http;
pub(crate) mod live;
pub(crate) mod pages;
