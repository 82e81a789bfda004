//! What watchers and the follower share.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_store::{Query, QueryError, ReadLines};
use tokio::sync::watch;

use super::matches::SharedQuery;
use super::ring::{BrokenTime, LostBytes, SinceTick, TickRing};

/// Lines are followed for so long after the last watcher has gone: a browser that reconnects misses nothing.
const LINGER: Duration = Duration::from_mins(1);

/// Watchers at one time.
pub(crate) const WATCHERS_MAX: usize = 1000;

/// See the module `live`.
#[derive(Debug)]
pub(crate) struct LiveHub {
    ring: Mutex<TickRing>,
    newest: watch::Sender<u64>,
    /// Whether lines are followed now: what is written from then on is seen.
    following: watch::Sender<bool>,
    watchers: Mutex<Watchers>,
    changed: Condvar,
    queries: Mutex<HashMap<String, Weak<SharedQuery>>>,
}

#[derive(Debug)]
struct Watchers {
    count: usize,
    last_left: Option<Instant>,
    is_stopped: bool,
}

impl LiveHub {
    pub(crate) fn new(now: Timestamp) -> Arc<Self> {
        let ring = TickRing::new(now);
        Arc::new(Self {
            newest: watch::Sender::new(ring.newest()),
            following: watch::Sender::new(false),
            ring: Mutex::new(ring),
            watchers: Mutex::new(Watchers {
                count: 0,
                last_left: None,
                is_stopped: false,
            }),
            changed: Condvar::new(),
            queries: Mutex::default(),
        })
    }

    /// The query with this name, shared with all who watch it; made if nobody does.
    pub(crate) fn query(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Query, QueryError>,
    ) -> Result<Arc<SharedQuery>, QueryError> {
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = queries.get(name).and_then(Weak::upgrade) {
            return Ok(known);
        }
        queries.retain(|_, query| query.strong_count() > 0);
        let query = Arc::new(SharedQuery::new(make()?));
        queries.insert(name.to_owned(), Arc::downgrade(&query));
        Ok(query)
    }

    /// Counts a watcher; false if there are too many.
    pub(super) fn enter(&self) -> bool {
        let mut watchers = self.watchers();
        if watchers.count >= WATCHERS_MAX {
            return false;
        }
        watchers.count += 1;
        self.changed.notify_all();
        true
    }

    pub(super) fn leave(&self) {
        let mut watchers = self.watchers();
        watchers.count -= 1;
        watchers.last_left = Some(Instant::now());
    }

    /// Ends the follower.
    pub(crate) fn stop(&self) {
        self.watchers().is_stopped = true;
        self.changed.notify_all();
    }

    /// For the follower: waits until somebody watches; false at the stop.
    pub(super) fn wait_for_watchers(&self) -> bool {
        let watchers = self.watchers();
        let waited = self
            .changed
            .wait_while(watchers, |it| it.count == 0 && !it.is_stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).is_stopped
    }

    /// For the follower: waits for so long; false if it is to stop, or nobody watches any more.
    pub(super) fn wait_while_watched(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.watchers(), time, |it| !it.is_stopped);
        let (watchers, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_left = watchers.count == 0 && watchers.last_left.is_none_or(|at| at.elapsed() > LINGER);
        !watchers.is_stopped && !is_left
    }

    /// For the follower: a new tick. All queries are tried here, so that watchers find the outcome.
    pub(super) fn push(&self, blocks: Vec<ReadLines>, lost: Vec<LostBytes>, broken: Option<BrokenTime>) {
        let tick = self.ring().push(Timestamp::now(), blocks, lost, broken);
        let queries: Vec<_> = {
            let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
            queries.values().filter_map(Weak::upgrade).collect()
        };
        for query in queries {
            query.of(&tick);
        }
        self.newest.send_replace(tick.number);
    }

    /// For the follower: whether it follows.
    pub(super) fn set_following(&self, is_following: bool) {
        self.ring().break_off();
        self.following.send_replace(is_following);
    }

    pub(super) fn following(&self) -> watch::Receiver<bool> {
        self.following.subscribe()
    }

    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    pub(super) fn since(&self, number: u64) -> SinceTick {
        self.ring().since(number, Timestamp::now())
    }

    pub(super) fn recent(&self) -> SinceTick {
        self.ring().recent(Timestamp::now())
    }

    fn ring(&self) -> MutexGuard<'_, TickRing> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
