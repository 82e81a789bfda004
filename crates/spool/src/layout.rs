//! Names and folders: `<data folder>/<state>/<source>/<batch name><suffix>`.
//!
//! Pure: nothing here reads the disk.

use std::path::{Path, PathBuf};

use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::SourceId;

/// The form of a file in the spool, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileForm {
    /// `NAME.log`: the lines of a batch.
    Plain,
    /// `NAME.log.gz`: the lines of a sent batch, compressed, whole and checked.
    Compressed,
    /// `NAME.log.gz.tmp`: a compressed file that is being written, or that a crash left unfinished.
    Partial,
    /// `NAME.log.tmp`: a plain file that a crash left unfinished.
    PartialPlain,
    /// Any other name: not a batch's file.
    Other,
}

impl FileForm {
    /// The forms that a batch's file has in `sent/`. The longest suffix comes first.
    pub const SENT: [Self; 3] = [Self::Partial, Self::Compressed, Self::Plain];

    /// The end of the file's name, after the batch's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => ".log",
            Self::Compressed => ".log.gz",
            Self::Partial => ".log.gz.tmp",
            Self::PartialPlain => ".log.tmp",
            Self::Other => "",
        }
    }

    /// Splits a file's name into the batch's name and the form. A file of another form keeps its whole name.
    pub fn split(file_name: &str) -> (&str, Self) {
        [Self::Partial, Self::PartialPlain, Self::Compressed, Self::Plain]
            .into_iter()
            .find_map(|form| Some((file_name.strip_suffix(form.suffix())?, form)))
            .unwrap_or((file_name, Self::Other))
    }
}

/// A file in the spool, by its path. The file may be moved at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolFile {
    /// The file.
    pub path: PathBuf,
    /// The state whose folder it is in.
    pub state: BatchState,
    /// The name of the source folder that it is in; `None` if it is not directly in one.
    pub source: Option<String>,
    /// The name of the batch, by the file's name. If the form is [`FileForm::Other`], the file's whole name.
    pub batch_name: String,
    /// The form, by the file's name.
    pub form: FileForm,
}

impl SpoolFile {
    /// Whether the file is named `NAME.log.gz`.
    pub fn is_compressed(&self) -> bool {
        self.form == FileForm::Compressed
    }
}

/// The spool's folders below a data folder.
#[derive(Debug, Clone)]
pub struct Spool<D> {
    disk: D,
    data_dir: PathBuf,
}

impl<D> Spool<D> {
    /// The spool in `data_dir`.
    pub fn new(disk: D, data_dir: &Path) -> Self {
        Self {
            disk,
            data_dir: data_dir.to_owned(),
        }
    }

    /// The disk that holds the spool.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The folder that holds the spool.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of all batches in a state.
    pub fn state_folder(&self, state: BatchState) -> PathBuf {
        self.data_dir.join(state.as_str())
    }

    /// The folder of a source's batches in a state.
    pub fn source_folder(&self, state: BatchState, source: &SourceId) -> PathBuf {
        self.state_folder(state).join(source.as_str())
    }

    /// The path of a batch's plain file while it is in a state's folder.
    pub fn path(&self, batch: &Batch, state: BatchState) -> PathBuf {
        self.path_of_form(batch, state, FileForm::Plain)
    }

    /// The path of a batch's file of a form while it is in a state's folder.
    pub fn path_of_form(&self, batch: &Batch, state: BatchState, form: FileForm) -> PathBuf {
        self.source_folder(state, &batch.source)
            .join(batch.name() + form.suffix())
    }

    /// A batch's file of a form in a state's folder. It need not exist.
    pub fn file(&self, batch: &Batch, state: BatchState, form: FileForm) -> SpoolFile {
        SpoolFile {
            path: self.path_of_form(batch, state, form),
            state,
            source: Some(batch.source.as_str().to_owned()),
            batch_name: batch.name(),
            form,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_gives_batch_name_and_form() {
        let golden = [
            ("a.2.log", "a.2", FileForm::Plain),
            ("a.log.gz", "a", FileForm::Compressed),
            ("a.log.gz.tmp", "a", FileForm::Partial),
            ("a.log.tmp", "a", FileForm::PartialPlain),
            ("a.gz", "a.gz", FileForm::Other),
            ("a.tmp", "a.tmp", FileForm::Other),
            ("a.log.log", "a.log", FileForm::Plain),
        ];
        for (file_name, batch_name, form) in golden {
            assert_eq!(FileForm::split(file_name), (batch_name, form));
            assert_eq!(format!("{batch_name}{}", form.suffix()), file_name);
        }
    }
}
