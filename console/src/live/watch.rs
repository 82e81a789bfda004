//! One watcher: what it has seen, and when it gets the next message.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::events::MatchedLines;
use super::hub::LiveHub;
use super::matches::SharedQuery;
use super::ring::SinceTick;

/// At most four messages a second.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(250);
/// A watcher waits for the follower for so long. Then it begins all the same: what is missing is named once it follows.
const BEGIN_WAIT: Duration = Duration::from_secs(2);
/// So many ticks are new.
const NEW_TICKS: usize = 4;

/// Where a watcher begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchStart {
    /// With what comes.
    New,
    /// With what came a moment ago, and what comes.
    Recent,
    /// Behind the message of this number, which it had before its connection broke.
    After(u64),
}

/// A watcher. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct LiveWatcher {
    hub: Arc<LiveHub>,
    query: Arc<SharedQuery>,
    newest: watch::Receiver<u64>,
    /// The tick that it has seen last.
    seen: u64,
    /// What the first message has beside what comes.
    first: Option<SinceTick>,
    /// When it began; `None`: it goes on behind a message.
    opened: Option<Timestamp>,
    next_message: Instant,
}

impl LiveWatcher {
    /// Begins to watch; `None` if too many do. When it has begun, what is written comes.
    pub(crate) async fn start(
        hub: &Arc<LiveHub>,
        query: Arc<SharedQuery>,
        start: WatchStart,
    ) -> Option<Self> {
        if !hub.enter() {
            return None;
        }
        let newest = hub.newest();
        // Leaves the hub also if its client goes away meanwhile.
        let mut watcher = Self {
            hub: Arc::clone(hub),
            query,
            newest,
            seen: 0,
            first: None,
            opened: None,
            next_message: Instant::now(),
        };
        let mut following = hub.following();
        let _ = tokio::time::timeout(BEGIN_WAIT, following.wait_for(|is_following| *is_following)).await;
        // One look at the ring: a tick after it is newer than what was seen.
        watcher.opened = Some(Timestamp::now());
        let first = match start {
            WatchStart::New => SinceTick {
                ticks: Vec::new(),
                ..hub.recent()
            },
            WatchStart::Recent => hub.recent(),
            WatchStart::After(number) => {
                watcher.opened = None;
                hub.since(number)
            }
        };
        watcher.seen = first.newest;
        watcher.first = Some(first);
        Some(watcher)
    }

    /// The number of the last tick that it has seen, or that had nothing for it; `None` before its first message.
    pub(crate) fn seen(&self) -> Option<u64> {
        self.first.is_none().then_some(self.seen)
    }

    /// The next message and its number: all that came since the last one. Waits for it; ticks without a match give none.
    ///
    /// Cancel safe: what was not returned comes with the next call.
    pub(crate) async fn next(&mut self) -> (u64, MatchedLines) {
        if let Some(first) = self.first.clone() {
            let lines = self.matched(first).await;
            self.first = None;
            if !lines.is_empty() {
                self.next_message = Instant::now() + MESSAGE_INTERVAL;
                return (self.seen, lines);
            }
        }
        loop {
            sleep_until(self.next_message).await;
            let seen = self.seen;
            // The sender lives as long as the hub.
            let _ = self.newest.wait_for(|newest| *newest > seen).await;
            let since = self.hub.since(seen);
            let last = since.newest;
            let lines = self.matched(since).await;
            self.seen = last;
            self.next_message = Instant::now() + MESSAGE_INTERVAL;
            if !lines.is_empty() {
                return (self.seen, lines);
            }
        }
    }

    /// The follower has tried the query on what is new. What is older may take a while.
    async fn matched(&self, since: SinceTick) -> MatchedLines {
        let mut lines = if since.ticks.len() <= NEW_TICKS {
            MatchedLines::of(&self.query, since)
        } else {
            let query = Arc::clone(&self.query);
            let found = tokio::task::spawn_blocking(move || MatchedLines::of(&query, since));
            found.await.unwrap_or_default()
        };
        if let Some(opened) = self.opened {
            lines.forget_holes_before(opened);
        }
        lines
    }
}

impl Drop for LiveWatcher {
    fn drop(&mut self) {
        self.hub.leave();
    }
}
