//! `logferry audit --verify`: what was delivered is read back from every destination and compared.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use logferry_config::{Config, Destination};
use logferry_forwarder::{
    DeliveredFile, DeliveryDifference, DeliveryError, Sidecar, SidecarKind, VerifyProgress, sidecars,
};
use logferry_ledger::BatchFilter;
use logferry_monitor::audit::{Audit, AuditedBatch, Discrepancy, DiscrepancyKind};
use logferry_protocol::names::DestinationName;
use tokio_util::sync::CancellationToken;

use crate::exit::Result;
use crate::table;

/// How often progress is shown on a terminal.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Reads back all that the audit says is delivered, and what should be beside it, and adds what differs to what it found.
/// Says of each destination that could not be read why not.
pub(crate) fn read_back(
    config: &Config,
    data_dir: &Path,
    filter: &BatchFilter,
    audit: &mut Audit,
) -> Result<Vec<String>> {
    let forwarder = config.forwarder.iter();
    let destinations: Vec<_> = forwarder.flat_map(|section| &section.destinations).collect();
    let mut unread = Vec::new();
    for destination in &destinations {
        let wanted = Wanted::of(
            destination,
            &audit.batches,
            sidecars(data_dir, destination, filter)?,
        );
        match wanted.read(destination) {
            Ok(Found { wrong, doubtful }) => {
                audit.add(wrong);
                audit.warnings.extend(doubtful);
            }
            Err(error) => {
                let name = &destination.name;
                let why = format!(
                    "cannot read back what was delivered to {name}: {:#}",
                    anyhow::Error::from(error)
                );
                audit.add([of_destination(DiscrepancyKind::RemoteUnread, why.clone())]);
                unread.push(why);
            }
        }
    }
    audit.warnings.extend(unknown(&destinations, &audit.batches));
    Ok(unread)
}

/// What must be at one destination: the files, and what is known of each.
#[derive(Default)]
struct Wanted {
    files: Vec<DeliveredFile>,
    owners: Vec<Owner>,
}

/// Whose a file is.
struct Owner {
    source: Option<String>,
    batch: Option<String>,
    /// `None`: it is the batch itself.
    kind: Option<SidecarKind>,
}

/// What is at one destination and should not be so.
#[derive(Default)]
struct Found {
    wrong: Vec<Discrepancy>,
    doubtful: Vec<Discrepancy>,
}

impl Wanted {
    fn of(destination: &Destination, batches: &[AuditedBatch], sidecars: Vec<Sidecar>) -> Self {
        let mut wanted = Self::default();
        for batch in batches {
            if let Some(file) = delivered(batch, &destination.name) {
                wanted.files.push(file);
                wanted.owners.push(Owner {
                    source: Some(batch.source.to_string()),
                    batch: Some(batch.name.clone()),
                    kind: None,
                });
            }
        }
        for sidecar in sidecars {
            wanted.files.push(sidecar.file);
            wanted.owners.push(Owner {
                source: sidecar.source,
                batch: sidecar.batch,
                kind: Some(sidecar.kind),
            });
        }
        wanted
    }

    /// Reads it all.
    fn read(&self, destination: &Destination) -> std::result::Result<Found, DeliveryError> {
        let (name, mut found) = (&destination.name, Found::default());
        if self.files.is_empty() {
            return Ok(found);
        }
        let mut display = Display::new(name, &self.files);
        let read =
            logferry_forwarder::verify(destination, &self.files, &CancellationToken::new(), |progress| {
                display.show(progress);
            });
        display.clear();
        let mut missing: BTreeMap<SidecarKind, Vec<&str>> = BTreeMap::new();
        for (number, difference) in read? {
            let (Some(file), Some(owner)) = (self.files.get(number), self.owners.get(number)) else {
                continue;
            };
            match (owner.kind, &difference) {
                (Some(kind @ (SidecarKind::Manifest | SidecarKind::Marker)), DeliveryDifference::Missing) => {
                    missing.entry(kind).or_default().push(&file.path);
                }
                _ => found.wrong.push(discrepancy(name, owner, file, difference)),
            }
        }
        found.doubtful = missing
            .into_iter()
            .filter_map(|(kind, paths)| missing_beside(name, kind, &paths))
            .collect();
        Ok(found)
    }
}

/// One warning for all files of a sort that are not there: the ledger does not know whether they ever were.
fn missing_beside(name: &DestinationName, kind: SidecarKind, paths: &[&str]) -> Option<Discrepancy> {
    let (count, first) = (u64::try_from(paths.len()).ok()?, paths.first()?);
    let setting = match kind {
        SidecarKind::Marker => "marker",
        SidecarKind::Manifest | SidecarKind::WindowManifest => "manifest",
    };
    Some(of_destination(
        DiscrepancyKind::CompanionMissing,
        format!(
            "{} batches at {name} have no {setting} beside them, the first {first}: they were taken away, or the batches \
             delivered before `{setting}` was set",
            table::count(count)
        ),
    ))
}

/// A batch's file at a destination, if it is delivered there.
fn delivered(batch: &AuditedBatch, name: &DestinationName) -> Option<DeliveredFile> {
    let place = batch.destinations.iter().find(|place| place.name == *name)?;
    Some(DeliveredFile {
        path: place.path.clone()?,
        bytes: place.bytes?,
        sha256: Some(place.sha256.clone()?),
    })
}

fn discrepancy(
    name: &DestinationName,
    owner: &Owner,
    file: &DeliveredFile,
    difference: DeliveryDifference,
) -> Discrepancy {
    let DeliveredFile { path, bytes, sha256 } = file;
    let sha256 = sha256.as_deref().unwrap_or("unknown");
    let (bytes, at) = (table::count(*bytes), format!("{path} at {name}"));
    let (kind, detail) = match difference {
        DeliveryDifference::Missing => (DiscrepancyKind::RemoteMissing, format!("{at} is missing")),
        DeliveryDifference::Short { found } => (
            DiscrepancyKind::RemoteShort,
            format!("{at} has {} bytes, {bytes} were delivered", table::count(found)),
        ),
        DeliveryDifference::Longer => (
            DiscrepancyKind::RemoteLonger,
            format!("{at} has more than the {bytes} bytes that were delivered"),
        ),
        DeliveryDifference::Content { found } => (
            DiscrepancyKind::RemoteDiffers,
            format!("{at} has other bytes: SHA-256 {found}, delivered with {sha256}"),
        ),
        DeliveryDifference::Unreadable { reason } => (
            DiscrepancyKind::RemoteUnreadable,
            format!("{at} cannot be read: {reason}"),
        ),
    };
    Discrepancy {
        kind,
        source: owner.source.clone(),
        batch: owner.batch.clone(),
        detail,
        gap: None,
    }
}

fn of_destination(kind: DiscrepancyKind, detail: String) -> Discrepancy {
    Discrepancy {
        kind,
        source: None,
        batch: None,
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
    let warning = |name| {
        let detail = format!("what was delivered to {name} was not read back: it is not configured any more");
        of_destination(DiscrepancyKind::RemoteUnknown, detail)
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

    fn show(&mut self, progress: VerifyProgress) {
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
