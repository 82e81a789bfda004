//! What the ledger says against the names, places and sizes of the files.
//!
//! Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logferry_ledger::{Batch, BatchState};
use serde::{Serialize, Serializer};

use crate::spool::{File, Form};

/// What sort of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The ledger's own file is damaged.
    Ledger,
    /// A batch's file is nowhere.
    Missing,
    /// It has another size than the ledger says.
    Size,
    /// It has other bytes than the ledger says.
    Contents,
    /// It is whole, and not where the ledger says.
    Place,
    /// A second file of that batch.
    Double,
    /// What a crash left of a file that was being made.
    Leftover,
    /// A file that the ledger does not know.
    Unknown,
    /// It ends inside a line.
    Torn,
    /// Its window is not proven.
    Window,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What sort of difference.
    pub kind: Kind,
    /// The file, or where it should be.
    #[serde(serialize_with = "shown")]
    pub path: PathBuf,
    /// The batch, if it is one of the ledger's.
    pub batch: Option<String>,
    /// What was found, in words.
    pub detail: String,
    /// Where the file belongs, if moving it there puts it right.
    #[serde(skip)]
    pub(crate) belongs: Option<PathBuf>,
    /// Whether it was put right.
    pub repaired: bool,
}

impl Finding {
    pub(crate) fn new(kind: Kind, path: PathBuf, batch: Option<&Batch>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            path,
            batch: batch.map(Batch::name),
            detail: detail.into(),
            belongs: None,
            repaired: false,
        }
    }

    pub(crate) fn of_ledger(path: &Path, detail: String) -> Self {
        Self::new(Kind::Ledger, path.to_owned(), None, detail)
    }

    /// Whether it is the same difference, seen at another time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.kind, &self.path) == (other.kind, &other.path)
    }
}

fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// What can be said without reading any file.
#[derive(Debug, Default)]
pub(crate) struct Judged<'a> {
    pub(crate) findings: Vec<Finding>,
    /// The file of each batch that has one; what is in it is to be compared.
    pub(crate) to_read: Vec<(&'a Batch, PathBuf)>,
}

/// Compares all batches with all files of the spool in `data_dir`.
pub(crate) fn judge<'a>(data_dir: &Path, batches: &'a [Batch], files: &[File]) -> Judged<'a> {
    let mut judged = Judged::default();
    let mut by_name: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in files {
        match &file.form {
            Form::Plain(name) | Form::Compressed(name) => by_name.entry(name).or_default().push(file),
            Form::Partial(_) | Form::Other => {}
        }
    }
    let mut known: BTreeMap<String, &Batch> = BTreeMap::new();
    for batch in batches {
        let name = batch.name();
        let found = by_name.remove(name.as_str()).unwrap_or_default();
        // What is left of an expired batch is the housekeeper's to remove.
        if batch.expired_at.is_none() {
            judged.batch(data_dir, batch, &found);
        }
        known.insert(name, batch);
    }
    let strangers = by_name.into_values().flatten();
    judged.findings.extend(strangers.map(unknown));
    for file in files {
        match &file.form {
            Form::Other => judged.findings.push(unknown(file)),
            // The housekeeper goes on with it.
            Form::Partial(name)
                if known
                    .get(name.as_str())
                    .is_some_and(|batch| is_compressing(batch)) => {}
            Form::Partial(_) => judged.findings.push(Finding::new(
                Kind::Leftover,
                file.path.clone(),
                None,
                "left by a crash while a file was made; it is no batch's file, and may be removed",
            )),
            Form::Plain(_) | Form::Compressed(_) => {}
        }
    }
    judged
}

fn is_compressing(batch: &Batch) -> bool {
    batch.state == BatchState::Sent && batch.expired_at.is_none() && batch.compressed_at.is_none()
}

fn unknown(file: &File) -> Finding {
    let detail = "the ledger does not know it; it is left alone by every role";
    Finding::new(Kind::Unknown, file.path.clone(), None, detail)
}

impl<'a> Judged<'a> {
    fn batch(&mut self, data_dir: &Path, batch: &'a Batch, found: &[&File]) {
        let home = data_dir.join(batch.state.as_str()).join(batch.source.as_str());
        let is_home = |file: &&&File| {
            file.path.parent() == Some(&home) && (!file.is_compressed() || can_be_compressed(batch))
        };
        // While it is compressed both forms are there; the plain one is the original.
        let at_home = found
            .iter()
            .filter(is_home)
            .min_by_key(|file| file.is_compressed());
        let Some(file) = at_home.or(found.first()) else {
            // The ledger knows a batch before its file is made.
            if batch.state != BatchState::Open || batch.contents.bytes > 0 {
                let detail = "its file is in none of the spool's folders; restore it from a backup";
                let path = home.join(batch.file_name());
                self.findings
                    .push(Finding::new(Kind::Missing, path, Some(batch), detail));
            }
            return;
        };
        self.to_read.push((batch, file.path.clone()));
        if at_home.is_none() {
            let belongs = home.join(file.path.file_name().unwrap_or_default());
            let detail = format!("whole, but the ledger has this batch as {}", batch.state);
            let is_movable = !file.is_compressed() || can_be_compressed(batch);
            self.findings.push(Finding {
                belongs: is_movable.then_some(belongs),
                ..Finding::new(Kind::Place, file.path.clone(), Some(batch), detail)
            });
        }
        let others = found
            .iter()
            .filter(|other| other.path != file.path && !(at_home.is_some() && is_home(other)));
        self.findings.extend(others.map(|other| {
            let detail = format!(
                "the batch's file is {}; this is a second one",
                file.path.display()
            );
            Finding::new(Kind::Double, other.path.clone(), Some(batch), detail)
        }));
    }
}

/// Only what is sent is compressed.
fn can_be_compressed(batch: &Batch) -> bool {
    batch.state == BatchState::Sent
}
