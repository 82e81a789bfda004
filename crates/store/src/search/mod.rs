//! The search: newest first, page by page, over the store and over lines of the spool that are not in it.
//!
//! What may have hits are parts: a segment, a frame, a batch of the spool. The part with the newest line is searched next. A hit
//! is shown once it is newer than every line of the parts that are left, so what was shown is never incomplete, and the search
//! may end at any time and say how far it has looked.
//!
//! Invariants:
//! - Memory does not grow with the store: one frame is open at a time, hits that wait have a bound (`pending_hits`).
//! - A page costs what is shown on it, however many there were before: what they have read has left nothing, or is known by its
//!   newest line that is left (`parts_read`).
//! - What is damaged is named, and never ends a search.

#[cfg(any(test, fuzzing))]
mod frame_check;
mod frame_files;
mod hit;
mod hit_collector;
mod hit_key;
mod line_tests;
mod parts_read;
mod pending_hits;
mod read_lines;
mod run;
mod spool_lines;

use std::path::Path;

use logferry_durable::Disk;
use logferry_fields::LineReader;

use crate::error::StoreError;
use crate::position::StorePosition;
use crate::query::Query;
use crate::segment::StoreFolder;
#[cfg(any(test, fuzzing))]
pub(crate) use frame_check::check_frame;
use frame_files::FrameFiles;
pub use hit::{CursorError, Hit, SearchCursor};
pub use read_lines::ReadLines;
pub use spool_lines::{SpoolLines, UnindexedBatch};

/// What is wanted of a search.
#[derive(Debug, Clone, Default)]
pub struct SearchPage {
    /// At most so many hits. A page with very long lines may end earlier.
    pub limit: usize,
    /// Only hits behind this: [`SearchEnd::next`] of the page before.
    pub after: Option<SearchCursor>,
    /// Whether the hits have their fields.
    pub with_fields: bool,
    /// Hits are counted and not shown, in any order; there is no limit. [`SearchObserver::matched`] gets each. A search that was
    /// stopped has counted lines that are older than what it has searched, so none goes on behind it.
    pub only_count: bool,
}

/// How far a search is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchProgress {
    /// Everything later than this was searched, in milliseconds since 1970; `None`: everything.
    pub searched_to_ms: Option<i64>,
    /// Hits that were shown, or counted.
    pub hits: u64,
    /// Bytes of lines that were searched; those of frames without a hit, by their filters, do not count.
    pub scanned_bytes: u64,
    /// Frames that were opened.
    pub frames: u64,
}

/// A line that a search counts. Nothing of it is copied.
#[derive(Debug, Clone, Copy)]
pub struct MatchedLine<'a> {
    /// Its time, in milliseconds since 1970.
    pub time_ms: i64,
    /// The source.
    pub source: &'a str,
    /// Its level.
    pub level: Option<&'a str>,
    /// Its HTTP status.
    pub status: Option<u16>,
    /// Its bytes, without the newline.
    pub line: &'a [u8],
}

/// What watches a search.
pub trait SearchObserver {
    /// A hit, older than the one before. False ends the search.
    fn hit(&mut self, hit: &Hit) -> bool;

    /// A line that fulfils the query, if hits are only counted. `reader` reads its fields.
    fn matched(&mut self, _line: &MatchedLine<'_>, _reader: &mut LineReader<'_>) {}

    /// Called at least once for each MiB that is searched. False ends the search: time is up.
    fn progress(&mut self, progress: &SearchProgress) -> bool;
}

/// How a search ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchEnd {
    /// How far it came.
    pub progress: SearchProgress,
    /// Whether everything was searched; else [`Self::next`] goes on.
    pub is_complete: bool,
    /// Where the next page begins; never of hits that were only counted.
    pub next: Option<SearchCursor>,
    /// What could not be searched because it is damaged, a sentence each.
    pub damage: Vec<String>,
}

/// Searches a store.
#[derive(Debug)]
pub struct Searcher<D: Disk> {
    disk: D,
    folder: StoreFolder,
    position: Option<StorePosition>,
}

impl<D: Disk> Searcher<D> {
    /// A search in the store in `store_dir` up to `recorded`, the position in `index.db`. `None`: there is no store.
    pub fn new(disk: D, store_dir: &Path, recorded: Option<StorePosition>) -> Self {
        Self {
            disk,
            folder: StoreFolder::new(store_dir),
            position: recorded,
        }
    }

    /// Searches one page. `spool`: the lines that are not in the store.
    pub fn search(
        &self,
        query: &Query,
        page: &SearchPage,
        spool: Option<&SpoolLines<'_, D>>,
        observer: &mut dyn SearchObserver,
    ) -> Result<SearchEnd, StoreError> {
        let files = match self.position {
            Some(position) => Some(FrameFiles::new(self.disk.clone(), self.folder.clone(), position)?),
            None => None,
        };
        run::PageSearch::new(query, page, files, spool, observer)?.run()
    }
}
