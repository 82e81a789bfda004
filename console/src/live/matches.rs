//! What of a tick fulfils a query. Watchers with the same query share it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use logferry_store::{Hit, Query};

use super::ring::Tick;

/// Lines of a tick that are shown, the newest.
pub(crate) const SHOWN_MAX: usize = 100;
/// Bytes of these lines; beside them a line is shown in part.
const SHOWN_BYTES_MAX: usize = 256 << 10;
/// Bytes of one line that are shown.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Ticks whose matches are kept: for watchers that are not quite together.
const KEPT: usize = 6;

/// The lines of a tick that fulfil a query.
#[derive(Debug, Default)]
pub(crate) struct TickMatch {
    pub(crate) matched: u64,
    /// The newest, oldest first.
    pub(crate) shown: Vec<Arc<ShownLine>>,
}

/// A line that is shown, perhaps not to its end.
#[derive(Debug)]
pub(crate) struct ShownLine {
    pub(crate) hit: Hit,
    pub(crate) is_cut: bool,
}

/// A query, with its matches of the newest ticks.
#[derive(Debug)]
pub(crate) struct SharedQuery {
    query: Query,
    newest: Mutex<VecDeque<(u64, Arc<TickMatch>)>>,
}

impl SharedQuery {
    pub(crate) fn new(query: Query) -> Self {
        Self {
            query,
            newest: Mutex::default(),
        }
    }

    /// The matches of a tick, found by whoever asks first.
    pub(super) fn of(&self, tick: &Tick) -> Arc<TickMatch> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = newest.iter().find(|(number, _)| *number == tick.number) {
            return Arc::clone(known);
        }
        let found = Arc::new(find(&self.query, tick));
        newest.push_back((tick.number, Arc::clone(&found)));
        if newest.len() > KEPT {
            newest.pop_front();
        }
        found
    }
}

fn find(query: &Query, tick: &Tick) -> TickMatch {
    let mut found = TickMatch::default();
    let mut bytes = 0;
    // The newest blocks first: what they have not room for is older.
    for block in tick.blocks.iter().rev() {
        let matching = block.matching(query);
        found.matched += u64::try_from(matching.len()).unwrap_or(0);
        for number in matching.into_iter().rev() {
            if found.shown.len() >= SHOWN_MAX || bytes >= SHOWN_BYTES_MAX {
                break;
            }
            let Some((hit, is_cut)) = block.hit_up_to(number, LINE_BYTES_MAX) else {
                continue;
            };
            bytes += hit.line.len();
            found.shown.push(Arc::new(ShownLine { hit, is_cut }));
        }
    }
    found.shown.reverse();
    found
}
