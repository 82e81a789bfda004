//! Window manifests: when a window is complete at a destination, and what is then said of it. Pure.
//!
//! Invariants: a manifest names only files that are at the destination already; what was said is never changed, a
//! file that comes later makes a further revision, with all files in it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;
use logferry_config::{hour_stamp, window_label};
use logferry_ledger::{BatchState, NewManifest, Window, WindowBatch};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use serde::{Serialize, Serializer};

/// A report counts for a window only if it came so long after its end: what nginx and the sender still had in their
/// buffers is then in it.
const GRACE: Duration = Duration::from_secs(30);

/// A source that was not heard of for so long before a window is not waited for, and not called missing.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(7 * 24);

/// A source, as far as it matters whether lines of a window may still come from it.
#[derive(Debug, Clone)]
pub(crate) struct SourceProgress {
    pub(crate) source: SourceId,
    /// `None` if it is expected and was never heard of.
    pub(crate) group: Option<GroupName>,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) last_contact: Option<Timestamp>,
    /// When its sender last reported, by this host's clock.
    pub(crate) reported_at: Option<Timestamp>,
    /// Bytes that it had then and that are not here.
    pub(crate) lag_bytes: u64,
    /// The time that all its logs have come to, in seconds since 1970.
    pub(crate) reached: Option<i64>,
}

/// What is known of a window at a destination.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowInput<'a> {
    pub(crate) window: Window,
    /// The batches that the destination wants, in any state, in the order of their opening.
    pub(crate) batches: &'a [WindowBatch],
    /// The sources it wants.
    pub(crate) sources: &'a [SourceProgress],
    /// Revision and name of the last manifest, if there is one.
    pub(crate) previous: Option<(u32, &'a str)>,
}

/// What has become of a source's lines of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum SourceWindowState {
    /// There are files, and no more is to be expected.
    Delivered,
    /// It reports in, and has no lines of the window.
    Quiet,
    /// It was not heard of since the window began.
    Missing,
    /// It was heard of, but may have lines that are not here.
    Behind,
}

#[derive(Debug, Serialize)]
struct ManifestJson<'a> {
    window: WindowJson,
    revision: u32,
    /// Whether no source is missing or behind.
    whole: bool,
    totals: TotalsJson,
    sources: Vec<SourceJson<'a>>,
    /// RemotePaths of the files that the revision before did not have.
    added: Vec<&'a str>,
    #[serde(serialize_with = "shown")]
    written_at: Timestamp,
}

#[derive(Debug, Serialize)]
struct WindowJson {
    start: String,
    end: String,
    seconds: u32,
    label: String,
}

#[derive(Debug, Default, Serialize)]
struct TotalsJson {
    files: u64,
    lines: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "named as in the JSON")]
struct SourceJson<'a> {
    source: &'a SourceId,
    group: Option<&'a GroupName>,
    state: SourceWindowState,
    #[serde(serialize_with = "shown_if_any")]
    last_contact_at: Option<Timestamp>,
    files: Vec<FileJson<'a>>,
}

#[derive(Debug, Serialize)]
struct FileJson<'a> {
    name: &'a str,
    path: &'a str,
    part: u32,
    log: Option<&'a LogName>,
    lines: u64,
    bytes: u64,
    sha256: Option<&'a str>,
}

/// The manifest that is due at `now`, if one is. Of a window without one it is due when all its files are there and
/// each source has gone past it, or `wait` has passed since its end; of one with a manifest, when all its files are
/// there and one of them is not in it.
pub(crate) fn due_manifest(input: WindowInput<'_>, wait: Duration, now: Timestamp) -> Option<NewManifest> {
    let WindowInput {
        window,
        batches,
        sources,
        previous,
    } = input;
    let end = Timestamp::from_second(window.end()).ok()?;
    let passed = Duration::try_from(now.duration_since(end)).unwrap_or_default();
    let is_there = |it: &WindowBatch| {
        let delivered = it.delivery.as_ref().is_some_and(|it| it.delivered_at.is_some());
        it.batch.state != BatchState::Open && delivered
    };
    // One that was sent before the destination was there is not owed to it.
    let is_owed = |it: &&WindowBatch| it.batch.state != BatchState::Sent || it.delivery.is_some();
    if passed < GRACE || !batches.iter().filter(is_owed).all(is_there) {
        return None;
    }
    let there: Vec<_> = batches.iter().filter(|it| is_there(it)).collect();
    let judged: Vec<_> = sources
        .iter()
        .filter(|source| matters(source, window))
        .map(|source| (source, is_through(source, window, end)))
        .collect();
    let is_due = match previous {
        Some(_) => there.iter().any(|it| !it.is_listed),
        None => passed >= wait || judged.iter().all(|(_, is_through)| *is_through),
    };
    if !is_due {
        return None;
    }
    let revision = previous.map_or(1, |(revision, _)| revision.saturating_add(1));
    let sources = by_source(window, &there, &judged);
    let added = there.iter().filter(|it| previous.is_some() && !it.is_listed);
    let sum = |of: fn(&WindowBatch) -> u64| there.iter().map(|it| of(it)).sum();
    let manifest = ManifestJson {
        window: WindowJson {
            start: shown_in(window, window.start),
            end: shown_in(window, window.end()),
            seconds: window.seconds,
            label: window_label(window.local_start(), window.seconds),
        },
        revision,
        whole: sources.iter().all(|source| {
            matches!(
                source.state,
                SourceWindowState::Delivered | SourceWindowState::Quiet
            )
        }),
        totals: TotalsJson {
            files: there.len() as u64,
            lines: sum(|it| it.batch.contents.lines),
            bytes: sum(|it| it.batch.contents.bytes),
        },
        sources,
        added: added.filter_map(|it| path(it)).map(file_name).collect(),
        written_at: now,
    };
    let content = serde_json::to_string_pretty(&manifest).ok()? + "\n";
    Some(NewManifest {
        window,
        revision,
        name: name(window, previous, revision),
        content,
        batches: there.iter().map(|it| it.batch.id).collect(),
    })
}

