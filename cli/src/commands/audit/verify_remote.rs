//! `logferry audit --verify`: reads the delivered files back from every destination and compares them with the ledger.

use std::collections::BTreeMap;
use std::path::Path;

use logferry_config::{Config, Destination};
use logferry_forwarder::{
    DeliveredFile, DeliveryDifference, DeliveryError, Sidecar, SidecarKind, VerifyProgress, sidecars,
};
use logferry_inspection::audit::{Audit, AuditedBatch, Discrepancy, DiscrepancyKind, ReadBackResult};
use logferry_ledger::BatchFilter;
use logferry_protocol::names::DestinationName;
use logferry_text::{count, count_of, error_chain, size};
use tokio_util::sync::CancellationToken;

use crate::output::console::{PROGRESS_INTERVAL, ProgressLine, ShowInterval};
use crate::output::exit::Result;

/// What came of the reading.
#[derive(Debug, Default)]
pub(crate) struct VerifiedRemote {
    /// What was read, and what was not.
    pub(crate) read_back: ReadBackResult,
    /// One error text for each destination that could not be read.
    pub(crate) errors: Vec<String>,
}

/// Reads back every file that the audit counts as delivered, and its manifests and markers. Adds the differences to the
/// audit.
pub(crate) fn verify_remote(
    config: &Config,
    data_dir: &Path,
    filter: &BatchFilter,
    audit: &mut Audit,
) -> Result<VerifiedRemote> {
    let forwarder = config.forwarder.iter();
    let destinations: Vec<_> = forwarder.flat_map(|section| &section.destinations).collect();
    let mut verified = VerifiedRemote::default();
    for destination in &destinations {
        let sidecars = sidecars(data_dir, destination, filter)?;
        let (recorded, all) = deliveries_to(&destination.name, &audit.batches);
        verified.read_back.unrecorded += all - recorded;
        let expected = expected_files(destination, &audit.batches, sidecars);
        match compare(destination, &expected) {
            Ok((discrepancies, warnings)) => {
                audit.add(discrepancies);
                audit.warnings.extend(warnings);
                verified.read_back.deliveries += recorded;
            }
            Err(error) => {
                let (name, cause) = (&destination.name, error_chain(&error));
                let text = format!("cannot read back the files delivered to {name}: {cause}");
                audit.add([Discrepancy::new(DiscrepancyKind::RemoteUnread, text.clone())]);
                verified.read_back.unread.push(name.to_string());
                verified.errors.push(text);
            }
        }
    }
    let unknown = unconfigured(&destinations, &audit.batches);
    verified.read_back.unknown = unknown.iter().map(ToString::to_string).collect();
    audit.warnings.extend(unknown.into_iter().map(not_configured));
    Ok(verified)
}

/// How many deliveries to a destination have all that is compared, and how many there are.
fn deliveries_to(name: &DestinationName, batches: &[AuditedBatch]) -> (u64, u64) {
    let is_there = |batch: &&AuditedBatch| batch.destinations.iter().any(|it| it.name == *name);
    let there = batches.iter().filter(is_there);
    there.fold((0, 0), |(recorded, all), batch| {
        let is_recorded = delivered_file(batch, name).is_some();
        (recorded + u64::from(is_recorded), all + 1)
    })
}

/// A file that must be at a destination.
struct ExpectedFile {
    file: DeliveredFile,
    source: Option<String>,
    batch: Option<String>,
    /// `None` for the batch itself.
    kind: Option<SidecarKind>,
}

fn expected_files(
    destination: &Destination,
    batches: &[AuditedBatch],
    sidecars: Vec<Sidecar>,
) -> Vec<ExpectedFile> {
    let batches = batches.iter().filter_map(|batch| {
        Some(ExpectedFile {
            file: delivered_file(batch, &destination.name)?,
            source: Some(batch.source.to_string()),
            batch: Some(batch.name.clone()),
            kind: None,
        })
    });
    let sidecars = sidecars.into_iter().map(|sidecar| ExpectedFile {
        file: sidecar.file,
        source: sidecar.source,
        batch: sidecar.batch,
        kind: Some(sidecar.kind),
    });
    batches.chain(sidecars).collect()
}

/// A batch's file at a destination, if it was delivered there.
fn delivered_file(batch: &AuditedBatch, name: &DestinationName) -> Option<DeliveredFile> {
    let mut deliveries = batch.destinations.iter();
    let delivery = deliveries.find(|delivery| delivery.name == *name)?;
    // After `fsck --rebuild` nobody knows how a compressed file was, only that it is not empty.
    let known = delivery.bytes.zip(delivery.sha256.clone());
    let (bytes, sha256) = known.map_or((1, None), |(bytes, sha256)| (bytes, Some(sha256)));
    Some(DeliveredFile {
        path: delivery.path.clone()?,
        bytes,
        sha256,
    })
}

