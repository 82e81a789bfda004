//! The size of folders and files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const FOLDER_FILES_MAX: usize = 12;
const FILE_LINES_MAX: usize = 500;

/// Folders of data that a program made: their files are not read one by one.
const DATA_FOLDERS: [&str; 2] = ["fuzz/corpus", "tests/data"];

/// Folders with too many files, and Rust files with too many lines.
pub(crate) fn faults(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
    for file in files {
        if DATA_FOLDERS.iter().any(|folder| file.starts_with(folder)) {
            continue;
        }
        *counts.entry(file.parent().unwrap_or(file)).or_default() += 1;
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(root.join(file)).with_context(|| file.display().to_string())?;
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                faults.push(format!(
                    "{}: {lines} lines, more than {FILE_LINES_MAX}; split it by concern",
                    file.display()
                ));
            }
        }
    }
    let crowded = counts.into_iter().filter(|(_, count)| *count > FOLDER_FILES_MAX);
    faults.extend(crowded.map(|(folder, count)| {
        format!(
            "{}/: {count} files, more than {FOLDER_FILES_MAX}; make rooms in it",
            folder.display()
        )
    }));
    Ok(faults)
}
