//! When a window is complete at a destination, and the text of its manifest. Pure.
//!
//! Invariants: a manifest lists only files that are at the destination already. A manifest is never changed: a file that
//! comes later makes a further revision, which lists all files.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{hour_stamp, window_label};
use logferry_ledger::{BatchState, NewManifest, REPORT_GRACE, SourceReach, Window, WindowBatch};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use serde::Serialize;

use crate::publish::batch_manifest::rfc3339_in;

/// A source that may have lines of a window.
#[derive(Debug, Clone)]
pub(crate) struct WindowSource {
    pub(crate) source: SourceId,
    /// `None` for an expected source that never had contact.
    pub(crate) group: Option<GroupName>,
    pub(crate) reach: SourceReach,
}

/// A window at a destination.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowInput<'a> {
    pub(crate) window: Window,
    /// The batches that the destination wants, in any state, in the order of their opening.
    pub(crate) batches: &'a [WindowBatch],
    /// The sources that the destination wants.
    pub(crate) sources: &'a [WindowSource],
    /// Revision and name of the last manifest, if any.
    pub(crate) previous: Option<(u32, &'a str)>,
}

/// The state of a source's lines of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum SourceWindowState {
    /// There are files, and no more are expected.
    Delivered,
    /// The source reports, and has no lines of the window.
    Quiet,
    /// The source had no contact since the window began.
    Missing,
    /// The source had contact, but may have lines that are not here.
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
    /// Names of the files that the previous revision did not list.
    added: Vec<&'a str>,
    written_at: String,
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
struct SourceJson<'a> {
    source: &'a SourceId,
    group: Option<&'a GroupName>,
    state: SourceWindowState,
    last_contact_at: Option<String>,
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

/// The manifest that is due at `now`, if any. The first one of a window is due when all files of the window are delivered
/// and each source has gone past the window, or `wait` has passed since its end. A further one is due when all files are
/// delivered and the last manifest does not list one of them.
pub(crate) fn due_manifest(input: WindowInput<'_>, wait: Duration, now: Timestamp) -> Option<NewManifest> {
    let WindowInput {
        window,
        batches,
        sources,
        previous,
    } = input;
    let end = Timestamp::from_second(window.end()).ok()?;
    let passed = Duration::try_from(now.duration_since(end)).unwrap_or_default();
    let is_delivered = |it: &WindowBatch| {
        let has_delivery = it.delivery.as_ref().is_some_and(|it| it.delivered_at.is_some());
        it.batch.state != BatchState::Open && has_delivery
    };
    // A batch that was sent before the destination was configured is not expected there.
    let is_expected = |it: &&WindowBatch| it.batch.state != BatchState::Sent || it.delivery.is_some();
    if passed < REPORT_GRACE || !batches.iter().filter(is_expected).all(is_delivered) {
        return None;
    }
    let delivered: Vec<_> = batches.iter().filter(|it| is_delivered(it)).collect();
    let evaluated: Vec<_> = sources
        .iter()
        .filter(|source| source.reach.is_expected(window))
        .map(|source| (source, source.reach.has_passed(window)))
        .collect();
    let is_due = match previous {
        Some(_) => delivered.iter().any(|it| !it.is_listed),
        None => passed >= wait || evaluated.iter().all(|(_, has_passed)| *has_passed),
    };
    if !is_due {
        return None;
    }
    let revision = previous.map_or(1, |(revision, _)| revision.saturating_add(1));
    let sources = by_source(window, &delivered, &evaluated);
    let added = delivered.iter().filter(|it| previous.is_some() && !it.is_listed);
    let sum = |of: fn(&WindowBatch) -> u64| delivered.iter().map(|it| of(it)).sum();
    let manifest = ManifestJson {
        window: WindowJson {
            start: rfc3339_in(window, window.start),
            end: rfc3339_in(window, window.end()),
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
            files: delivered.len() as u64,
            lines: sum(|it| it.batch.contents.lines),
            bytes: sum(|it| it.batch.contents.bytes),
        },
        sources,
        added: added.filter_map(|it| path(it)).map(file_name).collect(),
        written_at: now.to_string(),
    };
    let content = serde_json::to_string_pretty(&manifest).ok()? + "\n";
    Some(NewManifest {
        window,
        revision,
        name: name(window, previous, revision),
        content,
        batches: delivered.iter().map(|it| it.batch.id).collect(),
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

fn by_source<'a>(
    window: Window,
    delivered: &[&'a WindowBatch],
    evaluated: &[(&'a WindowSource, bool)],
) -> Vec<SourceJson<'a>> {
    let mut sources = BTreeMap::new();
    for (input, has_passed) in evaluated {
        let last_contact = input.reach.last_contact;
        let is_silent = last_contact.is_none_or(|last| last.as_second() < window.start);
        let source = SourceJson {
            source: &input.source,
            group: input.group.as_ref(),
            state: match (has_passed, is_silent) {
                (true, _) => SourceWindowState::Quiet,
                (false, true) => SourceWindowState::Missing,
                (false, false) => SourceWindowState::Behind,
            },
            last_contact_at: last_contact.map(|at| at.to_string()),
            files: Vec::new(),
        };
        sources.insert(&input.source, source);
    }
    for it in delivered {
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

#[cfg(test)]
mod tests;
