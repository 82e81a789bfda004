//! A source of type `journal`: follows `journalctl`, and makes what it shows durable together with the cursor.

use std::time::Duration;

use logferry_config::JournalSettings;
use logferry_text::error_chain;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use super::cursor::JournalCursor;
use super::export::{ExportDecoder, JournalEntry};
use super::filter::EntryFilter;
use super::journalctl::{Following, Journalctl};
use super::record::{gap_record, gap_text, record};
use super::resume::{EntryVerdict, JournalGap, JournalResume, QuietJournal};
use crate::capture::{Position, Refused};
use crate::line_record;
use crate::record::Record;
use crate::source::{SourceContext, SourceError};

/// Bytes that are read at one time; what they hold is one append.
const READ_MAX: usize = 256 << 10;
/// How long nothing may come after a start before the newest entry is looked at, and how often a place is kept that only
/// other units' entries have moved.
const TICK: Duration = Duration::from_secs(10);
/// The key of the cursor in the position.
const CURSOR: &str = "cursor";

/// Reads the journal until the shutdown, or until `journalctl` ends.
pub async fn run(settings: &JournalSettings, context: &SourceContext) -> Result<(), SourceError> {
    follow(&Journalctl::default(), settings, context, TICK).await
}

pub(super) async fn follow(
    journalctl: &Journalctl,
    settings: &JournalSettings,
    context: &SourceContext,
    tick: Duration,
) -> Result<(), SourceError> {
    let position = context.capture.position();
    let cursor = position
        .as_ref()
        .and_then(|position| position.get(CURSOR)?.as_str());
    let mut reader = EntryReader {
        context,
        filter: EntryFilter::new(&settings.units, &settings.matches),
        machine: machine_id(),
        resume: JournalResume::new(cursor.map(JournalCursor::parse)),
        is_last_of_this_host: false,
        after_boot: Vec::new(),
        kept: cursor.map(str::to_owned),
        kept_at: Instant::now(),
    };
    let mut is_from_beginning = false;
    loop {
        let start = reader.resume.start().filter(|_| !is_from_beginning);
        let following = journalctl.follow(start)?;
        context.status.running();
        match reader.read_all(following, journalctl, tick).await? {
            Next::Stop => return Ok(()),
            Next::FromBeginning => is_from_beginning = true,
        }
    }
}

/// Why a `journalctl` was ended.
enum Next {
    Stop,
    FromBeginning,
}

/// The first entry of a boot.
struct BootStart {
    first: JournalCursor,
    /// What may be missing before it.
    gap: JournalGap,
    /// How many records stand before it.
    records_before: usize,
}

struct EntryReader<'a> {
    context: &'a SourceContext,
    filter: EntryFilter,
    machine: Option<String>,
    resume: JournalResume,
    /// Whether the last known entry is one of this host: the boots of other hosts say nothing about this one's.
    is_last_of_this_host: bool,
    /// The first entries of boots after a restart of the host that are not looked at yet.
    after_boot: Vec<BootStart>,
    /// The durable cursor, and since when it is.
    kept: Option<String>,
    kept_at: Instant,
}

