//! `logferry audit --verify`: what was delivered is read back from every destination and compared.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use logferry_config::{Config, Destination};
use logferry_forwarder::{DeliveredFile, Difference, Progress};
use logferry_monitor::audit::{Audit, AuditedBatch, Discrepancy, DiscrepancyKind};
use logferry_protocol::names::DestinationName;
use tokio_util::sync::CancellationToken;

use crate::exit::Result;
use crate::table;

/// How often progress is shown on a terminal.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Reads back all that the audit says is delivered, and adds what differs to what it found. An error when a destination
/// cannot be read: then nothing is proved.
pub(crate) fn read_back(config: &Config, audit: &mut Audit) -> Result<()> {
    let forwarder = config.forwarder.iter();
    let destinations: Vec<_> = forwarder.flat_map(|section| &section.destinations).collect();
    let mut found = Vec::new();
    for destination in &destinations {
        found.extend(differences(destination, &audit.batches)?);
    }
    audit.add(found);
    audit.warnings.extend(unknown(&destinations, &audit.batches));
    Ok(())
}

/// What differs at one destination.
fn differences(destination: &Destination, batches: &[AuditedBatch]) -> Result<Vec<Discrepancy>> {
    let name = &destination.name;
    let (batches, files): (Vec<_>, Vec<_>) = batches
        .iter()
        .filter_map(|batch| Some((batch, delivered(batch, name)?)))
        .unzip();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut display = Display::new(name, &files);
    let read = logferry_forwarder::verify(destination, &files, &CancellationToken::new(), |progress| {
        display.show(progress);
    });
    display.clear();
    let read = read.with_context(|| format!("cannot read back what was delivered to {name}"))?;
    let discrepancy = |(number, difference): (usize, Difference)| {
        let (batch, file) = (batches.get(number)?, files.get(number)?);
        Some(discrepancy(name, batch, file, difference))
    };
    Ok(read.into_iter().filter_map(discrepancy).collect())
}

/// A batch's file at a destination, if it is delivered there.
fn delivered(batch: &AuditedBatch, name: &DestinationName) -> Option<DeliveredFile> {
    let place = batch.destinations.iter().find(|place| place.name == *name)?;
    Some(DeliveredFile {
        path: place.path.clone()?,
        bytes: place.bytes?,
        sha256: place.sha256.clone()?,
    })
}

fn discrepancy(
    name: &DestinationName,
    batch: &AuditedBatch,
    file: &DeliveredFile,
    difference: Difference,
) -> Discrepancy {
    let DeliveredFile { path, bytes, sha256 } = file;
    let (bytes, at) = (table::count(*bytes), format!("{path} at {name}"));
    let (kind, detail) = match difference {
        Difference::Missing => (DiscrepancyKind::RemoteMissing, format!("{at} is missing")),
        Difference::Short { found } => (
            DiscrepancyKind::RemoteShort,
            format!("{at} has {} bytes, {bytes} were delivered", table::count(found)),
        ),
        Difference::Longer => (
            DiscrepancyKind::RemoteLonger,
            format!("{at} has more than the {bytes} bytes that were delivered"),
        ),
        Difference::Content { found } => (
            DiscrepancyKind::RemoteDiffers,
            format!("{at} has other bytes: SHA-256 {found}, delivered with {sha256}"),
        ),
        Difference::Unreadable { reason } => (
            DiscrepancyKind::RemoteUnreadable,
            format!("{at} cannot be read: {reason}"),
        ),
    };
    Discrepancy {
        kind,
        source: Some(batch.source.to_string()),
        batch: Some(batch.name.clone()),
        detail,
        gap: None,
    }
}

/// One warning for each destination that was delivered to and is not configured now.
fn unknown(destinations: &[&Destination], batches: &[AuditedBatch]) -> Vec<Discrepancy> {
    let places = batches.iter().flat_map(|batch| &batch.destinations);
    let mut names: Vec<_> = places.map(|place| &place.name).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| destinations.iter().all(|destination| destination.name != **name));
    let warning = |name| Discrepancy {
        kind: DiscrepancyKind::RemoteUnknown,
        source: None,
        batch: None,
        detail: format!("what was delivered to {name} was not read back: it is not configured any more"),
        gap: None,
    };
    names.into_iter().map(warning).collect()
}

/// Shows on a terminal how far it is: one line, in place.
struct Display<'a> {
    name: &'a DestinationName,
    files: usize,
    bytes: u64,
    /// When it was last shown; `None`: there is no terminal.
    shown: Option<Instant>,
}

impl<'a> Display<'a> {
    fn new(name: &'a DestinationName, files: &[DeliveredFile]) -> Self {
        Self {
            name,
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            shown: io::stderr().is_terminal().then(Instant::now),
        }
    }

    fn show(&mut self, progress: Progress) {
        let Some(shown) = self.shown.filter(|shown| shown.elapsed() >= SHOW_EVERY) else {
            return;
        };
        self.shown = Some(shown + shown.elapsed());
        let (read, all) = (table::size(progress.bytes), table::size(self.bytes));
        let text = format!(
            "{}: read {} of {} files, {read} of {all}",
            self.name, progress.files, self.files
        );
        // Nobody is left to be told that stderr is closed.
        let _ = write!(io::stderr(), "\r{text}\x1b[K");
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
