//! Compares the ledger's rows with the names and folders of the files. No file is read.
//!
//! Pure. A batch's file belongs into the folder of the batch's state and source. There it has one of three states:
//! 1. only `NAME.log`: the normal state;
//! 2. `NAME.log` and `NAME.log.gz` side by side in `sent/`: the housekeeper is compressing, and `NAME.log` is the batch;
//! 3. only `NAME.log.gz` in `sent/`: the housekeeper has compressed it.
//!
//! Any other file of that name is misplaced, if it is the only one, or a second one.

use std::collections::{BTreeMap, HashMap};

use logferry_invariants::{invariant_folder_follows_ledger, invariant_row_exists_before_file};
use logferry_ledger::{Batch, BatchState};
use logferry_spool::{FileForm, Spool, SpoolFile};

use crate::finding::{Finding, FindingKind};

#[derive(Debug, Default)]
pub(crate) struct NameComparison<'a> {
    pub(crate) findings: Vec<Finding>,
    /// The file of each batch that has one. Its contents are still to be compared.
    pub(crate) to_read: Vec<(&'a Batch, &'a SpoolFile)>,
}

pub(crate) fn by_batch_name(files: &[SpoolFile]) -> BTreeMap<&str, Vec<&SpoolFile>> {
    let mut by_name: BTreeMap<&str, Vec<&SpoolFile>> = BTreeMap::new();
    for file in files {
        if matches!(file.form, FileForm::Plain | FileForm::Compressed) {
            by_name.entry(&file.batch_name).or_default().push(file);
        }
    }
    by_name
}

pub(crate) fn compare_names<'a, D>(
    spool: &Spool<D>,
    batches: &'a [Batch],
    files: &'a [SpoolFile],
) -> NameComparison<'a> {
    let mut comparison = NameComparison::default();
    let by_name = by_batch_name(files);
    let mut known: HashMap<String, &Batch> = HashMap::new();
    for batch in batches {
        let name = batch.name();
        let found = by_name.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        if batch.expired_at.is_none() {
            comparison.add_batch(spool, batch, found);
        } else {
            comparison.add_expired(batch, found);
        }
        known.insert(name, batch);
    }
    for file in files {
        let row = known.get(&file.batch_name).copied();
        match file.form {
            FileForm::Plain | FileForm::Compressed
                if invariant_row_exists_before_file(&file.batch_name, row).is_ok() => {}
            FileForm::Plain | FileForm::Compressed | FileForm::Other => {
                let detail = "the ledger does not know it; every role leaves it alone";
                let finding = Finding::new(FindingKind::Unknown, &file.path, None, detail);
                comparison.findings.push(finding);
            }
            FileForm::Partial | FileForm::PartialPlain if !row.is_some_and(may_be_compressed_now) => {
                let detail =
                    "left by a crash while a file was made; it is no batch's file, and may be removed";
                let finding = Finding::new(FindingKind::Leftover, &file.path, None, detail);
                comparison.findings.push(finding);
            }
            FileForm::Partial | FileForm::PartialPlain => {}
        }
    }
    comparison
}

/// Whether the housekeeper may be compressing the batch, or will finish it after a crash.
fn may_be_compressed_now(batch: &Batch) -> bool {
    batch.state == BatchState::Sent && batch.expired_at.is_none() && batch.compressed_at.is_none()
}

impl<'a> NameComparison<'a> {
    /// The housekeeper removes the files of an expired batch from their folder in `sent/`. Elsewhere no role looks for them.
    fn add_expired(&mut self, batch: &Batch, found: &[&SpoolFile]) {
        let is_housekeepers = |file: &SpoolFile| {
            file.state == BatchState::Sent && file.source.as_deref() == Some(batch.source.as_str())
        };
        let detail = "its batch was delivered and has expired, so every role leaves it alone; move it out of the spool";
        let strays = found.iter().filter(|file| !is_housekeepers(file));
        let findings = strays.map(|file| Finding::new(FindingKind::Unknown, &file.path, Some(batch), detail));
        self.findings.extend(findings);
    }

    /// `found`: the files of the batch's name, in all folders.
    fn add_batch<D>(&mut self, spool: &Spool<D>, batch: &'a Batch, found: &[&'a SpoolFile]) {
        let folder = spool.source_folder(batch.state, &batch.source);
        // Only sent batches are compressed.
        let may_have_form = |file: &SpoolFile| !file.is_compressed() || batch.state == BatchState::Sent;
        let is_in_place = |file: &SpoolFile| {
            invariant_folder_follows_ledger(batch, file.state).is_ok()
                && file.source.as_deref() == Some(batch.source.as_str())
                && may_have_form(file)
        };
        let in_place = found.iter().filter(|file| is_in_place(file));
        let in_place = in_place.min_by_key(|file| file.is_compressed());
        let Some(&file) = in_place.or(found.first()) else {
            // The ledger has an open batch's row before the file is made.
            if batch.state != BatchState::Open || batch.contents.bytes > 0 {
                let detail = "its file is in none of the spool's folders; restore it from a backup";
                let path = spool.path(batch, batch.state);
                let finding = Finding::new(FindingKind::Missing, &path, Some(batch), detail);
                self.findings.push(finding);
            }
            return;
        };
        self.to_read.push((batch, file));
        if in_place.is_none() {
            let detail = format!("whole, but the ledger has this batch as {}", batch.state);
            let right_path = folder.join(file.path.file_name().unwrap_or_default());
            self.findings.push(Finding {
                move_to: may_have_form(file).then_some(right_path),
                ..Finding::new(FindingKind::Misplaced, &file.path, Some(batch), detail)
            });
        }
        let detail = format!(
            "the batch's file is {}; this is a second one",
            file.path.display()
        );
        let is_second =
            |other: &&&SpoolFile| other.path != file.path && !(in_place.is_some() && is_in_place(other));
        let second = found.iter().filter(is_second);
        self.findings.extend(
            second.map(|other| Finding::new(FindingKind::Double, &other.path, Some(batch), &*detail)),
        );
    }
}
