//! Why `index.db` cannot be used.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// `index.db` cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite returned an error.
    #[error("{}: cannot {action}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The operation.
        action: &'static str,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// The file does not exist.
    #[error("{} does not exist: start the indexer once, or correct indexer.store_dir", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is the database of another program.
    #[error("{} is not logferry's; move it away, or correct indexer.store_dir", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged ({detail}); stop the indexer, delete its folder and start it again: it reads anew what the spool has, \
         and older numbers are lost", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        detail: String,
    },
    /// The file was written by a later version.
    #[error(
        "{} has schema {found}, this version knows up to {known}: install the version that wrote it, or delete the folder; the \
         indexer then reads again what the spool has, and older numbers are lost", .path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: usize,
        /// The newest schema known.
        known: usize,
    },
    /// The file was written by an earlier version, and no indexer of this one has opened it yet.
    #[error(
        "{} has schema {found}, this version reads {known}: start the indexer of this version, which brings it up to date",
        .path.display()
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: usize,
        /// The schema that is read.
        known: usize,
    },
}

impl IndexError {
    /// The file has a value that no version has written.
    pub fn damaged(path: PathBuf, detail: &impl ToString) -> Self {
        let detail = detail.to_string();
        Self::Damaged { path, detail }
    }

    pub(crate) fn of(path: &Path, action: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            _ => Self::Sqlite { path, action, source },
        }
    }
}
