//! Searches in store and spool, and the lines around a line.
//!
//! A search runs on a thread for blocking work until its page is full, its time is up, or whoever asked went away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::FormatsByLog;
use logferry_fields::LineReader;
use logferry_ledger::Ledger;
use logferry_numbers::IndexGap;
use logferry_search::{
    LineId, LineSelection, LinesAround, SearchError, SearchScope, SearchedHost, lines_around,
};
use logferry_store::{Hit, MatchedLine, Query, SearchEnd, SearchObserver, SearchPage, SearchProgress};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::AppState;
use crate::answer::problem::Problem;
use crate::host::blocking;

/// How long a search waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// How long one line is looked for.
const LINE_BUDGET: Duration = Duration::from_secs(20);

/// What is searched for, of what, and how long.
#[derive(Debug, Clone)]
pub(crate) struct LineSearch {
    pub(crate) query: Query,
    pub(crate) selection: LineSelection,
    pub(crate) page: SearchPage,
    pub(crate) budget: Duration,
}

/// What people should know about a search beside its hits.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchFacts {
    pub(crate) end: SearchEnd,
    pub(crate) notes: Vec<String>,
    pub(crate) gaps: Vec<IndexGap>,
}

/// The right to search, one of few.
pub(crate) type SearchTurn = Arc<OwnedSemaphorePermit>;

async fn turn_of(turns: &Arc<Semaphore>, busy: &str) -> Result<SearchTurn, Problem> {
    let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(turns).acquire_owned()).await;
    match turn {
        Ok(Ok(turn)) => Ok(Arc::new(turn)),
        _ => Err(Problem::unavailable(busy)),
    }
}

/// Takes hits, on the thread of the search. False ends it.
pub(crate) trait HitTaker: Send + 'static {
    fn hit(&mut self, hit: &Hit) -> bool;

    /// A line that is only counted.
    fn matched(&mut self, _: &MatchedLine<'_>, _: &mut LineReader<'_>) {}

    fn progress(&mut self, _: &SearchProgress) -> bool {
        true
    }
}

/// Ends a search when it is dropped: with the request that it is for.
#[derive(Debug)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct BoundedObserver<'a, T> {
    taker: &'a mut T,
    until: Instant,
    is_cancelled: &'a AtomicBool,
}

impl<T> BoundedObserver<'_, T> {
    fn goes_on(&self) -> bool {
        !self.is_cancelled.load(Ordering::Relaxed) && Instant::now() < self.until
    }
}

impl<T: HitTaker> SearchObserver for BoundedObserver<'_, T> {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.taker.hit(hit) && !self.is_cancelled.load(Ordering::Relaxed)
    }

    fn matched(&mut self, line: &MatchedLine<'_>, reader: &mut LineReader<'_>) {
        self.taker.matched(line, reader);
    }

    fn progress(&mut self, progress: &SearchProgress) -> bool {
        self.taker.progress(progress) && self.goes_on()
    }
}

impl AppState {
    /// Searches one page; returns the taker with what it took. Cancel safe: a dropped search ends.
    pub(crate) async fn search<T: HitTaker>(
        &self,
        search: LineSearch,
        taker: T,
    ) -> Result<(T, SearchFacts), Problem> {
        let turn = self.search_turn().await?;
        self.search_page(turn, search, taker).await
    }

    /// The turn of a search.
    pub(crate) async fn search_turn(&self) -> Result<SearchTurn, Problem> {
        turn_of(
            &self.searches,
            "too many searches run at the same time; try again",
        )
        .await
    }

    /// The turn of an export, for all of its pages.
    pub(crate) async fn export_turn(&self) -> Result<SearchTurn, Problem> {
        let busy = "too many exports run at the same time; wait until one has ended, and try again";
        turn_of(&self.exports, busy).await
    }

    /// The turn of a download of a batch.
    pub(crate) async fn download_turn(&self) -> Result<SearchTurn, Problem> {
        let busy = "too many downloads run at the same time; wait until one has ended, and try again";
        turn_of(&self.downloads, busy).await
    }

    /// Searches one page; the turn lasts as long as the search, also if nobody waits for it any more.
    pub(crate) async fn search_page<T: HitTaker>(
        &self,
        turn: SearchTurn,
        search: LineSearch,
        mut taker: T,
    ) -> Result<(T, SearchFacts), Problem> {
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&is_cancelled));
        let state = self.clone();
        blocking(move || {
            let _turn = turn;
            let LineSearch {
                query,
                selection,
                page,
                budget,
            } = search;
            let facts = state.with_lines(|host| {
                let scope = SearchScope::open(host, &selection)?;
                let mut observer = BoundedObserver {
                    taker: &mut taker,
                    until: Instant::now() + budget,
                    is_cancelled: &is_cancelled,
                };
                let end = scope.search(&query, &page, &mut observer)?;
                Ok(SearchFacts {
                    end,
                    notes: scope.notes().to_vec(),
                    gaps: scope.gaps().to_vec(),
                })
            })?;
            Ok((taker, facts))
        })
        .await
    }

    /// A line with up to so many before and after it; 404 if neither spool nor store have it. It takes the turn of a search, as it
    /// may read as much. Cancel safe.
    pub(crate) async fn line(&self, id: LineId, lines: usize) -> Result<LinesAround, Problem> {
        let turn = self.search_turn().await?;
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&is_cancelled));
        let state = self.clone();
        blocking(move || {
            let _turn = turn;
            let until = Instant::now() + LINE_BUDGET;
            let goes_on = || !is_cancelled.load(Ordering::Relaxed) && Instant::now() < until;
            let found =
                state.with_lines(|host| lines_around(host, &id, lines, Timestamp::now(), &goes_on))?;
            found.ok_or_else(|| {
                Problem::not_found("neither the spool nor the search store have this line (any more)")
            })
        })
        .await
    }
}

impl AppState {
    fn with_lines<T>(
        &self,
        read: impl FnOnce(SearchedHost<'_>) -> Result<T, SearchError>,
    ) -> Result<T, Problem> {
        let formats: &FormatsByLog = &self.settings.shared.formats;
        self.host.with_kept_index(|kept| {
            self.host.with_ledger(|ledger: &Ledger| {
                Ok(read(SearchedHost {
                    ledger,
                    data_dir: self.host.data_dir(),
                    store_dir: Some(self.host.store_dir()),
                    formats,
                    configuration: "the configuration",
                    kept,
                })?)
            })
        })
    }
}