/// Reads the files at a destination. Returns discrepancies and warnings.
fn compare(
    destination: &Destination,
    expected: &[ExpectedFile],
) -> std::result::Result<(Vec<Discrepancy>, Vec<Discrepancy>), DeliveryError> {
    if expected.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let files: Vec<_> = expected.iter().map(|expected| expected.file.clone()).collect();
    let (name, mut discrepancies) = (&destination.name, Vec::new());
    let mut missing: BTreeMap<SidecarKind, Vec<&str>> = BTreeMap::new();
    for (number, difference) in read_back(destination, &files)? {
        let Some(expected) = expected.get(number) else {
            continue;
        };
        match (expected.kind, &difference) {
            (Some(kind @ (SidecarKind::Manifest | SidecarKind::Marker)), DeliveryDifference::Missing) => {
                missing.entry(kind).or_default().push(&expected.file.path);
            }
            _ => discrepancies.push(discrepancy(name, expected, difference)),
        }
    }
    let missing = missing.into_iter();
    let warnings = missing.filter_map(|(kind, paths)| missing_sidecars(name, kind, &paths));
    Ok((discrepancies, warnings.collect()))
}

/// Reads the files, with a progress line if stderr is a terminal. Returns each file that differs by its index.
fn read_back(
    destination: &Destination,
    files: &[DeliveredFile],
) -> std::result::Result<Vec<(usize, DeliveryDifference)>, DeliveryError> {
    let line = ProgressLine::new();
    let mut interval = ShowInterval::after_one(PROGRESS_INTERVAL);
    let (name, all_files) = (&destination.name, files.len());
    let all_bytes = size(files.iter().map(|file| file.bytes).sum());
    let show = |progress: VerifyProgress| {
        if line.is_terminal && interval.is_due() {
            let (files, bytes) = (progress.files, size(progress.bytes));
            line.show(&format!(
                "{name}: read {files} of {all_files} files, {bytes} of {all_bytes}"
            ));
        }
    };
    let differences = logferry_forwarder::verify(destination, files, &CancellationToken::new(), show);
    line.clear();
    differences
}

/// One warning for all missing manifests, or markers. The ledger does not record whether they were delivered.
fn missing_sidecars(name: &DestinationName, kind: SidecarKind, paths: &[&str]) -> Option<Discrepancy> {
    let (number, first) = (paths.len() as u64, paths.first()?);
    let batches = count_of(number, "batch");
    let setting = match kind {
        SidecarKind::Marker => "marker",
        SidecarKind::Manifest | SidecarKind::WindowManifest => "manifest",
    };
    let detail = format!(
        "{batches} at {name} without a {setting}, the first is {first}: removed there, or delivered before `{setting}` was \
         configured"
    );
    Some(Discrepancy::new(DiscrepancyKind::SidecarMissing, detail))
}

fn discrepancy(
    name: &DestinationName,
    expected: &ExpectedFile,
    difference: DeliveryDifference,
) -> Discrepancy {
    let DeliveredFile { path, bytes, sha256 } = &expected.file;
    let sha256 = sha256.as_deref().unwrap_or("unknown");
    let (bytes, at) = (count(*bytes), format!("{path} at {name}"));
    let (kind, detail) = match difference {
        DeliveryDifference::Missing => (DiscrepancyKind::RemoteMissing, format!("{at} is missing")),
        DeliveryDifference::Short { found } => (
            DiscrepancyKind::RemoteShort,
            format!("{at} has {} bytes, {bytes} were delivered", count(found)),
        ),
        DeliveryDifference::Longer => (
            DiscrepancyKind::RemoteLonger,
            format!("{at} has more than the {bytes} bytes that were delivered"),
        ),
        DeliveryDifference::Content { found } => (
            DiscrepancyKind::RemoteDiffers,
            format!("{at} has different contents: SHA-256 {found}, delivered with {sha256}"),
        ),
        DeliveryDifference::Unreadable { reason } => (
            DiscrepancyKind::RemoteUnreadable,
            format!("{at} cannot be read: {reason}"),
        ),
    };
    Discrepancy {
        source: expected.source.clone(),
        batch: expected.batch.clone(),
        ..Discrepancy::new(kind, detail)
    }
}

/// The destinations that have deliveries and are not configured any more.
fn unconfigured<'a>(destinations: &[&Destination], batches: &'a [AuditedBatch]) -> Vec<&'a DestinationName> {
    let deliveries = batches.iter().flat_map(|batch| &batch.destinations);
    let mut names: Vec<_> = deliveries.map(|delivery| &delivery.name).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| destinations.iter().all(|destination| destination.name != **name));
    names
}

fn not_configured(name: &DestinationName) -> Discrepancy {
    let detail = format!("the files delivered to {name} were not read: it is not configured any more");
    Discrepancy::new(DiscrepancyKind::RemoteUnknown, detail)
}
