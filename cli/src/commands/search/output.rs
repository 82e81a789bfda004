//! Prints hits, progress and the end of a search.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use logferry_numbers::IndexGap;
use logferry_search::{GapJson, HitJson, time_text};
use logferry_store::{Hit, Query, SearchEnd, SearchObserver, SearchProgress};
use logferry_text::{count, count_of, size};
use serde_json::json;

use crate::args::SearchArgs;
use crate::output::console::{self, PROGRESS_INTERVAL, ProgressLine, ShowInterval};
use crate::output::exit::Result;
use crate::output::terminal;

/// Output is written when it has so many bytes, and when the search goes on without hits.
const BUFFER_BYTES: usize = 64 << 10;

/// Before this, no progress is shown.
const QUIET: Duration = Duration::from_secs(1);

/// So many gaps are named to people; for programs all are.
const GAPS_NAMED: usize = 10;

/// Prints a search.
pub(super) struct SearchOutput<'q> {
    query: &'q Query,
    options: &'q SearchArgs,
    started: Instant,
    is_terminal: bool,
    buffer: Vec<u8>,
    progress_line: ProgressLine,
    interval: ShowInterval,
    /// The reader of stdout went away, or the time is up.
    has_stopped: bool,
    error: Option<io::Error>,
}

impl<'q> SearchOutput<'q> {
    pub(super) fn new(query: &'q Query, options: &'q SearchArgs, started: Instant) -> Self {
        Self {
            query,
            options,
            started,
            is_terminal: io::stdout().is_terminal(),
            buffer: Vec::new(),
            progress_line: ProgressLine::new(),
            interval: ShowInterval::new(PROGRESS_INTERVAL),
            has_stopped: false,
            error: None,
        }
    }

    /// Whether no more pages are wanted.
    pub(super) fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// Prints the end: how far the search came, and what was never indexed of it.
    pub(super) fn finish(&mut self, end: &SearchEnd, gaps: &[IndexGap]) -> Result<()> {
        let searched_to = end.progress.searched_to_ms.map(time_text);
        let hits = end.progress.hits;
        if self.options.json {
            let next = end.next.as_ref().map(ToString::to_string);
            let gaps: Vec<_> = gaps.iter().map(GapJson::of).collect();
            let last = json!({
                "searched_to": searched_to, "complete": end.is_complete, "hits": hits, "next": next,
                "damage": end.damage, "gaps": gaps,
            });
            self.buffer.extend(format!("{last}\n").bytes());
        } else if self.options.count {
            self.buffer.extend(format!("{hits}\n").bytes());
        }
        self.flush();
        if let Some(error) = self.error.take() {
            return Err(error.into());
        }
        if !self.options.json {
            for gap in gaps.iter().take(GAPS_NAMED) {
                console::print_error(&format!(
                    "{} of {} were never indexed, so lines of it may be missing here: {}",
                    size(gap.bytes),
                    gap.batch,
                    gap.reason
                ));
            }
            if let Some(more) = gaps.get(GAPS_NAMED..).filter(|more| !more.is_empty()) {
                let number = u64::try_from(more.len()).unwrap_or(u64::MAX);
                let bytes = more.iter().map(|gap| gap.bytes).sum();
                console::print_error(&format!(
                    "{} with {}; --json names them all",
                    count_of(number, "more such gap"),
                    size(bytes)
                ));
            }
            self.print_summary(end, searched_to.as_deref());
        }
        Ok(())
    }

    fn print_summary(&self, end: &SearchEnd, searched_to: Option<&str>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let lines = count_of(end.progress.hits, "line");
        let to = searched_to.map_or_else(|| "nothing".to_owned(), |time| format!("back to {time}"));
        let text = match &end.next {
            None if end.is_complete => {
                format!("{lines}; all that is kept of this time was searched, in {seconds:.2} s")
            }
            // Only a count that was stopped: it has counted some older lines, so none goes on behind it.
            None => {
                let counted = searched_to.map_or_else(
                    || "only some were counted".to_owned(),
                    |time| format!("all back to {time} were counted, and some older ones"),
                );
                format!("{lines}; {counted}, in {seconds:.2} s; give it more time, or a later --since")
            }
            Some(next) => {
                format!("{lines}; {to} was searched, in {seconds:.2} s; go on with --after '{next}'")
            }
        };
        console::print_error(&text);
        if end.progress.hits > 0 {
            return;
        }
        if let Some(word) = self.options.words.iter().find(|word| word.contains('|')) {
            console::print_error(&format!(
                "`{word}` was read as a text with a | in it; to find lines with one or the other, write --regex '{word}'"
            ));
        }
        let fields: Vec<&str> = self.query.field_names().collect();
        if !fields.is_empty() {
            let name = fields.join(", ");
            console::print_error(&format!(
                "`{name}` was read as the name of a field; to search for text with a colon, write it in quotes: '\"a:b\"'"
            ));
        }
    }

    fn write_hit(&mut self, hit: &Hit) {
        if self.options.json {
            // Its strings and numbers can be written.
            self.buffer
                .extend(serde_json::to_vec(&HitJson::of(hit)).unwrap_or_default());
        } else if self.is_terminal {
            self.buffer
                .extend(format!("\x1b[2m{}\x1b[0m ", hit.source).bytes());
            terminal::highlight(&hit.line, &self.query.highlights(&hit.line), &mut self.buffer);
        } else {
            self.buffer.extend_from_slice(&hit.line);
        }
        self.buffer.push(b'\n');
    }

    fn flush(&mut self) {
        if self.progress_line.is_terminal {
            self.progress_line.clear();
        }
        if self.buffer.is_empty() {
            return;
        }
        match console::print_while_read(&self.buffer) {
            Ok(is_read) => self.has_stopped |= !is_read,
            Err(error) => {
                self.has_stopped = true;
                self.error = Some(error);
            }
        }
        self.buffer.clear();
    }
}

impl SearchObserver for SearchOutput<'_> {
    fn hit(&mut self, hit: &Hit) -> bool {
        self.write_hit(hit);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
        !self.has_stopped
    }

    fn progress(&mut self, progress: &SearchProgress) -> bool {
        if !self.buffer.is_empty() {
            self.flush();
        }
        let elapsed = self.started.elapsed();
        self.has_stopped |= self.options.timeout.is_some_and(|timeout| elapsed >= timeout);
        let is_shown = self.progress_line.is_terminal && !self.options.json;
        if is_shown && elapsed >= QUIET && self.interval.is_due() {
            let to = progress.searched_to_ms.map(time_text).unwrap_or_default();
            let (scanned, hits) = (size(progress.scanned_bytes), count(progress.hits));
            self.progress_line
                .show(&format!("back to {to}, {scanned} read, {hits} found"));
        }
        !self.has_stopped
    }
}