impl EntryReader<'_> {
    async fn read_all(
        &mut self,
        mut following: Following,
        journalctl: &Journalctl,
        tick: Duration,
    ) -> Result<Next, SourceError> {
        let mut decoder = ExportDecoder::new(self.context.max_record);
        let mut buffer = vec![0; READ_MAX];
        let mut ticks = tokio::time::interval_at(Instant::now() + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let len = tokio::select! {
                () = self.context.shutdown.cancelled() => {
                    following.stop().await;
                    return Ok(Next::Stop);
                }
                _ = ticks.tick() => {
                    if let Some(messages) = following.messages() {
                        self.context.status.problem(format!("journalctl says: {messages}"));
                    }
                    let is_lost = self.context.shutdown.run_until_cancelled(self.is_lost(journalctl)).await;
                    let Some(is_lost) = is_lost else {
                        following.stop().await;
                        return Ok(Next::Stop);
                    };
                    if is_lost? {
                        following.stop().await;
                        return Ok(Next::FromBeginning);
                    }
                    if self.keep(Vec::new(), tick).await.is_err() {
                        return Ok(Next::Stop);
                    }
                    continue;
                }
                read = following.read(&mut buffer) => read?,
            };
            if len == 0 {
                let ended = self.context.shutdown.run_until_cancelled(following.ended()).await;
                return ended.map_or(Ok(Next::Stop), |error| Err(error.into()));
            }
            let mut records = Vec::new();
            decoder.push(buffer.get(..len).unwrap_or_default(), |entry| {
                self.entry(&entry, &mut records);
            })?;
            let told = self
                .context
                .shutdown
                .run_until_cancelled(self.tell_hidden(journalctl, &mut records))
                .await;
            if told.is_none() {
                following.stop().await;
                return Ok(Next::Stop);
            }
            if self.keep(records, tick).await.is_err() {
                following.stop().await;
                return Ok(Next::Stop);
            }
        }
    }

    /// Puts the gap before the first entry of a boot, if there is one: that boot has an older entry. If `journalctl` does not tell
    /// whether it has, a gap is told, too: what may be missing must not stay unsaid, and the source goes on.
    async fn tell_hidden(&mut self, journalctl: &Journalctl, records: &mut Vec<Record>) {
        let mut gaps = Vec::new();
        for start in std::mem::take(&mut self.after_boot) {
            let BootStart {
                first,
                gap,
                records_before,
            } = start;
            let Some(boot) = first.boot() else { continue };
            let oldest = journalctl.oldest_of(boot).await.unwrap_or_else(|error| {
                let error = error_chain(&error);
                tracing::warn!(source = %self.context.name, error, "a boot's oldest entry cannot be read");
                None
            });
            let is_hidden = oldest.is_none_or(|oldest| !oldest.is_same_entry(&first));
            if is_hidden {
                self.context.status.gap(&gap_text(&gap));
                gaps.push((records_before, gap_record(&gap)));
            }
        }
        // The last one first: the places of those before it stay.
        for (before, gap) in gaps.into_iter().rev() {
            records.insert(before.min(records.len()), gap);
        }
    }

    /// Adds what an entry is to the records.
    fn entry(&mut self, entry: &JournalEntry, records: &mut Vec<Record>) {
        let Some(cursor) = entry.text("__CURSOR").map(JournalCursor::parse) else {
            return;
        };
        let is_of_this_host = match (&self.machine, entry.text("_MACHINE_ID")) {
            (Some(here), Some(there)) => here == there,
            _ => true,
        };
        match self.resume.entry(&cursor) {
            EntryVerdict::Known => {
                self.is_last_of_this_host = is_of_this_host;
                return;
            }
            EntryVerdict::New => {}
            EntryVerdict::NewAfterBoot(gap) => {
                if is_of_this_host && self.is_last_of_this_host {
                    self.after_boot.push(BootStart {
                        first: cursor.clone(),
                        gap,
                        records_before: records.len(),
                    });
                }
            }
            EntryVerdict::NewAfterGap(gap) => {
                self.context.status.gap(&gap_text(&gap));
                records.push(gap_record(&gap));
            }
        }
        if is_of_this_host && self.filter.takes(entry) {
            let mut record = record(entry, cursor.as_str());
            let is_cut = line_record::fit(&mut record, entry.lost, self.context.max_record);
            self.context.status.count_cut(u64::from(is_cut));
            records.push(record);
        }
    }

    /// Makes the records and the new place durable. A place alone is kept now and then only: read again, it costs nothing.
    async fn keep(&mut self, records: Vec<Record>, interval: Duration) -> Result<(), Refused> {
        let last = self.resume.last().map(JournalCursor::as_str);
        let has_moved = last != self.kept.as_deref();
        if records.is_empty() && (!has_moved || self.kept_at.elapsed() < interval) {
            return Ok(());
        }
        let position: Option<Position> = last.map(|cursor| json!({ CURSOR: cursor }));
        let capture = &self.context.capture;
        capture
            .append_waiting(&records, position.as_ref(), &self.context.shutdown)
            .await?;
        self.kept = last.map(str::to_owned);
        self.kept_at = Instant::now();
        Ok(())
    }

    /// Whether the running `journalctl` will not show what is written.
    async fn is_lost(&self, journalctl: &Journalctl) -> Result<bool, SourceError> {
        if !self.resume.is_seeking() {
            return Ok(false);
        }
        let newest = journalctl.newest().await?;
        Ok(self.resume.silence(newest.as_ref()) == QuietJournal::FromBeginning)
    }
}

/// The identity of this host (machine-id(5)); without one the journals of all hosts are taken.
fn machine_id() -> Option<String> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    (!id.is_empty()).then(|| id.to_owned())
}
