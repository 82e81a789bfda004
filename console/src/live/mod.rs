//! Lines as they become durable, for many watchers at once.
//!
//! One thread (`follow`) reads each durable line once and puts it into a `ring` of ticks, one each 250 ms. Each watcher takes from
//! the ring what came since its last message (`watch`): so a slow one gets fewer messages with larger numbers, and holds nobody
//! up. Watchers with the same query share its evaluation (`matches`).
//!
//! Invariants:
//! - **What is not shown is counted**: a message says how many lines matched, were shown and were skipped. Ticks that left the
//!   ring before a watcher took them are named as a hole, with their times.
//! - Memory is bounded: the ring by bytes and ticks, a message by lines and bytes, watchers by number.
//! - Nothing is read while nobody watches.

mod events;
mod follow;
mod hub;
mod matches;
mod ring;
mod watch;

pub(crate) use events::{MatchedLines, keep_alive, message};
pub(crate) use follow::start;
pub(crate) use hub::LiveHub;
pub(crate) use matches::SharedQuery;
pub(crate) use watch::{LiveWatcher, WatchStart};
