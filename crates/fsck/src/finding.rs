//! A difference between ledger and spool.

use std::path::{Path, PathBuf};

use logferry_ledger::Batch;
use serde::{Serialize, Serializer};

/// The sort of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// The ledger's own file is damaged.
    Ledger,
    /// A batch's file is in no folder.
    Missing,
    /// A batch's file has another size than the ledger says.
    Size,
    /// A batch's file has other bytes than the ledger says.
    Contents,
    /// A batch's file is whole, but not in the folder that the ledger says.
    #[serde(rename = "place")]
    Misplaced,
    /// A second file of a batch.
    Double,
    /// An unfinished file that a crash left.
    Leftover,
    /// A file that the ledger does not know.
    Unknown,
    /// A file that ends inside a line.
    Torn,
    /// A file whose window is not proven.
    Window,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The sort of difference.
    pub kind: FindingKind,
    /// The file, or the path where it should be.
    #[serde(serialize_with = "displayed")]
    pub path: PathBuf,
    /// The batch, if the ledger has it.
    pub batch: Option<String>,
    /// What was found and what to do, for people.
    pub detail: String,
    #[serde(skip)]
    pub(crate) move_to: Option<PathBuf>,
    /// Whether a repair moved it.
    pub repaired: bool,
}

impl Finding {
    pub(crate) fn new(
        kind: FindingKind,
        path: &Path,
        batch: Option<&Batch>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            batch: batch.map(Batch::name),
            detail: detail.into(),
            move_to: None,
            repaired: false,
        }
    }

    /// Whether both are the same difference, found at different times. A role may move a damaged file meanwhile.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_damage = matches!(self.kind, FindingKind::Size | FindingKind::Contents);
        let is_of_batch = is_damage && self.batch.is_some() && self.batch == other.batch;
        self.kind == other.kind && (is_of_batch || self.path == other.path)
    }
}

pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
}

fn displayed<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