/// `WINDOW_26112108_20-39.json`, and `…_r2.json` for the next revision.
fn name(window: Window, previous: Option<(u32, &str)>, revision: u32) -> String {
    let Some((last, previous)) = previous else {
        let start = window.local_start();
        let label = window_label(start, window.seconds);
        return format!("WINDOW_{}_{label}.json", hour_stamp(start));
    };
    let base = previous.strip_suffix(".json").unwrap_or(previous);
    let base = base.strip_suffix(&format!("_r{last}")).unwrap_or(base);
    format!("{base}_r{revision}.json")
}

/// Whether anything could be expected of a source for a window: it was known by then, and not given up long before.
fn matters(source: &SourceProgress, window: Window) -> bool {
    let was_known = source
        .first_seen
        .is_none_or(|first| first.as_second() < window.end());
    let forgotten = i64::try_from(FORGOTTEN_AFTER.as_secs()).unwrap_or(i64::MAX);
    let is_remembered = source
        .last_contact
        .is_none_or(|last| last.as_second() > window.start.saturating_sub(forgotten));
    was_known && is_remembered
}

/// Whether no more lines of a window are to be expected of a source: it has gone past, or has nothing left.
fn is_through(source: &SourceProgress, window: Window, end: Timestamp) -> bool {
    let has_nothing_left = source.lag_bytes == 0
        && source
            .reported_at
            .is_some_and(|at| Duration::try_from(at.duration_since(end)).is_ok_and(|after| after >= GRACE));
    has_nothing_left || source.reached.is_some_and(|reached| reached >= window.end())
}

fn by_source<'a>(
    window: Window,
    there: &[&'a WindowBatch],
    judged: &[(&'a SourceProgress, bool)],
) -> Vec<SourceJson<'a>> {
    let mut sources = BTreeMap::new();
    for (input, is_through) in judged {
        let is_silent = input
            .last_contact
            .is_none_or(|last| last.as_second() < window.start);
        let source = SourceJson {
            source: &input.source,
            group: input.group.as_ref(),
            state: match (is_through, is_silent) {
                (true, _) => SourceWindowState::Quiet,
                (false, true) => SourceWindowState::Missing,
                (false, false) => SourceWindowState::Behind,
            },
            last_contact_at: input.last_contact,
            files: Vec::new(),
        };
        sources.insert(&input.source, source);
    }
    for it in there {
        let batch = &it.batch;
        let source = sources.entry(&batch.source).or_insert_with(|| SourceJson {
            source: &batch.source,
            group: Some(&batch.group),
            state: SourceWindowState::Delivered,
            last_contact_at: None,
            files: Vec::new(),
        });
        source.state = match source.state {
            SourceWindowState::Quiet | SourceWindowState::Delivered => SourceWindowState::Delivered,
            SourceWindowState::Missing | SourceWindowState::Behind => SourceWindowState::Behind,
        };
        let path = path(it).unwrap_or_default();
        source.files.push(FileJson {
            name: file_name(path),
            path,
            part: batch.part,
            log: batch.log.as_ref(),
            lines: batch.contents.lines,
            bytes: batch.contents.bytes,
            sha256: batch.sha256.as_deref(),
        });
    }
    sources.into_values().collect()
}

fn path(it: &WindowBatch) -> Option<&str> {
    it.delivery.as_ref()?.path.as_deref()
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// A second, in the window's own offset from UTC, as RFC 3339.
fn shown_in(window: Window, second: i64) -> String {
    let offset = Offset::from_seconds(window.utc_offset).unwrap_or(Offset::UTC);
    let at = Timestamp::from_second(second).unwrap_or_default();
    at.display_with_offset(offset).to_string()
}

fn shown<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn shown_if_any<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
