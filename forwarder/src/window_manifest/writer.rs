//! Writes a destination's window manifests: reads each window from the ledger, has [`due_manifest`] decide, and records the
//! manifests that are due. The worker delivers them from the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_config::{Destination, WindowManifest};
use logferry_ledger::{Batch, BatchId, BatchState, Ledger, LedgerError, SourceReach, Window};
use logferry_protocol::names::SourceId;
use logferry_text::count_of;
use tracing::info;

use crate::schedule::plan::wants_batch;
use crate::window_manifest::revision::{WindowInput, WindowSource, due_manifest};

/// Windows without lines get a manifest for this long, and at most this many at a time.
const EMPTY_FOR: SignedDuration = SignedDuration::from_hours(48);
const EMPTY_MAX: usize = 200;

/// The longest window that can be configured.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The key of a window: its first second and its length.
type Key = (i64, u32);

/// Writes one destination's manifests.
#[derive(Debug)]
pub(crate) struct ManifestWriter {
    destination: Destination,
    settings: WindowManifest,
    since: Option<Timestamp>,
    /// Batches up to this one are listed in a manifest, or never will be.
    done: Option<BatchId>,
}

impl ManifestWriter {
    /// `None` if the destination gets no manifests.
    pub(crate) fn new(destination: &Destination) -> Option<Self> {
        Some(Self {
            settings: destination.window_manifest.clone()?,
            destination: destination.clone(),
            since: None,
            done: None,
        })
    }

    /// Records every manifest that is due at `now`.
    pub(crate) fn write(&mut self, ledger: &mut Ledger, now: Timestamp) -> Result<(), LedgerError> {
        let name = &self.destination.name;
        let since = match self.since {
            Some(since) => since,
            None => *self.since.insert(ledger.manifests_since(name, now)?),
        };
        // The sources are read before the batches: the ledger then has all batches of each source that has gone past a window.
        let sources = self.sources(ledger)?;
        let pending = self.pending(ledger, since)?;
        let mut windows: BTreeMap<Key, Window> = BTreeMap::new();
        for batch in &pending {
            windows.entry(key(batch.window)).or_insert(batch.window);
        }
        for window in self.empty_windows(ledger, since, &windows, now)? {
            windows.insert(key(window), window);
        }
        for window in windows
            .into_values()
            .filter(|window| window.end() <= now.as_second())
        {
            self.write_window(ledger, window, &sources, now)?;
        }
        Ok(())
    }

    /// Records a window's manifest if one is due.
    fn write_window(
        &self,
        ledger: &mut Ledger,
        window: Window,
        sources: &[WindowSource],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let Destination { name, filter, .. } = &self.destination;
        let mut batches = ledger.batches_of_window(window, name)?;
        batches.retain(|it| wants_batch(filter, &it.batch));
        let previous = ledger.last_manifest(window, name)?;
        let input = WindowInput {
            // A window keeps the offset of its first manifest.
            window: previous.as_ref().map_or(window, |previous| previous.window),
            batches: &batches,
            sources,
            previous: previous
                .as_ref()
                .map(|previous| (previous.revision, previous.name.as_str())),
        };
        let Some(mut manifest) = due_manifest(input, self.settings.wait, now) else {
            return Ok(());
        };
        // When clocks are set back, an hour repeats, and its names are taken.
        let base = manifest.name.trim_end_matches(".json").to_owned();
        let mut number = 2;
        while ledger.has_manifest_named(name, &manifest.name)? {
            manifest.name = format!("{base}.{number}.json");
            number += 1;
        }
        ledger.add_manifest(name, &manifest, now)?;
        let (manifest, batches) = (&manifest.name, manifest.batches.len());
        let of = count_of(batches as u64, "batch");
        info!(destination = %name, manifest, batches, "window manifest {manifest} written for {name}, {of}");
        Ok(())
    }

    /// The batches that belong in a manifest and are not listed in one yet.
    fn pending(&mut self, ledger: &Ledger, since: Timestamp) -> Result<Vec<Batch>, LedgerError> {
        let Destination { name, filter, .. } = &self.destination;
        let newest = ledger.newest_batch()?;
        let mut pending: Vec<Batch> = Vec::new();
        for batch in ledger.batches_without_manifest(name, since, self.done)? {
            // A batch that was sent before the destination was configured is not expected there.
            let is_expected = wants_batch(filter, &batch)
                && (batch.state != BatchState::Sent || ledger.delivery(batch.id, name)?.is_some());
            if is_expected {
                pending.push(batch);
            }
        }
        self.done = pending.first().map_or(newest, |batch| Some(batch.id.before()));
        Ok(pending)
    }

    /// The windows that are over and have no lines, on the grid of the latest window with lines.
    fn empty_windows(
        &self,
        ledger: &Ledger,
        since: Timestamp,
        pending: &BTreeMap<Key, Window>,
        now: Timestamp,
    ) -> Result<Vec<Window>, LedgerError> {
        let from = since.max(now.saturating_sub(EMPTY_FOR).unwrap_or(Timestamp::MIN));
        // Includes the window that contains `from`: it is on the same grid.
        let known_from = from.saturating_sub(LONGEST_WINDOW).unwrap_or(Timestamp::MIN);
        let known_windows = ledger.windows_with_manifest(&self.destination.name, known_from)?;
        let latest = known_windows
            .iter()
            .chain(pending.values())
            .max_by_key(|window| window.start);
        let Some(latest) = latest else {
            return Ok(Vec::new());
        };
        let known: BTreeSet<Key> = known_windows
            .iter()
            .copied()
            .map(key)
            .chain(pending.keys().copied())
            .collect();
        let step = i64::from(latest.seconds.max(1));
        let mut start = latest.first_start_from(from.as_second());
        let mut empty = Vec::new();
        while start + step <= now.as_second() && empty.len() < EMPTY_MAX {
            let window = Window { start, ..*latest };
            if !known.contains(&key(window)) {
                empty.push(window);
            }
            start += step;
        }
        Ok(empty)
    }

    /// The sources whose lines the destination wants.
    fn sources(&self, ledger: &Ledger) -> Result<Vec<WindowSource>, LedgerError> {
        let wants = &self.destination.filter;
        let reached: BTreeMap<SourceId, Option<i64>> = ledger
            .source_progress()?
            .into_iter()
            .map(|reach| (reach.source, reach.reached))
            .collect();
        let mut sources: Vec<WindowSource> = Vec::new();
        let mut known = BTreeSet::new();
        for record in ledger.sources()? {
            known.insert(record.source.clone());
            if wants.accepts(&record.source, &record.group, None) {
                let reached = reached.get(&record.source).copied().flatten();
                sources.push(WindowSource {
                    reach: SourceReach::new(&record, reached),
                    source: record.source,
                    group: Some(record.group),
                });
            }
        }
        // The group of a source without contact is not known.
        let expected = self.settings.expected_sources.iter().filter(|source| {
            wants.groups.is_none() && wants.sources.allows_name(source) && !known.contains(*source)
        });
        sources.extend(expected.map(|source| WindowSource {
            source: source.clone(),
            group: None,
            reach: SourceReach::default(),
        }));
        Ok(sources)
    }
}

fn key(window: Window) -> Key {
    (window.start, window.seconds)
}

/// The shortest time between two writes: deliveries make the worker plan much more often.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(1);
